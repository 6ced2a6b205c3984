"""Runs on plain tensors must equal the model's own forward pass, with and without hooks."""

from dataclasses import replace

import pytest
import reference
import torch

import th_utils as th
from th_utils.runs.engine import POINTS
from th_utils.tasks import ioi

CLOSE = {"rtol": 1e-3, "atol": 1e-4}
STORED = ("resid", "q", "z", "pattern")


def change(value):
    """Any change that depends on the value: what a hook does in these tests."""
    return value * 0.7 + 0.03


def own_logits(model, prompts, hooks=()):
    return reference.at(model.run_with_hooks(prompts.tokens, fwd_hooks=list(hooks)), prompts.end)


def at_end_only(name, end):
    """The same change as a TransformerLens hook on a whole run that touches END alone."""
    rows = torch.arange(len(end))

    def hook(value, hook):
        value = value.clone()
        if name.endswith("pattern"):
            value[rows, :, end] = change(value[rows, :, end])
        else:
            value[rows, end] = change(value[rows, end])
        return value

    return hook


# --- run ---


@pytest.mark.parametrize("positions", ["end", "all"])
def test_logits_equal_the_models_own(model, prompts, positions):
    run = th.run(model, prompts, positions=positions)
    torch.testing.assert_close(th.logits(model, run), own_logits(model, prompts), **CLOSE)


def test_everything_stored_equals_the_models_cache(model, clean, prompts):
    _, cache = model.run_with_cache(prompts.tokens)
    names = ("hook_resid_pre", "attn.hook_q", "attn.hook_z", "attn.hook_pattern")
    for layer in range(model.cfg.n_layers):
        for stored, name in zip(STORED, names, strict=True):
            ours = getattr(clean, stored)
            torch.testing.assert_close(ours[layer], cache[f"blocks.{layer}.{name}"], **CLOSE)
        values = cache[f"blocks.{layer}.attn.hook_v"].unflatten(-1, (-1, model.cfg.d_head)).flatten(2, -2)
        torch.testing.assert_close(clean.values[layer], values, **CLOSE)
    torch.testing.assert_close(clean.resid[-1], cache[f"blocks.{layer}.hook_resid_post"], **CLOSE)


def test_keys_are_rotated(model, weights, clean):
    x = reference.normalise(model, clean.resid[1])
    k = torch.einsum("bsd,hdk->bhsk", x, weights.W_K[1]) + weights.b_K[1][:, None]
    expected = reference.rotated(model, k, k)[1].transpose(1, 2)
    groups = th.parts.kv_groups(model)
    torch.testing.assert_close(clean.keys[1], expected[:, :, ::groups], **CLOSE)


def test_end_runs_keep_the_last_position_of_full_runs(model, prompts, clean):
    end = th.run(model, prompts)
    for name, axis in (("resid", 2), ("q", 2), ("z", 2), ("pattern", 3)):
        short, full = (run.at(getattr(run, name), axis=axis) for run in (end, clean))
        torch.testing.assert_close(short, full)
        assert getattr(end, name).shape[axis] == 1


def test_batches_do_not_matter(model, prompts, clean):
    for size in (1, 3, len(prompts)):
        small = th.run(model, prompts, positions="all", batch_size=size)
        assert torch.equal(small.tokens, clean.tokens) and torch.equal(small.end, clean.end)
        for name in STORED:
            torch.testing.assert_close(getattr(small, name), getattr(clean, name), **CLOSE)
        for layer in range(model.cfg.n_layers):
            torch.testing.assert_close(small.keys[layer], clean.keys[layer], **CLOSE)
            torch.testing.assert_close(small.values[layer], clean.values[layer], **CLOSE)


@pytest.mark.parametrize("point", POINTS)
def test_hooks_at_every_position_equal_the_models_own(model, prompts, point):
    name = f"blocks.2.{point}"
    run = th.run(model, prompts, hooks=[(name, lambda value, hook: change(value))])
    theirs = own_logits(model, prompts, [(name, lambda value, hook: change(value))])
    torch.testing.assert_close(th.logits(model, run), theirs, **CLOSE)
    assert not torch.allclose(theirs, own_logits(model, prompts), atol=1e-2), "the hook must do something"


