"""Direct logit attribution and attention by role: every part against the model's own cache, and the sum."""

import dataclasses

import pandas as pd
import pytest
import reference
import torch

import th_utils as th
from th_utils.runs.attribution import Thresholds, mover_roles, source_roles

CLOSE = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture(scope="module")
def direct(model, weights, clean, prompts):
    return th.direct_logit_attribution(model, weights, clean, prompts)


@pytest.fixture(scope="module")
def ruler(model, clean, prompts):
    """d(logit difference)/d(residual stream) at END, with the norm's scale held."""
    final = clean.at(clean.resid)[-1]
    direction = (model.W_U[:, prompts.answer] - model.W_U[:, prompts.distractor]).T
    if "RMS" not in model.cfg.normalization_type:
        final, direction = (x - x.mean(-1, keepdim=True) for x in (final, direction))
    return direction / (final.square().mean(-1, keepdim=True) + model.cfg.eps).sqrt()


def test_contributions_sum_to_the_logit_difference(model, clean, prompts, direct):
    torch.testing.assert_close(direct.total, th.logit_difference(model, clean, prompts), **CLOSE)
    assert direct.total.abs().max() > 0.5


def test_every_part_is_what_the_model_writes(model, weights, prompts, direct, ruler):
    """The MLP share is computed as a remainder, so the sum alone would not notice a wrong head."""
    _, cache = model.run_with_cache(prompts.tokens)

    def measured(name):
        return (reference.at(cache[name], prompts.end) * ruler).sum(-1)

    bias = (model.b_U[prompts.answer] - model.b_U[prompts.distractor]).clone()
    for layer in range(weights.n_layers):
        z = reference.at(cache[f"blocks.{layer}.attn.hook_z"], prompts.end)
        written = torch.einsum("bhk,hkd,bd->hb", z, weights.W_O[layer], ruler)
        torch.testing.assert_close(direct.heads[layer], written, **CLOSE)
        torch.testing.assert_close(direct.mlps[layer], measured(f"blocks.{layer}.hook_mlp_out"), **CLOSE)
        b_O = th.parts.output_bias(model, layer)
        bias += 0 if b_O is None else ruler @ b_O
    torch.testing.assert_close(direct.embedding, measured("blocks.0.hook_resid_pre"), **CLOSE)
    torch.testing.assert_close(direct.bias, bias, **CLOSE)


def test_the_sum_holds_for_a_stream_off_centre(model, weights, prompts):
    """Folded LayerNorm models keep the stream centred; a constant put in drops out, as in the norm."""
    run = th.run(model, prompts, hooks=[("blocks.1.hook_mlp_out", lambda value, hook: value + 0.8)])
    total = th.direct_logit_attribution(model, weights, run, prompts).total
    torch.testing.assert_close(total, th.logit_difference(model, run, prompts), **CLOSE)


def test_runs_that_keep_end_only_give_the_same(model, weights, prompts, direct):
    short = th.direct_logit_attribution(model, weights, th.run(model, prompts), prompts)
    for field in dataclasses.fields(direct):
        torch.testing.assert_close(getattr(short, field.name), getattr(direct, field.name), **CLOSE)


@pytest.mark.parametrize("name", ["tiny-gpt2", "tiny-llama"])
def test_unfolded_models_are_refused(name, tiny, refuses):
    """With the final norm's gain still in place, one scale per prompt does not describe the norm."""
    raw = th.load_model(name, fold=False)
    prompts = th.tasks.ioi.generate(raw, 4)
    with refuses("fold"):
        th.direct_logit_attribution(raw, th.head_weights(raw), th.run(raw, prompts), prompts)


def test_attention_between_reads_the_pattern(prompts, clean):
    got = th.attention_between(clean, prompts, "END", "IO")
    assert got.shape == (4, 4, len(prompts))
    for i in range(len(prompts)):
        expected = clean.pattern[:, i, :, prompts.end[i], prompts.positions["IO"][i]]
        assert torch.equal(got[..., i], expected)


def test_attention_over_all_keys_sums_to_one(clean, prompts):
    rows = clean.at(clean.pattern, prompts.positions["S2"], axis=3).sum(-1)
    torch.testing.assert_close(rows, torch.ones_like(rows))


def test_unknown_positions_are_refused(model, prompts, clean, refuses):
    with refuses("no position named 'IO2'.*'END'"):
        th.attention_between(clean, prompts, "END", "IO2")
    with refuses("positions='all'"):
        th.attention_between(th.run(model, prompts), prompts, "S2", "S1")


