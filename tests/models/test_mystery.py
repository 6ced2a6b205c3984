"""Models set by hand: they compute what they should; mystery models hold what was planted in them, and do not tell.

The builder stands in the notebook. What is planted is measured here with other code than the notebook's: dense
matrices, numpy's SVD and TransformerLens' own hooks.
"""

import json
from pathlib import Path

import nbformat
import numpy as np
import pytest
import reference
import torch

import th_utils as th

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "deeper" / "12_mystery_models.ipynb"
M = {"th": th}
for one in nbformat.read(NOTEBOOK, as_version=4).cells:
    if one.cell_type == "code" and one.source.startswith(("import warnings", "# @title Builder")):
        exec(compile(one.source, NOTEBOOK.name, "exec"), M)  # noqa: S102


def with_traps(code: str) -> int:
    """The first seed, of those on no page, with both traps and this kind of code."""
    truths = ((seed, M["draw"](seed)[-1]) for seed in range(300, 400))
    return next(seed for seed, t in truths if t.code == code and t.decoy and t.illusion)


@pytest.fixture(scope="module", params=["diluted", "crowded"])
def made(request):
    return M["mystery"](with_traps(request.param))


# --- a model from the weights of its heads ---


def test_a_model_set_by_hand_has_these_weights_and_computes_attention_only(tmp_path):
    heads = reference.random_weights(layers=2, heads=3, d_model=12, d_head=4).to(torch.float32)
    for name in ("W_Q", "W_K", "W_V"):  # as loading leaves them: what reads the stream has columns of mean zero
        getattr(heads, name).sub_(getattr(heads, name).mean(2, keepdim=True))
    heads.W_O.sub_(heads.W_O.mean(-1, keepdim=True))
    words, embedding, positions = ["<bos>", "a", "b", "_"], torch.randn(4, 12), torch.randn(9, 12)
    th.write_model(tmp_path, heads, words, embedding, positions)
    model = th.load_model(tmp_path)
    copied = th.head_weights(model)
    for name in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K"):
        torch.testing.assert_close(getattr(copied, name), getattr(heads, name), atol=1e-5, rtol=1e-4)
    tokens = th.tasks.prompts.encode(th.parts.tokenizer(model), ["a b new b"])[0]
    assert tokens.tolist() == [[0, 1, 2, 3, 2]], "the last word stands for unknown ones"

    def norm(x):
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()

    stream, hidden = (embedding[tokens] + positions[:5])[0], torch.ones(5, 5).triu(1) > 0
    for i in range(2):
        x, added = norm(stream), 0
        for h in range(3):
            q, k, v = (x @ getattr(heads, f"W_{n}")[i, h] + getattr(heads, f"b_{n}")[i, h] for n in "QKV")
            added = added + (q @ k.T / 2).masked_fill(hidden, -torch.inf).softmax(-1) @ v @ heads.W_O[i, h]
        stream = stream + added
    ours = norm(stream) @ embedding.T
    torch.testing.assert_close(model(tokens)[0].log_softmax(-1), ours.log_softmax(-1), atol=1e-4, rtol=1e-4)


def test_a_width_that_heads_do_not_fill_is_refused(tmp_path):
    heads = reference.random_weights(layers=1, heads=2, d_model=12, d_head=4).to(torch.float32)
    with pytest.raises(RuntimeError, match="size mismatch"):
        th.write_model(tmp_path, heads, ["<bos>", "_"], torch.randn(2, 12), torch.randn(4, 12))


# --- mystery models ---


def test_the_seed_decides_everything(made):
    seed = with_traps(made[1].code)
    (again, truth), (other, _) = M["mystery"](seed), M["mystery"](seed + 1)
    assert truth == made[1]
    assert th.state.fingerprint(again) == th.state.fingerprint(made[0]) != th.state.fingerprint(other)


def test_a_folder_that_is_given_away_does_not_tell(tmp_path):
    seed = with_traps("crowded")
    model, _ = M["mystery"](seed, tmp_path)
    files = sorted((tmp_path / "mystery").iterdir())
    told = " ".join(path.read_text(encoding="utf8") for path in files if path.suffix == ".json").lower()
    words = [*M["CODES"], *M["Planted"].__dataclass_fields__, "seed", str(seed), "mute", "planted", "writer"]
    assert not [word for word in words if word in told.replace("decoder", "").replace("reader", "")]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    header = (tmp_path / "mystery" / "model.safetensors").read_bytes()
    names = json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])
    assert {name.split(".")[0] for name in names} <= {"transformer", "lm_head", "__metadata__"}
    assert names.get("__metadata__", {}) == {"format": "pt"} and th.model_name(model) == "mystery"