def test_hooks_apply_in_order(model, prompts):
    hooks = [("blocks.1.attn.hook_z", lambda z, hook: z + 1), ("blocks.1.attn.hook_z", lambda z, hook: 2 * z)]
    run = th.run(model, prompts, hooks=hooks)
    plain = th.run(model, prompts)
    torch.testing.assert_close(run.z[1], 2 * (plain.z[1] + 1), **CLOSE)


def test_hooks_that_return_nothing_only_look(model, prompts):
    seen = []
    run = th.run(model, prompts, hooks=[("blocks.1.attn.hook_z", lambda z, hook: seen.append(z.shape))])
    assert len(seen) == 1
    torch.testing.assert_close(th.logits(model, run), own_logits(model, prompts), **CLOSE)


@pytest.mark.parametrize("name", [
    "blocks.0.attn.hook_k", "blocks.9.attn.hook_z", "blocks.-1.attn.hook_z", "hook_embed",
    "blocks.0.attn.hook_z.more", "",
])  # fmt: skip
def test_unknown_hook_points_are_refused(model, prompts, clean, refuses, name):
    for call in (lambda: th.run(model, prompts, hooks=[(name, lambda v, hook: v)]),
                 lambda: th.rerun_last(model, clean, [(name, lambda v, hook: v)])):  # fmt: skip
        with refuses("no hook point"):
            call()


def test_bad_arguments_are_refused(model, prompts, refuses):
    with refuses("'end' or 'all', got 'last'"):
        th.run(model, prompts, positions="last")
    with refuses("batch_size must be a whole number, at least 1, got 0"):
        th.run(model, prompts, batch_size=0)
    with refuses("no prompts"):
        th.run(model, prompts.select([]))


# --- at, rows ---


def test_at_picks_one_position_per_prompt(prompts, clean):
    where = prompts.positions["S2"]
    for i in range(len(prompts)):
        assert torch.equal(clean.at(clean.z, where)[:, i], clean.z[:, i, where[i]])
        assert torch.equal(clean.at(clean.resid, where)[:, i], clean.resid[:, i, where[i]])
        assert torch.equal(clean.at(clean.pattern, where, axis=3)[:, i], clean.pattern[:, i, :, where[i]])
        assert torch.equal(clean.at(clean.z)[:, i], clean.z[:, i, prompts.end[i]])


def test_other_positions_of_an_end_run_are_refused(model, prompts, refuses):
    run = th.run(model, prompts)
    assert torch.equal(run.at(run.z, prompts.end), run.z[:, :, 0])
    with refuses("positions='all'"):
        run.at(run.z, prompts.positions["S2"])


def test_rows_repeats_and_reorders_prompts(model, prompts, clean):
    index = torch.tensor([4, 0, 4])
    part, again = th.rows(clean, index), th.run(model, prompts.select(index), positions="all")
    assert len(part) == 3
    for name in STORED:
        torch.testing.assert_close(getattr(part, name), getattr(again, name), **CLOSE)
    torch.testing.assert_close(th.logits(model, part), th.logits(model, clean)[index], **CLOSE)
    redone = th.rerun_last(model, part, start=1)
    torch.testing.assert_close(th.logits(model, redone), th.logits(model, clean)[index], **CLOSE)


# --- rerun_last ---


@pytest.mark.parametrize("start", [None, 0, 1, 2, 3, 4])
@pytest.mark.parametrize("positions", ["end", "all"])
def test_rerunning_without_hooks_changes_nothing(model, prompts, positions, start):
    base = th.run(model, prompts, positions=positions)
    again = th.rerun_last(model, base, start=start)
    assert again.positions == "end"
    for name, axis in (("resid", 2), ("q", 2), ("z", 2), ("pattern", 3)):
        expected = base.at(getattr(base, name), axis=axis)
        torch.testing.assert_close(getattr(again, name).select(axis, 0), expected, **CLOSE)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("layer", [0, 2, 3])
def test_hooks_on_the_last_token_equal_a_full_run(model, prompts, clean, point, layer):
    name = f"blocks.{layer}.{point}"
    ours = th.rerun_last(model, clean, [(name, lambda value, hook: change(value))])
    theirs = own_logits(model, prompts, [(name, at_end_only(point, prompts.end))])
    torch.testing.assert_close(th.logits(model, ours), theirs, **CLOSE)
    assert not torch.allclose(theirs, th.logits(model, clean), atol=1e-2), "the hook must do something"


