"""Traversal: settings reach the model as `Channel.set` does, and the search finds what was planted."""

import pytest
import torch

import th_utils as th


@pytest.fixture(scope="module")
def target(weights):
    return th.channel(weights, [(1, 2, 0), (1, 0, 1)])


@pytest.fixture(scope="module")
def spots(prompts):
    return torch.stack([prompts.positions["IO"], prompts.positions["S1"]], 1)


def test_traverse_is_one_full_run_under_hooks_per_point(model, prompts, clean, target, spots):
    points, heads = torch.tensor([[0.0, 0.0], [3.0, -2.0]]), [(2, 0), (3, 1)]
    seen = th.traverse(model, clean, target, points, heads, spots)
    assert seen.shape == (2, 2, len(prompts), 2)
    for point, got in zip(points, seen, strict=True):
        whole = th.run(model, prompts, hooks=target.set(point, at=prompts.end))
        for (layer, head), rows in zip(heads, got, strict=True):
            expected = whole.at().pattern[layer, head].gather(1, spots)
            torch.testing.assert_close(rows, expected, rtol=1e-3, atol=1e-4)
    assert torch.equal(th.traverse(model, clean, target, points.numpy(), heads, spots), seen)


def test_search_finds_settings_at_least_as_good_as_any_it_could_have_tried(model, prompts, clean, target):
    ids, index = torch.stack([prompts.answer, prompts.distractor], 1), torch.arange(len(prompts)) % 2

    def search(*rounds):
        return th.best_settings(model, clean, target, ids, index, 5.0, n_points=16, rounds=rounds)

    def score(values):
        out = th.logits(model, th.rerun_last(model, clean, target.set(values)), ids)
        right = (out.argmax(-1) == index) + 0.1 * out.log_softmax(-1).gather(1, index[:, None])[:, 0]
        return torch.stack([right[index == i].mean() for i in (0, 1)])

    coarse, fine = search(), search(4)
    assert coarse.shape == (2, 2) and fine.abs().max() <= 5.0
    assert (score(coarse[index]) >= score(coarse[1 - index])).all(), "the settings must belong to their indices"
    assert (score(fine[index]) >= score(coarse[index])).all(), "a further round can only gain"
    assert torch.equal(fine, search(4))
