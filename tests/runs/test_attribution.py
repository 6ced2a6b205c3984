"""Direct logit attribution: every part against the model's own cache, and the sum; attention to the token before."""

import pandas as pd
import pytest
import reference
import torch

import th_utils as th
from th_utils.runs.attribution import previous_token_attention

CLOSE = {"rtol": 1e-3, "atol": 1e-4}


def ruler(model, run):
    """d(logit difference)/d(residual stream) at END, with the norm's scale held."""
    final, prompts = run.at().resid[-1], run.prompts
    direction = (model.W_U[:, prompts.answer] - model.W_U[:, prompts.distractor]).T
    if "RMS" not in model.cfg.normalization_type:
        final, direction = (x - x.mean(-1, keepdim=True) for x in (final, direction))
    return direction / (final.square().mean(-1, keepdim=True) + model.cfg.eps).sqrt()


def by_hand(model, run):
    """Every contribution from the model's own activations and the weights it has now."""
    prompts, direction, W_O = run.prompts, ruler(model, run), [block.attn.W_O for block in model.blocks]
    _, cache = model.run_with_cache(prompts.tokens)

    def measured(name):
        return (reference.at(cache[name], prompts.end) * direction).sum(-1)

    layers = range(len(W_O))
    z = [reference.at(cache[f"blocks.{layer}.attn.hook_z"], prompts.end) for layer in layers]
    heads = torch.stack([torch.einsum("bhk,hkd,bd->hb", z[layer], W_O[layer], direction) for layer in layers])
    mlps = torch.stack([measured(f"blocks.{layer}.hook_mlp_out") for layer in layers])
    bias = model.b_U[prompts.answer] - model.b_U[prompts.distractor]
    biases = [th.parts.output_bias(model, layer) for layer in layers]
    bias = bias + sum(0 if b is None else direction @ b for b in biases)
    return {"heads": heads, "mlps": mlps, "embedding": measured("blocks.0.hook_resid_pre"), "bias": bias}


def test_every_part_is_what_the_model_writes_and_they_sum_to_the_logit_difference(model, prompts, clean):
    """The MLP share is computed as a remainder, so the sum alone would not notice a wrong head."""
    for run in (clean, th.run(model, prompts)):
        direct = th.direct_logit_attribution(model, run)
        for name, expected in by_hand(model, run).items():
            torch.testing.assert_close(getattr(direct, name), expected, **CLOSE)
        torch.testing.assert_close(direct.total, th.logit_difference(model, run), **CLOSE)
    assert direct.total.abs().max() > 0.5


def test_inside_edited_the_edited_head_gets_what_it_writes_there(model, weights, prompts, clean):
    """With the weights of before, the total would be as exact and the edited head and the MLPs wrong."""
    target = th.channel(weights, [(1, 2, 0)])
    with th.edited(model, th.set_component(weights, target, 2.5), th.scale_head(weights, (2, 1), -3.0)):
        run = th.run(model, prompts)
        direct, expected = th.direct_logit_attribution(model, run), by_hand(model, run)
        torch.testing.assert_close(direct.total, th.logit_difference(model, run), **CLOSE)
        stale = torch.einsum("bk,kd,bd->b", run.at().z[2, 1], weights.W_O[2, 1], ruler(model, run))
    for name, value in expected.items():
        torch.testing.assert_close(getattr(direct, name), value, **CLOSE)
    torch.testing.assert_close(direct.heads[2, 1], -3.0 * stale, **CLOSE)
    assert direct.heads[2, 1].abs().max() > 0.05


def test_the_sum_holds_for_a_stream_off_centre(model, prompts):
    """Folded LayerNorm models keep the stream centred; a constant put in drops out, as in the norm."""
    run = th.run(model, prompts, hooks=[("blocks.1.hook_mlp_out", lambda value, hook: value + 0.8)])
    total = th.direct_logit_attribution(model, run).total
    torch.testing.assert_close(total, th.logit_difference(model, run), **CLOSE)


@pytest.mark.parametrize("name", ["tiny-gpt2", "tiny-llama"])
def test_unfolded_weights_give_the_same_parts(name, tiny):
    """The gains are then in the norms, and value biases in the heads' writes rather than in b_O."""
    found = {}
    for fold in (True, False):
        model = tiny(name, fold=fold)
        direct = th.direct_logit_attribution(model, th.run(model, th.tasks.ioi.generate(model, 4)))
        found[fold] = [direct.heads.sum(0).sum(0) + direct.bias, direct.mlps, direct.total]
    for folded, raw in list(zip(found[True], found[False], strict=True))[2 if name == "tiny-gpt2" else 0 :]:
        torch.testing.assert_close(raw, folded, rtol=2e-3, atol=1e-3)


# --- previous-token attention on patterns made by hand ---


def made_run(pattern, end):
    """A run that holds nothing but one layer of attention patterns [batch, heads, seq, seq]."""
    batch, heads, seq, _ = pattern.shape
    blank, zeros = torch.zeros(1, batch, seq, heads, 1), torch.zeros(batch, dtype=torch.long)
    prompts = th.Prompts(torch.zeros(batch, seq, dtype=torch.long), zeros, zeros, {"END": torch.tensor(end)},
                         ("",) * batch, pd.DataFrame(index=range(batch)))  # fmt: skip
    return th.Run(prompts, "all", None, (), (), torch.zeros(2, batch, seq, 1), blank, blank, pattern[None])


def test_previous_token_attention_on_known_patterns(model, prompts, refuses):
    previous, resting = torch.zeros(6, 6), torch.zeros(6, 6)
    previous[range(1, 6), range(5)], resting[:, 0] = 1.0, 1.0
    mixed = 0.25 * previous + 0.75 * torch.eye(6)
    run = made_run(torch.stack([previous, resting, mixed])[None].repeat(2, 1, 1, 1), end=[5, 3])
    expected = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.25, 0.25]])
    torch.testing.assert_close(previous_token_attention(run)[0], expected)
    pattern = torch.zeros(1, 1, 6, 6)
    pattern[0, 0, 1, 0] = 1.0  # query 1 to the first token: not counted
    pattern[0, 0, 3, 2] = 1.0  # one of the two counted queries, 2 and 3
    pattern[0, 0, 5, 4] = 1.0  # behind END: not counted
    assert previous_token_attention(made_run(pattern, end=[3])).item() == 0.5
    with refuses("name places in run"):
        previous_token_attention(th.run(model, prompts))
