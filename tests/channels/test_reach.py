"""Position codes: planted configurations with known corners and leads; codes are the slopes of scores."""

import kinds
import numpy as np
import pytest
import torch

import th_utils as th
from th_utils.channels.reach import margins, plain_attention

TURN = 2 * np.pi * np.arange(7) / 7
CIRCLE = np.c_[np.cos(TURN), np.sin(TURN)]


def test_on_a_line_only_the_ends_can_be_selected():
    points = np.random.default_rng(0).normal(size=(6, 1)) * [[1.0, -2.0, 0.5]]
    assert set(np.flatnonzero(margins(points) > 1e-7)) == {points[:, 0].argmin(), points[:, 0].argmax()}


def test_corners_can_be_selected_and_inner_points_cannot_without_a_head_start():
    assert (margins(np.vstack([CIRCLE, 0.5 * CIRCLE[:3]])) > 1e-7).tolist() == [True] * 7 + [False] * 3
    points, offsets = np.vstack([CIRCLE, [[0.1, 0.0]]]), np.append(np.zeros(7), 0.2)
    assert (margins(points, offsets) > 1e-7).all()
    assert (margins(points, offsets, limit=0.05) > 1e-7).tolist() == [False] * 7 + [True]


def test_lead_is_the_best_that_any_point_of_the_box_gives():
    rng = np.random.default_rng(1)
    points, offsets = rng.normal(size=(5, 2)), rng.normal(size=5)
    scores = rng.uniform(-2, 2, size=(20000, 2)) @ points.T + offsets
    rivals = np.stack([np.delete(scores, i, 1).max(1) for i in range(5)], 1)
    sampled, best = (scores - rivals).max(0), margins(points, offsets, 2.0)
    assert (sampled <= best + 1e-9).all() and np.allclose(sampled, best, atol=0.1)


def test_leads_on_a_circle_shrink_with_the_square_of_the_number():
    def lead(n):
        angle = 2 * np.pi * np.arange(n) / n
        return margins(np.c_[np.cos(angle), np.sin(angle)], limit=1.0).min()

    assert np.log(lead(48) / lead(24)) / np.log(2) == pytest.approx(-2, abs=0.1)


@pytest.mark.parametrize("kind", ("plain", "multipliers", "scores divided by the layer"))
def test_attention_is_the_softmax_of_scores_at_the_models_own_scale(tmp_path, kind):
    model = th.load_model(kinds.write(tmp_path, *kinds.KINDS[kind]))
    run = th.run(model, th.tasks.ioi.generate(model, 5, seed=1), "all")
    assert all(plain_attention(model, run, (layer, 1)) for layer in range(kinds.LAYERS))


def test_codes_are_the_slopes_of_the_scores(model, weights, prompts, clean):
    reader, spots = (3, 1), torch.stack([prompts.positions[name] for name in ("IO", "S1", "S2", "END")], 1)
    # Directions at right angles to every stream do not change the normalisation's scale to first order.
    stream = th.laws.input_law(model, reader[0]).centred(clean.at().resid[reader[0]])
    taken = torch.linalg.qr(stream.T).Q
    directions = torch.randn(2, weights.d_model, generator=torch.Generator().manual_seed(0))
    directions = directions - directions @ taken @ taken.T
    scores, codes = th.position_codes(model, clean, reader, directions, spots)

    def log_attention(step):
        changes = (step * directions)[:, None].expand(-1, len(clean), -1)
        pattern = th.patch_input(model, clean, th.Edge(reader), changes).pattern
        return pattern.gather(2, spots.expand(2, -1, -1)).log()

    def apart(x):
        return x - x.mean(-1, keepdim=True)

    torch.testing.assert_close(apart(log_attention(0.0)[0]), apart(scores), rtol=1e-3, atol=1e-4)
    measured = apart(log_attention(1e-2) - log_attention(-1e-2)) / 2e-2
    torch.testing.assert_close(measured, apart(codes.movedim(-1, 0)), rtol=2e-2, atol=1e-3)


def test_codes_refuse_padding_and_missing_keys(model, prompts, clean, refuses):
    spots, directions = prompts.end[:, None], torch.eye(2, 32)
    with refuses("positions must lie between 0 and each prompt's END: . of 10 do not"):
        th.position_codes(model, clean, (2, 0), directions, torch.full_like(spots, clean.tokens.shape[1] - 1))
    with refuses("does not hold the keys of the reader's layer 2"):
        th.position_codes(model, th.run(model, prompts, caches=3), (2, 0), directions, spots)


def test_codes_of_heads_that_norm_their_queries_are_measured_slopes(tiny, refuses):
    """The formula would be wrong there; measured on a plain head, the slopes are the formula's but for the norm."""
    model = tiny("tiny-gemma3")
    prompts = th.tasks.ioi.generate(model, 3, seed=1)
    clean, reader = th.run(model, prompts, "all"), (1, 2)  # a layer that sees everything
    assert not th.plain_attention(model, clean, reader)
    spots = torch.stack([prompts.at(name) for name in ("IO", "S1", "S2")], 1)
    directions = torch.randn(300, 32, generator=torch.Generator().manual_seed(0))
    scores, codes = th.position_codes(model, clean, reader, directions, spots)
    looked = clean.at().pattern[reader].gather(1, spots)
    torch.testing.assert_close(scores.exp(), looked, rtol=1e-3, atol=1e-6)
    step = 0.05
    moved = th.patch_input(model, clean, th.Edge(reader), step * directions[[299], None].expand(1, 3, -1)).pattern[0]
    change = (moved.gather(1, spots) / looked).log()
    apart = change - change.mean(1, keepdim=True)
    expected = codes[..., 299] - codes[..., 299].mean(1, keepdim=True)
    torch.testing.assert_close(apart / step, expected, rtol=0.1, atol=0.05)
    _, longer = th.position_codes(model, clean, reader, 100 * directions[:3], spots)
    torch.testing.assert_close(longer, 100 * codes[..., :3], rtol=1e-2, atol=1e-2)


def test_positions_outside_the_window_have_no_codes(tiny, refuses):
    model = tiny("tiny-gemma3")
    prompts = th.tasks.laundry_list.generate(model, 3, 5)  # longer than the window of the first layer
    clean = th.run(model, prompts, "all")
    with refuses("head 2.1 cannot see some of these positions"):
        th.position_codes(model, clean, (2, 1), torch.eye(2, 32), torch.zeros(3, 1, dtype=torch.long))


def test_attention_of_plain_models_is_plain(model, clean):
    assert all(th.plain_attention(model, clean, head) for head in ((0, 1), (3, 2)))