# --- previous-token attention on patterns made by hand ---


def made_run(pattern, end):
    """A run that holds nothing but one layer of attention patterns [batch, heads, seq, seq]."""
    batch, heads, seq, _ = pattern.shape
    blank = torch.zeros(1, batch, seq, heads, 1)
    return th.Run(torch.zeros(batch, seq, dtype=torch.long), torch.tensor(end), "all", (), (),
                  torch.zeros(2, batch, seq, 1), blank, blank, pattern[None])  # fmt: skip


def test_previous_token_attention_on_known_patterns():
    seq = 6
    previous = torch.zeros(seq, seq)
    previous[range(1, seq), range(seq - 1)] = 1.0
    resting = torch.zeros(seq, seq)
    resting[:, 0] = 1.0
    mixed = 0.25 * previous + 0.75 * torch.eye(seq)
    run = made_run(torch.stack([previous, resting, mixed])[None].repeat(2, 1, 1, 1), end=[5, 3])
    scores = th.previous_token_attention(run)
    torch.testing.assert_close(scores[0], torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.25, 0.25]]))


def test_previous_token_attention_leaves_out_padding_and_the_first_token():
    pattern = torch.zeros(1, 1, 6, 6)
    pattern[0, 0, 1, 0] = 1.0  # query 1 to the first token: not counted
    pattern[0, 0, 3, 2] = 1.0  # one of the two counted queries, 2 and 3
    pattern[0, 0, 5, 4] = 1.0  # behind END: not counted
    assert th.previous_token_attention(made_run(pattern, end=[3])).item() == 0.5


def test_previous_token_attention_needs_every_position(model, prompts, refuses):
    with refuses("positions='all'"):
        th.previous_token_attention(th.run(model, prompts))


# --- roles ---


def test_head_table_holds_the_means(model, weights, clean, prompts, direct):
    table = th.head_table(model, weights, clean, prompts)
    assert list(table.index) == weights.heads
    assert table.attribution.sum() == pytest.approx(direct.heads.mean(-1).sum().item(), rel=1e-4)
    for head in [(0, 0), (2, 3)]:
        row = table.loc[head]
        assert row["attribution"] == pytest.approx(direct.heads[head].mean().item(), rel=1e-4)
        assert row["share"] * direct.total.mean().item() == pytest.approx(row["attribution"], rel=1e-3)
        assert row["S2→S1+1"] == pytest.approx(th.attention_between(clean, prompts, "S2", "S1+1")[head].mean().item())
        assert row["previous token"] == pytest.approx(th.previous_token_attention(clean)[head].mean().item())


def head_rows(**rows):
    columns = ["share", "END→IO", "END→S1", "END→S2", "S2→S1", "S2→S1+1", "previous token"]
    heads = [tuple(map(int, name[1:].split("_"))) for name in rows]
    index = pd.MultiIndex.from_tuples(heads, names=["layer", "head"])
    return pd.DataFrame([[row.get(c, 0.0) for c in columns] for row in rows.values()], index, columns)


TABLE = head_rows(
    h0_1={"previous token": 0.9}, h1_0={"S2→S1": 0.3}, h1_1={"S2→S1": 0.8}, h2_2={"S2→S1+1": 0.5},
    h5_0={"share": 0.10, "END→IO": 0.6}, h5_1={"share": 0.40, "END→IO": 0.5, "END→S1": 0.1},
    h6_0={"share": -0.2, "END→IO": 0.4}, h6_1={"share": 0.2, "END→S2": 0.7},
    h7_0={"share": 0.3, "END→IO": 0.3, "END→S1": 0.35}, h7_1={"share": 0.01, "END→IO": 0.9},
)  # fmt: skip


def test_roles_follow_their_definitions_strongest_first():
    assert mover_roles(TABLE) == {
        "name mover": [(5, 1), (5, 0)], "negative name mover": [(6, 0)], "subject suppressor": [(6, 1)],
    }  # fmt: skip
    assert source_roles(TABLE) == {
        "duplicate token": [(1, 1), (1, 0)], "induction": [(2, 2)], "previous token": [(0, 1)],
    }  # fmt: skip


def test_thresholds_decide():
    loose = mover_roles(TABLE, Thresholds(attribution=0.005))
    assert (7, 1) in loose["name mover"]
    strict = Thresholds(attention=0.55, attribution=0.03)
    assert mover_roles(TABLE, strict)["name mover"] == [(5, 0)]
    assert source_roles(TABLE, strict)["duplicate token"] == [(1, 1)]