def dense(model, head, name):
    layer, h = head
    return getattr(model.blocks[layer].attn, name)[h].detach().double().numpy()


def exchanged(model, head, direction=None):
    """How far the answer goes over when what a head writes at END is exchanged in pairs: along a direction, or all."""
    prompts, pairs = M["prompts"](16, seed=9), np.arange(16) ^ 1
    W_O = torch.tensor(dense(model, head, "W_O"), dtype=torch.float32)
    project = torch.eye(len(W_O.T)) if direction is None else torch.outer(*[torch.tensor(direction).float()] * 2)

    def swap(z, hook):
        written = z[:, -1, head[1]] @ W_O
        wanted = written + (written[pairs] - written) @ project
        z[:, -1, head[1]] = torch.linalg.lstsq(W_O.T, wanted.T).solution.T
        return z

    def gap(logits):
        rows = torch.arange(16)
        return logits[rows, -1, prompts.answer] - logits[rows, -1, prompts.distractor]

    before = gap(model(prompts.tokens))
    after = gap(model.run_with_hooks(prompts.tokens, fwd_hooks=[(f"blocks.{head[0]}.attn.hook_z", swap)]))
    assert (before > 0).all(), "the model solves its task"
    return ((before - after) / (before + before[pairs])).numpy()


def written_by(model, part):
    """The direction that a component writes, by numpy's SVD of the dense OV matrix."""
    return np.linalg.svd(dense(model, part[:2], "W_V") @ dense(model, part[:2], "W_O"))[2][part[2]]


def test_the_channel_decides_the_answer_and_the_decoy_does_not(made):
    model, truth = made
    assert (exchanged(model, truth.channel[:2], written_by(model, truth.channel)) > 0.8).all()
    assert (exchanged(model, truth.channel[:2]) > 0.8).all()
    assert np.abs(exchanged(model, truth.decoy[:2], written_by(model, truth.decoy))).max() < 0.02


def test_an_illusion_acts_where_its_head_does_not(made):
    model, truth = made
    alone = exchanged(model, truth.illusion[:2], written_by(model, truth.illusion))
    whole = exchanged(model, truth.illusion[:2])
    assert np.median(alone) > 0.5 and np.abs(np.median(whole)) < 0.25


def test_the_reader_would_hear_the_decoy_at_least_as_well_as_the_channel(made):
    model, truth = made
    heard = dense(model, truth.reader, "W_Q") @ dense(model, truth.reader, "W_K").T
    channel, decoy = (np.linalg.norm(written_by(model, part) @ heard) for part in (truth.channel, truth.decoy))
    assert 0.95 < decoy / channel < 1.25


def spread(made, listed):
    """Standard deviation, over the place left out, of the channel's number when all but one item are ticked off."""
    model, truth = made
    prompts, (layer, h, _) = M["prompts"](120, listed, seed=4), truth.channel
    _, cache = model.run_with_cache(prompts.tokens)
    numbers = cache[f"blocks.{layer}.attn.hook_z"][:, -1, h].numpy() @ dense(model, (layer, h), "W_O")
    numbers = numbers @ written_by(model, truth.channel)
    left = np.array([({*range(listed)} - {*ticked}).pop() for ticked in prompts.table.ticked])
    return np.std([numbers[left == place].mean() for place in range(listed)])


def test_a_diluted_code_falls_as_one_over_the_ticks_and_a_crowded_one_does_not(made):
    codes, slots = M["CODES"][made[1].code], {n: np.linspace(0, 7, n).round().astype(int) for n in (2, 3, 5, 8)}
    at_most = {n: np.std(codes[slots[n]]) / (n - 1) for n in slots}  # of a mean over all that is ticked off
    found = {n: spread(made, n) / spread(made, 2) * at_most[2] / at_most[n] for n in slots}
    if made[1].code == "diluted":
        assert all(0.8 < ratio < 1.2 for ratio in found.values()), found  # marks at the ends get less
    else:
        assert found[8] > 3 and found[8] > found[5] > found[3] > 1.2, found


def test_rows_in_pairs_exchange_what_is_ticked_off():
    for listed, ticked in ((2, None), (5, 2)):
        prompts = M["prompts"](6, listed, ticked, seed=3)
        for one, other in zip(prompts.text[::2], prompts.text[1::2], strict=True):
            assert one.replace(" x", " o") == other.replace(" x", " o") and one != other
            assert one.count(" x") == other.count(" x") == (ticked or listed - 1)
    words, pairs = M["WORDS"], M["prompts"](6, seed=3)
    for text, answer, rival in zip(pairs.text, pairs.answer, pairs.distractor, strict=True):
        assert f"{words[answer]} o" in text and f"{words[rival]} x" in text