def test_several_hooks_on_the_last_token_equal_a_full_run(model, prompts, clean):
    points = [(1, "attn.hook_pattern"), (1, "hook_mlp_out"), (3, "attn.hook_q"), (2, "attn.hook_z")]
    ours = th.rerun_last(model, clean, [(f"blocks.{n}.{p}", lambda value, hook: change(value)) for n, p in points])
    hooks = [(f"blocks.{n}.{p}", at_end_only(p, prompts.end)) for n, p in points]
    torch.testing.assert_close(th.logits(model, ours), own_logits(model, prompts, hooks), **CLOSE)
    with model.hooks(fwd_hooks=hooks):
        _, cache = model.run_with_cache(prompts.tokens)
    for layer in range(model.cfg.n_layers):
        for value, name in ((ours.z, "attn.hook_z"), (ours.resid, "hook_resid_pre")):
            torch.testing.assert_close(
                value[layer, :, 0], reference.at(cache[f"blocks.{layer}.{name}"], prompts.end), **CLOSE
            )


def test_a_rerun_can_be_rerun(model, prompts, clean):
    """Edits of later layers on top of an edited run: its stored END values must be the edited ones."""
    first = th.rerun_last(model, clean, [("blocks.1.attn.hook_z", lambda z, hook: change(z))])
    second = th.rerun_last(model, first, [("blocks.3.attn.hook_z", lambda z, hook: change(z))])
    hooks = [(f"blocks.{layer}.attn.hook_z", at_end_only("z", prompts.end)) for layer in (1, 3)]
    torch.testing.assert_close(th.logits(model, second), own_logits(model, prompts, hooks), **CLOSE)


def test_stopping_early_keeps_the_layers_before(model, clean):
    hooks = [("blocks.1.attn.hook_z", lambda z, hook: change(z))]
    full, part = th.rerun_last(model, clean, hooks), th.rerun_last(model, clean, hooks, stop=3)
    assert part.z.shape[0] == 3 and part.resid.shape[0] == 4
    for name, n in (("resid", 4), ("q", 3), ("z", 3), ("pattern", 3)):
        torch.testing.assert_close(getattr(part, name), getattr(full, name)[:n])


@pytest.mark.parametrize("arguments", [{"start": 2}, {"start": -1}, {"stop": 0}, {"stop": 9}])
def test_impossible_layer_ranges_are_refused(model, clean, refuses, arguments):
    with refuses("must be a whole number"):
        th.rerun_last(model, clean, [("blocks.1.attn.hook_z", lambda z, hook: z)], **arguments)


# --- read-outs ---


def test_chosen_logits_are_columns_of_all_logits(model, prompts, clean):
    everything = th.logits(model, clean)
    ids = torch.stack([prompts.answer, prompts.distractor, prompts.answer * 0 + 5], 1)
    torch.testing.assert_close(th.logits(model, clean, ids), everything.gather(1, ids), **CLOSE)
    difference = everything.gather(1, ids[:, :1]) - everything.gather(1, ids[:, 1:2])
    torch.testing.assert_close(th.logit_difference(model, clean, prompts), difference[:, 0], **CLOSE)


def test_chosen_logits_need_one_row_per_prompt(model, clean, refuses):
    with refuses(r"ids must be \[batch=10, k\]"):
        th.logits(model, clean, torch.zeros(3, 2, dtype=torch.long))
    with refuses(r"ids must be \[batch=10, k\]"):
        th.logits(model, clean, torch.zeros(10, dtype=torch.long))


def test_top1_is_the_most_likely_token(model, prompts, clean):
    best = th.logits(model, clean).argmax(-1)
    hit = replace(prompts, answer=torch.where(torch.arange(10) < 4, best, (best + 1) % 50))
    for size in (3, 256):
        assert th.top1(model, clean, hit, batch_size=size).tolist() == (hit.answer == best).tolist()
    assert 4 <= th.top1(model, clean, hit).sum() < 10


