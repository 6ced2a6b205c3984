"""Channels: an intervention changes the requested coordinates at the requested position, and nothing else."""

import pytest
import reference
import torch

import th_utils as th

CLOSE = {"rtol": 1e-3, "atol": 1e-4}
PARTS = [(1, 2, 0), (1, 2, 3), (2, 0, 1)]


@pytest.fixture(scope="module")
def ov(weights):
    return th.decompose_ov(weights)


@pytest.fixture(scope="module")
def target(weights, ov):
    return th.channel(weights, ov, PARTS)


def whole(model, prompts, hooks):
    """The model's own run under hooks: head outputs per layer and logits at every position."""
    with model.hooks(fwd_hooks=hooks):
        logits, cache = model.run_with_cache(prompts.tokens)
    return torch.stack([cache[f"blocks.{n}.attn.hook_z"] for n in range(model.cfg.n_layers)]), logits


def written(weights, ov, z, part):
    """c = (z W_O)·v for one component at every position, from its definition."""
    layer, head, k = part
    return z[layer, :, :, head] @ weights.W_O[layer, head] @ ov.write[layer, head, k]


def test_coordinates_are_what_the_components_write(weights, ov, target, prompts, clean):
    got = target.coordinates(clean.at(clean.z))
    for i, part in enumerate(PARTS):
        expected = reference.at(written(weights, ov, clean.z, part), prompts.end)
        torch.testing.assert_close(got[:, i], expected, **CLOSE)


def test_coordinates_are_attention_weighted_readings(model, weights, ov, target, prompts, clean):
    """c = σ Σ_j A_ij (x_j·u), up to the constant that the value bias (folded away) would add."""
    for i, (layer, head, k) in enumerate(PARTS):
        assert weights.b_V[layer, head].abs().max() < 1e-6
        read = reference.normalise(model, clean.resid[layer]) @ ov.read[layer, head, k]
        pattern = clean.at(clean.pattern, axis=3)[layer, :, head]
        expected = ov.singular_values[layer, head, k] * (pattern * read).sum(-1)
        torch.testing.assert_close(target.coordinates(clean.at(clean.z))[:, i], expected, **CLOSE)


def test_names_and_shape(target):
    assert target.names == ("1.2.0", "1.2.3", "2.0.1") and len(target) == 3
    assert target.heads == ((1, 2), (1, 2), (2, 0)) and target.first_layer == 1


def test_gram_holds_the_cosines(target, ov):
    gram = target.gram()
    torch.testing.assert_close(gram.diagonal(), torch.ones(3), **CLOSE)
    assert abs(gram[0, 1]) < 1e-5, "components of one head are orthogonal"
    torch.testing.assert_close(gram[0, 2], ov.write[1, 2, 0] @ ov.write[2, 0, 1], **CLOSE)


@pytest.mark.parametrize("kind, expected", [
    ("zero", lambda c: torch.zeros_like(c)),
    ("scale", lambda c: c * torch.tensor([2.0, -1.0, 0.5])),
    ("set", lambda c: torch.tensor([0.7, -3.0, 4.0]).expand_as(c)),
])  # fmt: skip
def test_only_the_asked_for_coordinates_and_position_change(model, weights, ov, target, prompts, clean, kind, expected):
    at = prompts.positions["S2"]
    numbers = {"zero": (), "scale": ([2.0, -1.0, 0.5],), "set": ([0.7, -3.0, 4.0],)}[kind]
    hooks = getattr(target, kind)(*numbers, at=at)
    z, _ = whole(model, prompts, hooks)
    # Layer 1 is edited first, so all of its input is clean: the comparison is exact there.
    for i, part in enumerate(PARTS[:2]):
        before, after = (written(weights, ov, zz, part) for zz in (clean.z, z))
        torch.testing.assert_close(
            reference.at(after, at), expected(reference.at(before, at)[:, None].expand(-1, 3))[:, i], **CLOSE
        )
        elsewhere = torch.arange(z.shape[2]) != at[:, None]
        torch.testing.assert_close(after[elsewhere], before[elsewhere], **CLOSE)
    for k in set(range(weights.d_head)) - {0, 3}:
        torch.testing.assert_close(
            written(weights, ov, z, (1, 2, k)), written(weights, ov, clean.z, (1, 2, k)), **CLOSE
        )
    others = [h for h in range(4) if h != 2]
    torch.testing.assert_close(z[1, :, :, others], clean.z[1, :, :, others], **CLOSE)
    torch.testing.assert_close(z[0], clean.z[0], **CLOSE)


def test_set_reaches_its_value_in_every_layer(model, target, prompts, clean):
    """The later component's input has changed, and it is set all the same."""
    run = th.rerun_last(model, clean, target.set([0.7, -3.0, 4.0]))
    expected = torch.tensor([0.7, -3.0, 4.0]).expand(len(prompts), -1)
    torch.testing.assert_close(target.coordinates(run.at(run.z)), expected, **CLOSE)


