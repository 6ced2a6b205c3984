"""Channels: an intervention changes the requested coordinates at the requested position, and nothing else."""

from dataclasses import replace

import pytest
import reference
import torch

import th_utils as th

CLOSE = {"rtol": 1e-3, "atol": 1e-4}
PARTS = [(1, 2, 0), (1, 2, 3), (2, 0, 1)]
VALUES = torch.tensor([0.7, -3.0, 4.0])


@pytest.fixture(scope="module")
def target(weights):
    return th.channel(weights, PARTS)


def whole(model, prompts, hooks):
    """The model's own run under hooks: head outputs per layer and logits at every position."""
    with model.hooks(fwd_hooks=hooks):
        logits, cache = model.run_with_cache(prompts.tokens)
    return torch.stack([cache[f"blocks.{n}.attn.hook_z"] for n in range(model.cfg.n_layers)]), logits


def written(weights, z, part):
    """c = (z W_O)·v for one component at every position, from its definition."""
    layer, head, k = part
    return z[layer, :, :, head] @ weights.W_O[layer, head] @ weights.ov.write[layer, head, k]


def test_coordinates_are_what_the_components_write(weights, target, prompts, clean):
    for where in ("END", "S2"):
        got = target.coordinates(clean, where)
        for i, part in enumerate(PARTS):
            expected = reference.at(written(weights, clean.z, part), prompts.positions[where])
            torch.testing.assert_close(got[:, i], expected, **CLOSE)
    assert torch.equal(target.coordinates(clean), target.coordinates(clean, prompts.end))


def test_coordinates_are_attention_weighted_readings(model, weights, target, clean):
    """c = σ Σ_j A_ij (x_j·u), up to the constant that the value bias (folded away) would add."""
    for i, (layer, head, k) in enumerate(PARTS):
        assert weights.b_V[layer, head].abs().max() < 1e-6
        read = reference.normalise(model, clean.resid[layer]) @ weights.ov.read[layer, head, k]
        pattern = clean.at().pattern[layer, head]
        expected = weights.ov.singular_values[layer, head, k] * (pattern * read).sum(-1)
        torch.testing.assert_close(target.coordinates(clean)[:, i], expected, **CLOSE)


def test_names_cosines_and_steering(weights, target):
    assert target.names == ("1.2.0", "1.2.3", "2.0.1") and len(target) == 3
    assert target.heads == ((1, 2), (1, 2), (2, 0))
    gram = target.directions @ target.directions.T
    torch.testing.assert_close(gram.diagonal(), torch.ones(3), **CLOSE)
    assert abs(gram[0, 1]) < 1e-5, "components of one head are orthogonal"
    torch.testing.assert_close(gram[0, 2], weights.ov.write[1, 2, 0] @ weights.ov.write[2, 0, 1], **CLOSE)
    for i, head in enumerate(target.heads):
        torch.testing.assert_close(target.steer[i] @ weights.W_O[head], target.directions[i], **CLOSE)


@pytest.mark.parametrize("make, expected", [
    (lambda c, at: c.scale(VALUES, at), lambda c: c * VALUES),
    (lambda c, at: c.set(VALUES, at), VALUES.expand_as),
], ids=["scale", "set"])  # fmt: skip
def test_only_the_requested_coordinates_and_position_change(model, weights, target, prompts, clean, make, expected):
    at = prompts.positions["S2"]
    z, _ = whole(model, prompts, make(target, at))
    elsewhere = torch.arange(z.shape[2]) != at[:, None]
    # Layer 1 is changed first, so all of its input is clean: the comparison is exact there.
    for k in range(weights.d_head):
        before, after = (written(weights, zz, (1, 2, k)) for zz in (clean.z, z))
        torch.testing.assert_close(after[elsewhere], before[elsewhere], **CLOSE)
        requested = {0: 0, 3: 1}.get(k)
        old, new = reference.at(before, at), reference.at(after, at)
        wanted = old if requested is None else expected(old[:, None].expand(-1, 3))[:, requested]
        torch.testing.assert_close(new, wanted, **CLOSE)
    others = [h for h in range(4) if h != 2]
    torch.testing.assert_close(z[1, :, :, others], clean.z[1, :, :, others], **CLOSE)
    torch.testing.assert_close(z[0], clean.z[0], **CLOSE)


