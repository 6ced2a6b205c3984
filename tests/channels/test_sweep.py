"""Traversal: settings reach the model as `Channel.set` does, and the search finds what was planted."""

import numpy as np
import pytest
import torch

import th_utils as th
from th_utils.channels import sweep as traversal


@pytest.fixture(scope="module")
def target(weights):
    return th.channel(weights, th.decompose_ov(weights), [(1, 2, 0), (1, 0, 1)])


@pytest.fixture(scope="module")
def spots(prompts):
    return torch.stack([prompts.positions["IO"], prompts.positions["S1"]], 1)


def test_late_keys_are_enough_to_intervene_late(model, prompts, clean, target):
    short = th.run(model, prompts, "all", caches=target.first_layer)
    assert all(k.shape[1] == 0 for k in short.keys[: target.first_layer])
    expected = th.rerun_last(model, clean, target.zero()).resid
    torch.testing.assert_close(th.rerun_last(model, short, target.zero()).resid, expected)


def test_late_caches_are_the_late_part_of_all(model, prompts):
    short, full = th.run(model, prompts, caches=2), th.run(model, prompts)
    for name in ("resid", "q", "z", "pattern"):
        torch.testing.assert_close(getattr(short, name), getattr(full, name))
    for name in ("keys", "values"):
        assert all(x.shape[1] == 0 for x in getattr(short, name)[:2])
        torch.testing.assert_close(getattr(short, name)[2:], getattr(full, name)[2:])
    with pytest.raises(ValueError, match="caches must be"):
        th.run(model, prompts, caches=len(full.keys) + 1)


def test_grid_has_all_corners_and_every_point_once():
    points = traversal.grid(2.0, 3, 5)
    assert points.shape == (125, 3) and len(points.unique(dim=0)) == 125
    assert points.abs().max() == 2.0 and (points.abs() == 2.0).all(1).sum() == 8
    assert traversal.grid(1.0, 1, 3).tolist() == [[-1.0], [0.0], [1.0]]
    for bad in ((0.0, 1, 3), (1.0, 0, 3), (1.0, 1, 1)):
        with pytest.raises(ValueError, match="must be"):
            traversal.grid(*bad)


def test_traverse_is_one_full_run_under_hooks_per_point(model, prompts, clean, target, spots):
    points, heads = torch.tensor([[0.0, 0.0], [3.0, -2.0]]), [(2, 0), (3, 1)]
    seen = th.traverse(model, clean, target, points, heads, spots)
    assert seen.shape == (2, 2, len(prompts), 2)
    for point, got in zip(points, seen, strict=True):
        whole = th.run(model, prompts, hooks=target.set(point, at=prompts.end))
        for (layer, head), rows in zip(heads, got, strict=True):
            expected = whole.at(whole.pattern, axis=3)[layer, :, head].gather(1, spots)
            torch.testing.assert_close(rows, expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(traversal.looks(whole, heads, spots), got.mean(0), rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="after the channel's first"):
        th.traverse(model, clean, target, points, [(1, 0)], spots)


def test_search_finds_settings_at_least_as_good_as_any_it_could_have_tried(model, prompts, clean, target):
    ids = torch.stack([prompts.answer, prompts.distractor], 1)
    index = torch.arange(len(prompts)) % 2

    def search(*rounds):
        return th.best_settings(model, clean, target, ids, index, 5.0, n_points=16, rounds=rounds)

    def score(values):
        out = traversal.answers(model, clean, target, values, ids)
        right = (out.argmax(-1) == index) + 0.1 * out.log_softmax(-1).gather(1, index[:, None])[:, 0]
        return torch.stack([right[index == i].mean() for i in (0, 1)])

    coarse, fine = search(), search(4)
    assert coarse.shape == (2, 2) and fine.abs().max() <= 5.0
    assert (score(coarse[index]) >= score(coarse[1 - index])).all(), "the settings must belong to their indices"
    assert (score(fine[index]) >= score(coarse[index])).all(), "a further round can only gain"
    assert torch.equal(fine, search(4))


def test_every_index_needs_a_prompt(model, prompts, clean, target):
    ids = torch.stack([prompts.answer, prompts.distractor], 1)
    with pytest.raises(ValueError, match=r"none for \[1\]"):
        th.best_settings(model, clean, target, ids, torch.zeros(len(prompts), dtype=torch.long), 5.0)


@pytest.mark.parametrize("change, match", [
    (dict(points=torch.zeros(0, 2)), "points must be"),
    (dict(points=torch.zeros(2)), r"components=2\], got float32 \[2\]"),
    (dict(points=np.full((1, 2), np.nan)), "NaN"),
    (dict(heads=[(2, 9)]), "no head 2.9"),
    (dict(heads=[]), "got none"),
    (dict(spots=lambda x: x - 100), "positions must lie between 0"),
    (dict(spots=lambda x: x + 100), "positions must lie between 0"),
    (dict(spots=lambda x: x.float()), "integers"),
    (dict(spots=lambda x: x[:2]), r"\[batch=10, items\]"),
])  # fmt: skip
def test_what_cannot_be_traversed_is_refused(model, clean, target, spots, refuses, change, match):
    given = {"points": torch.zeros(1, 2), "heads": [(2, 0)], "spots": lambda x: x} | change
    with refuses(match):
        th.traverse(model, clean, target, given["points"], given["heads"], given["spots"](spots))


def test_numpy_points_are_taken(model, clean, target, spots):
    points = torch.tensor([[1.0, -2.0]])
    expected = th.traverse(model, clean, target, points, [(3, 1)], spots)
    assert torch.equal(th.traverse(model, clean, target, points.numpy(), [(3, 1)], spots), expected)


def test_missing_keys_are_named(model, prompts, target, refuses):
    with refuses(r"see stop= and run\(caches=\)"):
        th.rerun_last(model, th.run(model, prompts, caches=2), target.zero())


@pytest.mark.parametrize("index, limit, n_points, match", [
    ([0, 1, 2] * 3 + [0], 5.0, 4, "index must lie between 0 and 1"),
    ([0, 1, -1] * 3 + [0], 5.0, 4, "index must lie between 0 and 1"),
    ([0, 1], 5.0, 4, "batch=10"),
    ([0, 1] * 5, -5.0, 4, "limit must be"),
    ([0, 1] * 5, 5.0, 0, "n_points must be"),
])  # fmt: skip
def test_what_cannot_be_searched_is_refused(model, prompts, clean, target, refuses, index, limit, n_points, match):
    ids = torch.stack([prompts.answer, prompts.distractor], 1)
    with refuses(match):
        th.best_settings(model, clean, target, ids, torch.tensor(index), limit, n_points)
