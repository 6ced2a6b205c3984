"""Runs on plain tensors must equal the model's own forward pass; re-runs must equal whole runs."""

from dataclasses import replace

import pytest
import reference
import torch

import th_utils as th
from th_utils.runs.hooks import POINTS

CLOSE = {"rtol": 1e-3, "atol": 1e-4}
STORED = ("resid", "q", "z", "pattern")


def change(value, hook=None):
    """Any change that depends on the value: what a hook does in these tests."""
    return value * 0.7 + 0.03


def own_logits(model, prompts, hooks=()):
    return reference.at(model.run_with_hooks(prompts.tokens, fwd_hooks=list(hooks)), prompts.end)


def at_end_only(point, end):
    """The same change as a TransformerLens hook on a whole run that touches END alone."""
    rows = torch.arange(len(end))

    def hook(value, hook):
        value = value.clone()
        where = (rows, slice(None), end) if point.endswith("pattern") else (rows, end)
        value[where] = change(value[where])
        return value

    return hook


def same_at_end(one, other):
    for name in STORED:
        torch.testing.assert_close(getattr(one.at(), name), getattr(other.at(), name), **CLOSE)


def same_everywhere(one, other):
    for name in STORED:
        torch.testing.assert_close(getattr(one, name), getattr(other, name), **CLOSE)
    for name in ("keys", "values"):
        for ours, theirs in zip(getattr(one, name), getattr(other, name), strict=True):
            torch.testing.assert_close(ours, theirs, **CLOSE)


# --- run ---


@pytest.mark.parametrize("positions", ["end", "all"])
def test_logits_equal_the_models_own(model, prompts, positions):
    run = th.run(model, prompts, positions=positions)
    torch.testing.assert_close(th.logits(model, run), own_logits(model, prompts), **CLOSE)


def test_everything_stored_equals_the_models_cache(model, weights, clean, prompts):
    _, cache = model.run_with_cache(prompts.tokens)
    names = ("hook_resid_pre", "attn.hook_q", "attn.hook_z", "attn.hook_pattern")
    groups = th.parts.shape(model).groups
    for layer in range(weights.n_layers):
        for stored, name in zip(STORED, names, strict=True):
            torch.testing.assert_close(getattr(clean, stored)[layer], cache[f"blocks.{layer}.{name}"], **CLOSE)
        values = cache[f"blocks.{layer}.attn.hook_v"].unflatten(-1, (-1, weights.d_head)).flatten(2, -2)
        torch.testing.assert_close(clean.values[layer], values, **CLOSE)
        x = reference.normalise(model, clean.resid[layer])
        k = torch.einsum("bsd,hdk->bhsk", x, weights.W_K[layer]) + weights.b_K[layer][:, None]
        rotated = reference.rotated(model, k, k)[1].transpose(1, 2)
        torch.testing.assert_close(clean.keys[layer], rotated[:, :, ::groups], **CLOSE)
    torch.testing.assert_close(clean.resid[-1], cache[f"blocks.{layer}.hook_resid_post"], **CLOSE)


def test_a_run_of_named_positions_holds_what_one_of_all_does_there(model, prompts, corrupted, clean, new):
    some = th.run(model, prompts, ["S1+1", "S2"], batch_size=3, keep=1)
    assert some.z.shape[2] == 3 and some.pattern.shape == clean.pattern.shape
    for run in (some, th.rerun(model, some)):
        for place in ("S1+1", "S2", "END", prompts.at("S2")):
            for name in STORED:
                torch.testing.assert_close(getattr(run.at(place), name), getattr(clean.at(place), name), **CLOSE)
    last = some.n_layers - 1
    hooks, edge = [(f"blocks.{last}.attn.hook_q", change)], th.Edge((last, 0), "v", source="S2")
    same_at_end(th.rerun_last(model, some, hooks), th.rerun_last(model, clean, hooks))
    expected = th.patch_edges(model, clean, new, edge)
    for there in (new, th.run(model, corrupted, ["S2"])):  # of which it needs S2 alone
        for one, other in zip(th.patch_edges(model, some, there, edge)[1:], expected[1:], strict=True):
            torch.testing.assert_close(one, other, **CLOSE)
    with pytest.raises(ValueError, match=r"keeps \('S1\+1', 'S2', 'END'\) only: name others in run"):
        some.at("S1")
    with pytest.raises(ValueError, match=r"keeps \('S1', 'END'\) only"):
        th.patch_edges(model, some, th.run(model, corrupted, ["S1"]), edge)


def test_end_runs_keep_the_last_position_and_batches_do_not_matter(model, prompts, clean):
    same_at_end(th.run(model, prompts), clean)
    assert th.run(model, prompts).z.shape[2] == 1
    for size in (1, 3, len(prompts)):
        same_everywhere(th.run(model, prompts, "all", batch_size=size), clean)