def test_set_reaches_its_value_in_every_layer_and_for_every_prompt(model, target, prompts, clean):
    """The later component's input has changed, and it is set all the same."""
    each = torch.linspace(-2, 2, 30).reshape(10, 3)
    for values in (VALUES.expand(10, -1), each):
        run = th.rerun_last(model, clean, target.set(values))
        torch.testing.assert_close(target.coordinates(run), values, **CLOSE)
    scaled = target.coordinates(th.rerun_last(model, clean, target.scale(each)))[:, :2]
    torch.testing.assert_close(scaled, each[:, :2] * target.coordinates(clean)[:, :2], **CLOSE)


def test_the_last_token_and_the_whole_run_agree(model, target, prompts, clean):
    for make in (lambda at=None: target.set(3.0, at), lambda at=None: target.scale(-1.0, at)):
        _, logits = whole(model, prompts, make(at=prompts.end))
        ours = th.logits(model, th.rerun_last(model, clean, make()))
        torch.testing.assert_close(ours, reference.at(logits, prompts.end), **CLOSE)


# --- channels from data ---

HEADS = [(2, 1), (1, 3)]


@pytest.fixture(scope="module")
def kinds(model):
    """Two unpaired groups of runs, and a known step that head 2.1 writes in the first, no larger than its noise."""
    noise, step = torch.randn(4, 40, 4, 8, generator=torch.Generator().manual_seed(0)), torch.linspace(-1.5, 1.5, 8)
    run = th.run(model, th.tasks.ioi.generate(model, 40, seed=5))
    z = noise[:, :, None]
    z[2, :25, 0, 1] += step
    z[1, :25, 0, 3] += 2.0
    made = replace(run, z=z)
    return made.select(slice(0, 25)), made.select(slice(25, None)), step


def test_a_channel_from_data_lies_along_the_difference_of_the_mean_writes(weights, kinds):
    run, other, step = kinds
    found = th.channel_from(weights, HEADS, run, other)
    assert found.heads == tuple(HEADS) and found.names == ("2.1 by data", "1.3 by data")
    for direction, (layer, head) in zip(found.directions, HEADS, strict=True):
        writes = [one.z[layer, :, 0, head].double() @ weights.W_O[layer, head].double() for one in (run, other)]
        expected = writes[0].mean(0) - writes[1].mean(0)
        torch.testing.assert_close(direction.double(), expected / expected.norm(), rtol=1e-4, atol=1e-5)
    planted = torch.nn.functional.normalize(step @ weights.W_O[2, 1], dim=0)
    assert planted @ found.directions[0] > 0.8, "40 noisy prompts find most of what was planted"
    assert (found.coordinates(run).mean(0) > found.coordinates(other).mean(0)).all(), "larger in run"
    turned = th.channel_from(weights, HEADS, other, run)
    torch.testing.assert_close(turned.directions, -found.directions)


def test_a_channel_from_data_is_set_edited_and_controlled_as_any_other(model, weights, kinds, prompts, clean):
    found = th.channel_from(weights, HEADS[1:], *kinds[:2])
    at_end = th.rerun_last(model, clean, found.set(2.5))
    torch.testing.assert_close(found.coordinates(at_end), torch.full((10, 1), 2.5), **CLOSE)
    rest = torch.eye(32) - found.directions.T @ found.directions
    before, after = (one.at().z[1, 3] @ weights.W_O[1, 3] @ rest for one in (clean, at_end))
    torch.testing.assert_close(after, before, **CLOSE)
    for edits, hooks in ((th.scale_component(weights, found, -1.0), found.scale(-1.0)),
                         (th.set_component(weights, found, 2.0), found.set(2.0))):  # fmt: skip
        with th.edited(model, edits):
            edited = th.logits(model, th.run(model, prompts))
        hooked = th.logits(model, th.run(model, prompts, hooks=hooks))
        torch.testing.assert_close(edited, hooked, rtol=1e-3, atol=2e-3)
    assert (th.random_channel(weights, found).directions @ found.directions.T).abs().max() < 1e-5


