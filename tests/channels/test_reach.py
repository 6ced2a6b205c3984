"""Geometry of position codes: planted configurations with known corners, leads, labels and scores."""

import numpy as np
import pytest
import torch

import th_utils as th
from th_utils.channels import reach as geometry
from th_utils.models import parts as bridge

TURN = 2 * np.pi * np.arange(7) / 7
CIRCLE = np.c_[np.cos(TURN), np.sin(TURN)]


def test_on_a_line_only_the_ends_can_be_selected():
    points = np.random.default_rng(0).normal(size=(6, 1)) * [[1.0, -2.0, 0.5]]
    ends = {points[:, 0].argmin(), points[:, 0].argmax()}
    assert set(np.flatnonzero(geometry.reachable(points))) == ends


def test_corners_can_be_selected_and_inner_points_cannot():
    points = np.vstack([CIRCLE, 0.5 * CIRCLE[:3]])
    assert geometry.reachable(points).tolist() == [True] * 7 + [False] * 3


def test_a_head_start_makes_an_inner_point_selectable():
    points, offsets = np.vstack([CIRCLE, [[0.1, 0.0]]]), np.append(np.zeros(7), 0.2)
    assert geometry.reachable(points, offsets).all()
    assert geometry.reachable(points, offsets, limit=0.05).tolist() == [False] * 7 + [True]


def test_lead_is_the_best_that_any_point_of_the_box_gives():
    rng = np.random.default_rng(1)
    points, offsets = rng.normal(size=(5, 2)), rng.normal(size=5)
    scores = rng.uniform(-2, 2, size=(20000, 2)) @ points.T + offsets
    rivals = np.stack([np.delete(scores, i, 1).max(1) for i in range(5)], 1)
    sampled, best = (scores - rivals).max(0), geometry.margins(points, offsets, 2.0)
    assert (sampled <= best + 1e-9).all() and np.allclose(sampled, best, atol=0.1)


def test_leads_on_a_circle_shrink_with_the_square_of_the_number():
    def lead(n):
        turn = 2 * np.pi * np.arange(n) / n
        return geometry.margins(np.c_[np.cos(turn), np.sin(turn)], limit=1.0).min()

    assert np.log(lead(48) / lead(24)) / np.log(2) == pytest.approx(-2, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0, 2.0]],), "items >= 2"),
        (([[1.0], [2.0]], [0.0]), "one offset each"),
        (([[1.0], [np.nan]],), "finite"),
        (([[1.0], [2.0]], None, 0.0), "limit"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        geometry.margins(*arguments)


def test_decoder_finds_planted_classes_and_nothing_in_noise():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    apart = rng.normal(size=(200, 3)) + 6 * np.eye(4)[labels][:, :3]
    assert (geometry.decode(apart, labels) == labels).mean() > 0.97
    noise = (geometry.decode(rng.normal(size=(200, 50)), labels) == labels).mean()
    assert noise < 0.4, "held-out labels leaked into the fit"


def test_decoder_does_not_care_for_units_of_a_few_coordinates():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 400)
    x = rng.normal(size=(1200, 2)) + np.array([[0, 0], [2, 0], [0, 2]])[labels]
    same = geometry.decode(x, labels) == geometry.decode(x * [1.0, 3.0], labels)
    assert same.mean() > 0.99


@pytest.mark.parametrize(("labels", "message"), [([0, 1], "n labels"), ([0] * 9 + [1], "folds")])
def test_decoder_refuses(labels, message):
    with pytest.raises(ValueError, match=message):
        geometry.decode(np.zeros((10, 2)), labels, folds=5)


def test_information_of_copies_and_of_independent_labels():
    labels = np.tile(np.arange(4), 26)
    assert geometry.information(labels, (labels + 1) % 4) == pytest.approx(2.0)
    assert geometry.information(labels, np.repeat([0, 1], 52)) == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(ValueError, match="inconsistent"):
        geometry.information([0, 1], [0])


@pytest.fixture(scope="module")
def reader(weights):
    return (weights.n_layers - 1, 1)


def test_codes_are_the_slopes_of_the_scores(model, weights, prompts, clean, reader):
    spots = torch.stack([prompts.positions["IO"], prompts.positions["S1"], prompts.positions["S2"]], 1)
    # Directions at right angles to every stream do not change the normalisation's scale to first order.
    stream = clean.at(clean.resid)[reader[0]]
    taken = torch.linalg.qr((stream - bridge.centres(model) * stream.mean(-1, keepdim=True)).T).Q
    directions = torch.randn(2, weights.d_model, generator=torch.Generator().manual_seed(0))
    directions = directions - directions @ taken @ taken.T
    scores, codes = th.position_codes(model, clean, reader, directions, spots)

    def log_attention(step):
        changes = (step * directions)[:, None].expand(-1, len(clean), -1)
        pattern, _ = th.patch_input(model, clean, reader, "q", changes)
        return pattern.gather(2, spots.expand(2, -1, -1)).log()

    def apart(x):
        return x - x.mean(-1, keepdim=True)

    torch.testing.assert_close(apart(log_attention(0.0)[0]), apart(scores), rtol=1e-3, atol=1e-4)
    measured = apart(log_attention(1e-2) - log_attention(-1e-2)) / 2e-2
    torch.testing.assert_close(measured, apart(codes.movedim(-1, 0)), rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("name", ["tiny-gpt2", "tiny-neox", "tiny-llama"])
def test_codes_of_a_model_that_is_not_folded_are_refused(name, refuses):
    raw = th.load_model(name, fold=False)
    made = th.tasks.ioi.generate(raw, 3)
    with refuses("gain of its own.*fold=True"):
        th.position_codes(raw, th.run(raw, made, "all"), (2, 1), torch.eye(32)[:2], made.end[:, None])


def test_positions_need_one_row_per_prompt(model, clean, reader, weights):
    with pytest.raises(ValueError, match="batch"):
        th.position_codes(model, clean, reader, torch.eye(weights.d_model)[:1], torch.zeros(3, 2, dtype=torch.long))


def test_padding_directions_and_keys_are_checked(model, prompts, clean, refuses):
    spots, directions = prompts.end[:, None], torch.eye(2, model.cfg.d_model)
    for positions in (torch.full_like(spots, clean.tokens.shape[1] - 1), spots * 0 - 1):
        with refuses("positions must lie between 0"):
            th.position_codes(model, clean, (2, 0), directions, positions)
    for bad in (directions[0], directions[:, :3], directions * torch.nan):
        with refuses("directions must be"):
            th.position_codes(model, clean, (2, 0), bad, spots)
    with refuses("no keys"):
        th.position_codes(model, th.run(model, prompts, caches=3), (2, 0), directions, spots)


def test_numbers_that_cannot_be_decoded_are_refused():
    for points, labels in (([[np.nan], [0.0]], [0, 1]), (np.zeros((0, 1)), []), (np.zeros((20, 1)), [3] * 20)):
        with pytest.raises(ValueError, match="finite points|at least two classes"):
            geometry.decode(points, labels, folds=2)
    for one, other in (([], []), ([1], [1, 2])):
        with pytest.raises(ValueError, match="inconsistent length or empty"):
            geometry.information(one, other)
    with pytest.raises(ValueError, match="None for no limit"):
        geometry.margins(np.eye(2), limit=np.inf)
