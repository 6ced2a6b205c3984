"""Position codes: planted configurations with known corners and leads; codes are the slopes of scores."""

import numpy as np
import pytest
import torch

import th_utils as th
from th_utils.channels.reach import margins

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