def test_caches_may_begin_late(model, prompts, clean):
    """Keys and values from layer 2 on are enough to re-run from there, and not before."""
    short = th.run(model, prompts, caches=2)
    assert [keys.shape[1] > 0 for keys in short.keys] == [False, False, True, True]
    same_at_end(short, clean)
    same_everywhere(short, th.run(model, prompts).select(caches=2))
    kept = th.run(model, prompts, keep=1, caches=2)
    same_everywhere(th.rerun(model, kept), short)
    hooks = [("blocks.2.attn.hook_z", change)]
    same_at_end(th.rerun_last(model, short, hooks), th.rerun_last(model, clean, hooks))
    with pytest.raises(ValueError, match=r"does not hold all that layers 1 to 4 need.*run\(caches=\)"):
        th.rerun_last(model, short, start=1)


# --- looking at a run: at, looks_at, select, judged_by ---


def test_a_position_by_name_by_indices_and_by_hand_are_one(prompts, clean):
    for name, where in prompts.positions.items():
        for spot in (clean.at(name), clean.at(where)):
            for i, p in enumerate(where.tolist()):
                assert torch.equal(spot.resid[:, i], clean.resid[:, i, p])
                assert torch.equal(spot.q[:, :, i], clean.q[:, i, p]) and torch.equal(spot.z[:, :, i], clean.z[:, i, p])
                assert torch.equal(spot.pattern[:, :, i], clean.pattern[:, i, :, p])
    assert torch.equal(clean.at().z, clean.at("END").z)


def test_looks_at_is_the_attention_from_one_position_to_another(prompts, clean):
    for query, key in (("END", "IO"), ("S2", "S1+1")):
        seen = clean.at(query).looks_at(key)
        assert torch.equal(seen, clean.at(query).looks_at(prompts.positions[key]))
        for i in range(len(prompts)):
            q, k = prompts.positions[query][i], prompts.positions[key][i]
            assert torch.equal(seen[..., i], clean.pattern[:, i, :, q, k])
    everywhere = [clean.at("S2").looks_at(torch.full((10,), k)) for k in range(clean.tokens.shape[1])]
    torch.testing.assert_close(torch.stack(everywhere).sum(0), torch.ones(4, 4, 10))


def test_select_repeats_and_reorders_prompts(model, prompts, clean):
    order = [4, 0, 4]
    part = clean.select(order)
    same_everywhere(part, th.run(model, prompts.select(order), "all"))
    assert len(part) == 3 and torch.equal(part.tokens, prompts.tokens[order])
    same_at_end(th.rerun_last(model, part, start=1), part)
    mask = prompts.end == prompts.end.max()
    assert torch.equal(clean.select(mask).end, clean.end[mask]) and len(clean.select(slice(2, 5))) == 3


def test_judged_by_changes_the_answers_and_nothing_else(model, prompts, clean):
    other = clean.judged_by(prompts.distractor, prompts.answer)
    torch.testing.assert_close(th.logit_difference(model, other), -th.logit_difference(model, clean))
    assert other.z is clean.z and other.prompts.text == prompts.text


# --- rerun_last ---


@pytest.mark.parametrize("start", [None, 0, 2, 4])
@pytest.mark.parametrize("positions", ["end", "all"])
def test_rerunning_without_hooks_changes_nothing(model, prompts, clean, positions, start):
    base = clean if positions == "all" else th.run(model, prompts)
    again = th.rerun_last(model, base, start=start)
    assert again.positions == "end"
    same_at_end(again, base)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("layer", [0, 2, 3])
def test_hooks_on_the_last_token_equal_a_full_run(model, prompts, clean, point, layer):
    name = f"blocks.{layer}.{point}"
    ours = th.rerun_last(model, clean, [(name, change)])
    theirs = own_logits(model, prompts, [(name, at_end_only(point, prompts.end))])
    torch.testing.assert_close(th.logits(model, ours), theirs, **CLOSE)
    assert not torch.allclose(theirs, th.logits(model, clean), atol=1e-2), "the hook must do something"


def test_several_hooks_on_the_last_token_equal_a_full_run(model, prompts, clean):
    points = [(1, "attn.hook_pattern"), (1, "hook_mlp_out"), (3, "attn.hook_q"), (2, "attn.hook_z")]
    ours = th.rerun_last(model, clean, [(f"blocks.{n}.{p}", change) for n, p in points])
    hooks = [(f"blocks.{n}.{p}", at_end_only(p, prompts.end)) for n, p in points]
    same_at_end(ours, th.run(model, prompts, hooks=hooks))
    torch.testing.assert_close(th.logits(model, ours), own_logits(model, prompts, hooks), **CLOSE)


def test_a_rerun_holds_no_keys_of_the_layers_computed_again(model, clean, refuses):
    """Those stored are of another run at END, so nothing may go on from them."""
    first = th.rerun_last(model, clean, [("blocks.1.attn.hook_z", change)], stop=3)
    assert [keys.shape[1] > 0 for keys in first.keys] == [True, False, False, True]
    with refuses("base does not hold all that layers 2 to 4 need"):
        th.rerun_last(model, first, start=2)
    with refuses("lacks the receiver's layer 2"):
        th.patch_input(model, first, th.Edge((2, 1)), torch.zeros(1, len(clean), 32))