def test_values_per_prompt_reach_their_prompt(model, target, prompts, clean):
    values = torch.linspace(-2, 2, 3 * len(prompts)).reshape(len(prompts), 3)
    run = th.rerun_last(model, clean, target.set(values))
    torch.testing.assert_close(target.coordinates(run.at(run.z)), values, **CLOSE)
    factors = torch.linspace(-2, 2, len(prompts))[:, None].repeat(1, 3)
    scaled = th.rerun_last(model, clean, target.scale(factors))
    one_layer = target.coordinates(scaled.at(scaled.z))[:, :2]
    torch.testing.assert_close(one_layer, factors[:, :2] * target.coordinates(clean.at(clean.z))[:, :2], **CLOSE)


def test_the_last_token_and_the_whole_run_agree(model, target, prompts, clean):
    for make in (target.zero, lambda at=None: target.set(3.0, at), lambda at=None: target.scale(-1.0, at)):
        _, logits = whole(model, prompts, make(at=prompts.end))
        ours = th.logits(model, th.rerun_last(model, clean, make()))
        torch.testing.assert_close(ours, reference.at(logits, prompts.end), **CLOSE)


def test_zero_is_scale_zero_and_scale_one_is_nothing(model, target, prompts, clean):
    zero, scaled, same = (th.rerun_last(model, clean, h) for h in (target.zero(), target.scale(0.0), target.scale(1.0)))
    assert torch.equal(zero.resid, scaled.resid)
    torch.testing.assert_close(th.logits(model, same), th.logits(model, clean), **CLOSE)
    assert not torch.allclose(th.logits(model, zero), th.logits(model, clean), atol=1e-2)


def test_steering_adds_exactly_the_direction(weights, target):
    for i, head in enumerate(target.heads):
        torch.testing.assert_close(target.steer[i] @ weights.W_O[head], target.directions[i], **CLOSE)


# --- random controls ---


def test_random_channels_avoid_the_channel_and_stay_in_the_write_space(weights, target):
    control = th.random_channel(weights, target, seed=3)
    assert control.heads == target.heads and "random" in control.names[0]
    torch.testing.assert_close(control.directions.norm(dim=-1), torch.ones(3))
    assert (control.directions[:2] @ target.directions[:2].T).abs().max() < 1e-5
    assert abs(control.directions[0] @ control.directions[1]) < 1e-5
    assert abs(control.directions[2] @ target.directions[2]) < 1e-5
    for i, head in enumerate(control.heads):
        torch.testing.assert_close(control.steer[i] @ weights.W_O[head], control.directions[i], **CLOSE)


def test_random_channels_leave_the_channels_coordinates_alone(model, target, clean, weights):
    control = th.random_channel(weights, target)
    run = th.rerun_last(model, clean, control.zero())
    before, after = (target.coordinates(r.at(r.z))[:, :2] for r in (clean, run))
    torch.testing.assert_close(before, after, **CLOSE)
    assert control.coordinates(run.at(run.z)).abs().max() < 1e-4 < control.coordinates(clean.at(clean.z)).abs().max()


def test_random_channels_follow_their_seed(weights, target):
    one, same, other = (th.random_channel(weights, target, seed).directions for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.allclose(one, other)


def test_a_head_has_no_room_for_a_control_of_all_its_directions(weights, ov, refuses):
    everything = th.channel(weights, ov, [(0, 0, k) for k in range(5)])
    with refuses("no room.*0.0"):
        th.random_channel(weights, everything)


# --- errors ---


@pytest.mark.parametrize("components, match", [
    ([], "at least one"),
    ([(0, 0, 1), (0, 0, 1)], "distinct"),
    ([(0, 0)], "triples"),
    ([(4, 0, 0)], "no head 4.0"),
    ([(0, 0, 8)], "no component 0.0.8: heads have components 0-7"),
    ([(0, 0, -1)], "no component"),
])  # fmt: skip
def test_impossible_channels_are_refused(weights, ov, refuses, components, match):
    with refuses(match):
        th.channel(weights, ov, components)


def test_directions_outside_the_write_space_are_refused(weights, ov, refuses):
    """A head whose W_O has lost rank cannot write the components of another one."""
    from dataclasses import replace

    broken = replace(weights, W_O=weights.W_O.clone())
    broken.W_O[0, 0] = 0
    with refuses("0.0.1.*decompose_ov"):
        th.channel(broken, ov, [(0, 0, 1)])


@pytest.mark.parametrize("value, match", [
    ([1.0, 2.0], "3 numbers"),
    ([[1.0, 2.0]], "3 numbers"),
    (float("nan"), "NaN"),
    ([1.0, 2.0, float("inf")], "finite"),
])  # fmt: skip
def test_impossible_values_are_refused(target, refuses, value, match):
    for make in (target.set, target.scale):
        with refuses(match):
            make(value)