@pytest.mark.real
def test_the_default_model_runs_equal_and_solves_the_task(default_model):
    prompts = ioi.generate(default_model, 6, seed=0)
    run = th.run(default_model, prompts)
    torch.testing.assert_close(th.logits(default_model, run), own_logits(default_model, prompts), rtol=1e-3, atol=2e-3)
    name = "blocks.17.attn.hook_z"
    ours = th.rerun_last(default_model, run, [(name, lambda value, hook: change(value))])
    theirs = own_logits(default_model, prompts, [(name, at_end_only(name, prompts.end))])
    torch.testing.assert_close(th.logits(default_model, ours), theirs, rtol=1e-3, atol=2e-3)
    assert th.logit_difference(default_model, run, prompts).mean() > 1


# --- going on from a layer that was kept ---


@pytest.mark.parametrize("positions", ["end", "all"])
def test_rerun_from_a_kept_layer_equals_the_whole_run(model, prompts, positions):
    layer = model.cfg.n_layers - 2
    hooks = [(f"blocks.{layer}.attn.hook_z", lambda z, hook: 1.5 * z)]
    base = th.run(model, prompts, positions, keep=layer, batch_size=3)
    whole, part = th.run(model, prompts, positions, hooks), th.rerun(model, base, hooks, batch_size=4)
    for name in ("resid", "q", "z", "pattern"):
        assert torch.allclose(getattr(whole, name), getattr(part, name), atol=1e-5), name
    for name in ("keys", "values"):
        for left, right in zip(getattr(whole, name), getattr(part, name), strict=True):
            assert torch.allclose(left, right, atol=1e-5), name
    assert not torch.allclose(part.resid[-1], base.resid[-1], atol=1e-3), "the hook must matter for this test"


def test_rerun_sees_edited_weights_and_keeps_the_rows_apart(model, prompts, weights):
    base = th.run(model, prompts, keep=1)
    with th.edited(model, th.scale_head(weights, (1, 0), 0.0)):
        whole, part = th.run(model, prompts), th.rerun(model, th.rows(base, torch.tensor([4, 2])))
    assert torch.allclose(part.resid, whole.resid[:, [4, 2]], atol=1e-5)


def test_rerun_refuses_what_it_cannot_do(model, prompts, refuses):
    with refuses("keep=layer"):
        th.rerun(model, th.run(model, prompts))
    with refuses("keep must be a whole number"):
        th.run(model, prompts, keep=model.cfg.n_layers)
    base = th.run(model, prompts, keep=2)
    with refuses("before layer 2"):
        th.rerun(model, base, [("blocks.1.attn.hook_z", lambda z, hook: z)])


def test_gradients_flow_to_what_hooks_put_in(model, prompts):
    """The derivative of a logit by the scale of a head, against a finite difference in a re-run."""
    base, layer = th.run(model, prompts), model.cfg.n_layers - 2
    scale = torch.ones((), requires_grad=True)

    def total(factor):
        result = th.rerun_last(model, base, [(f"blocks.{layer}.attn.hook_z", lambda z, hook: factor * z)])
        return th.logits(model, result, prompts.answer[:, None]).double().sum()

    (slope,) = torch.autograd.grad(total(scale), scale)
    finite = (total(torch.tensor(1.01)) - total(torch.tensor(0.99))) / 0.02
    assert abs(float(slope)) > 1e-3 and float(slope) == pytest.approx(float(finite), rel=0.02, abs=0.02)
    assert not th.run(model, prompts).resid.requires_grad


@pytest.mark.parametrize("layer", range(4))
def test_one_full_run_serves_interventions_from_every_layer(model, prompts, clean, layer):
    base = th.kept_at(clean, layer)
    torch.testing.assert_close(th.rerun(model, base).resid, clean.at(clean.resid).unsqueeze(2))
    hooks = [(f"blocks.{layer}.hook_resid_pre", lambda x, hook: x.flip(-1))]
    again, full = th.rerun(model, base, hooks, batch_size=3), th.run(model, prompts, hooks=hooks)
    torch.testing.assert_close(again.resid[layer + 1 :], full.resid[layer + 1 :])
    torch.testing.assert_close(again.pattern[layer:], full.pattern[layer:])


def test_a_run_that_lacks_a_layer_cannot_be_taken_up_there(clean, refuses):
    for base, layer in ((clean, 4), (clean, -1), (th.kept_at(clean, 1), 1)):
        with refuses("layer must be a whole number|positions='all'"):
            th.kept_at(base, layer)