def test_a_channel_from_data_may_be_read_at_a_named_position(weights, prompts, clean):
    step, z = torch.linspace(-3, 5, 8), clean.z.clone()
    z[1, torch.arange(10), prompts.at("S2"), 2] += step
    found = th.channel_from(weights, [(1, 2)], replace(clean, z=z), clean, where="S2")
    expected = torch.nn.functional.normalize(step @ weights.W_O[1, 2], dim=0)
    torch.testing.assert_close(found.directions[0], expected, **CLOSE)


def test_what_is_no_data_for_a_channel_is_refused_by_name(model, weights, kinds, prompts, refuses):
    run, other, _ = kinds
    with refuses("head 0.1 writes the same in run and other, within chance"):
        th.channel_from(weights, [(2, 1), (0, 1)], run, other)
    with refuses("head 2.1 writes the same"):
        th.channel_from(weights, [(2, 1)], run, run)
    with refuses("distinct .* got .'2.1', '2.1'"):
        th.channel_from(weights, [(2, 1), (2, 1)], run, other)
    with refuses("come from different models .*run another, other .*"):
        th.channel_from(weights, HEADS, replace(run, fingerprint="another"), other)
    with refuses("stops before layer 2, heads are 2.1"):
        th.channel_from(weights, HEADS, th.rerun_last(model, run, start=0, stop=2), other)
    hooked = th.run(model, prompts, hooks=[("blocks.2.attn.hook_z", lambda z, hook: z * 0)])
    with refuses("a hook at z of layer 2, which is no data"):
        th.channel_from(weights, HEADS, run, hooked)
    with th.edited(model, th.scale_head(weights, (0, 0), 0.0)):
        edited = th.run(model, prompts)
    with refuses("under edits of the weights"):
        th.channel_from(weights, HEADS, edited, other)


# --- random controls ---


def test_random_channels_avoid_the_channel_and_stay_in_the_write_space(model, weights, target, clean):
    control = th.random_channel(weights, target, seed=3)
    assert control.heads == target.heads and "random" in control.names[0]
    torch.testing.assert_close(control.directions.norm(dim=-1), torch.ones(3))
    assert (control.directions[:2] @ target.directions[:2].T).abs().max() < 1e-5
    assert abs(control.directions[0] @ control.directions[1]) < 1e-5
    assert abs(control.directions[2] @ target.directions[2]) < 1e-5
    for i, head in enumerate(control.heads):
        torch.testing.assert_close(control.steer[i] @ weights.W_O[head], control.directions[i], **CLOSE)
    run = th.rerun_last(model, clean, control.scale(0.0))
    torch.testing.assert_close(target.coordinates(run)[:, :2], target.coordinates(clean)[:, :2], **CLOSE)
    assert control.coordinates(run).abs().max() < 1e-4 < control.coordinates(clean).abs().max()


def test_random_channels_follow_their_seed_and_need_room(weights, target, refuses):
    one, same, other = (th.random_channel(weights, target, seed).directions for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.allclose(one, other)
    with refuses("no room.*0.0"):
        th.random_channel(weights, th.channel(weights, [(0, 0, k) for k in range(5)]))


def test_a_head_that_has_lost_rank_cannot_write_a_direction(weights, refuses):
    from th_utils.channels.channel import make

    broken = replace(weights, W_O=torch.where(torch.arange(4)[:, None, None] == 0, 0.0, weights.W_O))
    with refuses("cannot write the direction of mine"):
        make(broken, [(0, 0)], ["mine"], weights.ov.write[0, 0, 1][None])
