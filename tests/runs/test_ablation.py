"""Keeping and knocking out heads: the extremes are known, and each prompt may have a circuit of its own."""

import pytest
import torch

from th_utils.runs import ablation as faithfulness


@pytest.fixture(scope="module")
def means(clean):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(clean.z.shape, generator=generator)


def test_all_heads_kept_is_the_clean_run(model, weights, prompts, clean, means):
    kept = faithfulness.keep_heads(model, prompts, means, weights.heads)
    torch.testing.assert_close(kept.at(kept.resid), clean.at(clean.resid), rtol=1e-3, atol=1e-4)


def test_no_head_kept_equals_all_knocked_out_and_writes_the_replacement(model, weights, prompts, means):
    none = faithfulness.keep_heads(model, prompts, means, [])
    out = faithfulness.knock_out(model, prompts, means, weights.heads)
    torch.testing.assert_close(none.resid, out.resid)
    rows = torch.arange(len(prompts))
    torch.testing.assert_close(none.z[:, :, 0], means[:, rows, prompts.end])


def test_kept_and_knocked_out_are_complements(model, weights, prompts, means):
    some = weights.heads[::3]
    rest = [head for head in weights.heads if head not in some]
    kept = faithfulness.keep_heads(model, prompts, means, some)
    out = faithfulness.knock_out(model, prompts, means, rest)
    torch.testing.assert_close(kept.resid, out.resid)


def test_a_mask_per_prompt_equals_one_run_per_circuit(model, weights, prompts, means):
    circuits = [weights.heads[i::4] for i in range(2)]
    shape = (weights.n_layers, weights.n_heads)
    mask = torch.stack([faithfulness.head_mask(circuits[i % 2], *shape) for i in range(len(prompts))])
    mixed = faithfulness.keep_heads(model, prompts, means, mask)
    for i, circuit in enumerate(circuits):
        alone = faithfulness.keep_heads(model, prompts, means, circuit)
        torch.testing.assert_close(mixed.resid[:, i::2], alone.resid[:, i::2], rtol=1e-4, atol=1e-5)


def test_a_random_circuit_has_the_same_heads_per_layer_and_follows_its_seed(weights):
    heads = [(1, 0), (1, 3), (2, 1), (3, 0), (3, 1), (3, 2)]
    drawn = [faithfulness.random_like(weights, heads, seed) for seed in range(8)]
    for circuit in drawn:
        assert sorted(layer for layer, _ in circuit) == sorted(layer for layer, _ in heads)
        assert len(set(circuit)) == len(circuit)
    assert drawn[0] == faithfulness.random_like(weights, heads, 0)
    assert any(circuit != drawn[0] for circuit in drawn)


def test_bad_input_is_named(model, weights, prompts, means, refuses):
    with refuses("replacement"):
        faithfulness.keep_heads(model, prompts, means[:, :-1], [])
    with refuses("mask must be"):
        faithfulness.keep_heads(model, prompts, means, torch.ones(3, 2, dtype=torch.bool))
    with refuses("no head"):
        faithfulness.random_like(weights, [(99, 0)])