def test_stopping_early_keeps_the_layers_before_and_can_be_gone_on_from(model, clean):
    hooks = [("blocks.1.attn.hook_z", change)]
    full, part = th.rerun_last(model, clean, hooks), th.rerun_last(model, clean, hooks, stop=3)
    assert part.n_layers == 3 and part.resid.shape[0] == 4
    for name in STORED:
        torch.testing.assert_close(getattr(part, name), getattr(full, name)[: len(getattr(part, name))])
    same_everywhere(th.rerun_last(model, part, start=3), full)


# --- rerun: going on from a layer that was kept ---


@pytest.mark.parametrize("positions", ["end", "all"])
def test_rerun_from_a_kept_layer_equals_the_whole_run(model, prompts, positions):
    hooks = [("blocks.2.attn.hook_z", lambda z, hook: 1.5 * z)]
    base = th.run(model, prompts, positions, keep=2, batch_size=3)
    whole, part = th.run(model, prompts, positions, hooks), th.rerun(model, base, hooks, batch_size=4)
    same_everywhere(whole, part)
    assert not torch.allclose(part.resid[-1], base.resid[-1], atol=1e-3), "the hook must matter for this test"
    order = [9, 0, 0, 4]
    same_everywhere(th.rerun(model, base.select(order), hooks, batch_size=3), whole.select(order))


@pytest.mark.parametrize("layer", range(4))
def test_one_full_run_is_resumable_at_every_layer(model, prompts, clean, layer):
    base = clean.resumable_at(layer)
    same_at_end(th.rerun(model, base), clean)
    hooks = [(f"blocks.{layer}.hook_resid_pre", lambda x, hook: x.flip(-1))]
    again, full = th.rerun(model, base, hooks, batch_size=3), th.run(model, prompts, hooks=hooks)
    torch.testing.assert_close(again.resid[layer + 1 :], full.resid[layer + 1 :])
    torch.testing.assert_close(again.pattern[layer:], full.pattern[layer:])


def test_reruns_see_the_weights_that_there_are_now(model, prompts, weights):
    base = th.run(model, prompts, keep=1)
    with th.edited(model, th.scale_head(weights, (1, 0), 0.0), th.scale_query(weights, (2, 1), -2.0)):
        edited = th.run(model, prompts, keep=1)
        same_everywhere(th.rerun(model, base), edited)
    same_everywhere(th.rerun(model, edited), base)


def test_hooks_that_write_in_place_do_not_reach_stored_runs(model, prompts):
    base = th.run(model, prompts, keep=2)
    before = replace(base, resid=base.resid.clone(), kept=(2, base.kept[1].clone()))
    for again in (th.rerun, th.rerun_last):
        after = again(model, base, [("blocks.2.hook_resid_pre", lambda value, hook: value.zero_())])
        assert (after.resid[2] == 0).all(), "the hook must have acted"
    assert torch.equal(base.kept[1], before.kept[1]) and torch.equal(base.resid, before.resid)


def test_gradients_flow_to_what_hooks_put_in(model, prompts):
    """The derivative of a logit by the scale of a head, against a finite difference in a re-run."""
    base, scale = th.run(model, prompts), torch.ones((), requires_grad=True)

    def total(factor):
        result = th.rerun_last(model, base, [("blocks.2.attn.hook_z", lambda z, hook: factor * z)])
        return th.logits(model, result, prompts.answer[:, None]).double().sum()

    (slope,) = torch.autograd.grad(total(scale), scale)
    finite = (total(torch.tensor(1.01)) - total(torch.tensor(0.99))) / 0.02
    assert abs(float(slope)) > 1e-3 and float(slope) == pytest.approx(float(finite), rel=0.02, abs=0.02)
    assert not base.resid.requires_grad


def test_a_rerun_may_stop_and_start_from_any_stream(model, clean):
    """One layer on another stream: what a whole run makes of that stream there."""
    stream = clean.resid[2].flip(-1)
    hook = [("blocks.2.hook_resid_pre", lambda x, hook: stream)]
    whole = th.run(model, clean.prompts, "all", hook, batch_size=len(clean))
    there = th.rerun(model, replace(clean, kept=(2, stream)), batch_size=len(clean), stop=3)
    assert there.n_layers == 3
    torch.testing.assert_close(there.resid[3], whole.resid[3], **CLOSE)
    torch.testing.assert_close(there.z[2], whole.z[2], **CLOSE)
    for found, expected in zip(th.keys_and_values(model, clean, 2, stream), (whole.keys, whole.values), strict=True):
        torch.testing.assert_close(found, expected[2], **CLOSE)


def test_going_on_past_where_a_run_stopped_is_refused(model, clean, refuses):
    short = th.rerun(model, clean.resumable_at(1), stop=2)
    with refuses("base does not hold all that layers"):
        th.rerun_last(model, short, start=1)
