"""Keeping and knocking out heads: the extremes are known, and each prompt may have a circuit of its own."""

import pytest
import torch

import th_utils as th
from th_utils.runs.ablation import head_mask


@pytest.fixture(scope="module")
def noise(clean):
    return torch.randn(clean.z.shape, generator=torch.Generator().manual_seed(0))


def test_replacements_are_what_they_say(clean, new):
    assert torch.equal(th.ablated(clean, None, "zero"), torch.zeros_like(clean.z))
    assert torch.equal(th.ablated(clean, new), new.z)


def test_mean_ablation_is_the_mean_over_the_batch_or_its_group(model, prompts, corrupted):
    clean, new = (th.run(model, p) for p in (prompts, corrupted))
    everyone, grouped = (th.ablated(clean, new, "mean", groups) for groups in (None, prompts.table.order))
    torch.testing.assert_close(everyone, new.z.mean(1, keepdim=True).expand_as(new.z))
    for order in ("ABBA", "BABA"):
        members = torch.tensor((prompts.table.order == order).to_numpy().copy())
        mean = new.z[:, members].mean(1, keepdim=True)
        torch.testing.assert_close(grouped[:, members], mean.expand(-1, int(members.sum()), -1, -1, -1))
    assert not torch.allclose(grouped, everyone)


def test_a_mean_over_all_positions_needs_prompts_of_one_length(prompts, clean, new, refuses):
    """Position 12 of a short prompt is padding, which a mean over mixed lengths would use."""
    with refuses("needs prompts of one length: give groups="):
        th.ablated(clean, new, "mean")
    by_length = th.ablated(clean, new, "mean", prompts.end.tolist())
    for end in prompts.end.unique():
        members = prompts.end == end
        torch.testing.assert_close(by_length[:, members][:, 0], new.z[:, members].mean(1))


def test_all_heads_kept_is_the_clean_run(model, weights, prompts, clean, noise):
    kept = th.keep_heads(model, prompts, noise, weights.heads)
    assert not any(keys.shape[1] for keys in kept.keys)
    torch.testing.assert_close(kept.at().resid, clean.at().resid, rtol=1e-3, atol=1e-4)


def test_all_heads_but_the_kept_give_the_replacement(model, weights, prompts, noise):
    rows = torch.arange(len(prompts))
    for kept in (weights.heads[::3], []):
        one = th.keep_heads(model, prompts, noise, kept)
        for layer, head in set(weights.heads) - set(kept):
            torch.testing.assert_close(one.at().z[layer, head], noise[layer, rows, prompts.end, head])


def test_a_mask_per_prompt_equals_one_run_per_circuit(model, weights, prompts, noise):
    circuits = [weights.heads[i::4] for i in range(2)]
    mask = torch.stack([head_mask(circuits[i % 2], 4, 4) for i in range(len(prompts))])
    mixed = th.keep_heads(model, prompts, noise, mask)
    for i, circuit in enumerate(circuits):
        alone = th.keep_heads(model, prompts, noise, circuit)
        torch.testing.assert_close(mixed.resid[:, i::2], alone.resid[:, i::2], rtol=1e-4, atol=1e-5)


def test_a_random_circuit_has_the_same_heads_per_layer_and_follows_its_seed(weights):
    heads = [(1, 0), (1, 3), (2, 1), (3, 0), (3, 1), (3, 2)]
    drawn = [th.random_like(weights, heads, seed) for seed in range(8)]
    for circuit in drawn:
        assert sorted(layer for layer, _ in circuit) == [layer for layer, _ in heads]
        assert len(set(circuit)) == len(circuit)
    assert drawn[0] == th.random_like(weights, heads, 0) and any(circuit != drawn[0] for circuit in drawn)
