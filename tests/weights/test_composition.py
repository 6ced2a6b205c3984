"""Composition scores, against dense matrices, TransformerLens, closed forms and planted channels."""

import math

import pytest
import reference
import torch

import th_utils as th
from th_utils.weights.composition import MODES, reader_factors

WEIGHTS = reference.random_weights(layers=3, heads=4, d_model=24, d_head=5)
OV = th.decompose_ov(WEIGHTS)


def ratio(a, b):
    return (a @ b).norm() / (a.norm() * b.norm())


@pytest.mark.parametrize("mode", MODES)
def test_head_scores_equal_the_dense_formula(mode):
    scores = th.head_scores(WEIGHTS, mode)
    for column, reader in enumerate(WEIGHTS.heads):
        for writer in WEIGHTS.heads:
            if writer[0] < reader[0]:
                dense = ratio(reference.dense(WEIGHTS, writer, "OV"), reference.dense(WEIGHTS, reader, mode))
                torch.testing.assert_close(scores[(*writer, column)], dense)


@pytest.mark.parametrize("mode", MODES)
def test_component_scores_equal_the_dense_formula(mode):
    scores = th.component_scores(WEIGHTS, OV, mode)
    for column, reader in enumerate(WEIGHTS.heads):
        matrix = reference.dense(WEIGHTS, reader, mode)
        for layer, head in th.earlier_heads(WEIGHTS, reader):
            for k in range(5):
                piece = OV.singular_values[layer, head, k] * torch.outer(
                    OV.read[layer, head, k], OV.write[layer, head, k]
                )
                torch.testing.assert_close(scores[layer, head, k, column], ratio(piece, matrix))


@pytest.mark.parametrize("mode", MODES)
def test_head_score_is_the_energy_weighted_mean_of_component_scores(weights, mode):
    ov = th.decompose_ov(weights)
    components, heads = th.component_scores(weights, ov, mode), th.head_scores(weights, mode)
    mean = (ov.energy[..., None] * components.square()).sum(2)
    torch.testing.assert_close(mean, heads.square(), rtol=1e-3, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("mode, circuit, side", [
    ("Q", th.decompose_qk, "read"), ("K", th.decompose_qk, "write"), ("V", th.decompose_ov, "read"),
])  # fmt: skip
def test_component_score_is_the_energy_weighted_mean_of_cosines(mode, circuit, side):
    reader = circuit(WEIGHTS)
    scores = th.component_scores(WEIGHTS, OV, mode)
    for part in [(0, 0, 0), (0, 3, 4), (1, 2, 1)]:
        cosines = th.component_to_component(OV, reader, part, side)
        expected = (reader.energy * cosines.square()).sum(-1).flatten().sqrt()
        later = [i for i, (layer, _) in enumerate(WEIGHTS.heads) if layer > part[0]]
        torch.testing.assert_close(scores[part][later], expected[later])


@pytest.mark.parametrize("mode", MODES)
def test_agrees_with_transformer_lens(model, weights, mode):
    theirs = model.all_composition_scores(mode).scores.flatten(2)
    ours = th.head_scores(weights, mode)
    torch.testing.assert_close(ours.nan_to_num(0.0), theirs, rtol=1e-3, atol=1e-5)
    assert torch.equal(ours.isnan(), theirs == 0)


@pytest.mark.parametrize("mode", MODES)
def test_only_earlier_layers_have_scores(mode):
    for scores in (th.head_scores(WEIGHTS, mode), th.component_scores(WEIGHTS, OV, mode)):
        for column, (reader_layer, _) in enumerate(WEIGHTS.heads):
            finite = torch.isfinite(scores[..., column])
            assert finite[:reader_layer].all() and not finite[reader_layer:].any()
        known = scores[torch.isfinite(scores)]
        assert (known >= 0).all() and (known <= 1).all()


def test_chosen_readers_are_columns_of_all_readers():
    readers = [(2, 1), (1, 3), (2, 0)]
    columns = [WEIGHTS.heads.index(reader) for reader in readers]
    for all_of_them, chosen in (
        (th.head_scores(WEIGHTS, "Q"), th.head_scores(WEIGHTS, "Q", readers)),
        (th.component_scores(WEIGHTS, OV, "Q"), th.component_scores(WEIGHTS, OV, "Q", readers)),
    ):
        torch.testing.assert_close(chosen, all_of_them[..., columns], equal_nan=True)


@pytest.mark.parametrize("mode", MODES)
def test_factors_keep_the_norm_of_every_direction(mode):
    vector = torch.randn(24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for head in WEIGHTS.heads:
        expected = (vector @ reference.dense(WEIGHTS, head, mode)).norm()
        torch.testing.assert_close((vector @ reader_factors(WEIGHTS, mode)[head]).norm(), expected)


def test_modes_read_different_sides():
    scores = [th.head_scores(WEIGHTS, mode)[0, 0, -1].item() for mode in MODES]
    assert len({round(score, 6) for score in scores}) == 3


def test_zero_readers_and_writers_score_zero():
    blank = reference.random_weights()
    for name in ("W_Q", "W_O"):
        getattr(blank, name)[:, 0] = 0
    assert th.head_scores(blank, "Q")[0, 1, 4] == 0  # reader 1.0 has no query
    assert th.head_scores(blank, "Q")[0, 0, 5] == 0  # writer 0.0 writes nothing


# --- nulls ---


def unit_vectors(n, d, seed=0):
    drawn = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn / drawn.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("mode", MODES)
def test_random_baseline_agrees_with_simulation(mode):
    mean, sd = th.random_baseline(WEIGHTS, mode)
    assert mean == 1 / 24
    directions = unit_vectors(40_000, 24)
    for head in [(1, 0), (2, 3)]:
        matrix = reference.dense(WEIGHTS, head, mode)
        squares = (directions @ matrix).square().sum(-1) / matrix.square().sum()
        assert squares.mean().item() == pytest.approx(mean, rel=0.02)
        assert squares.std().item() == pytest.approx(sd[head].item(), rel=0.03)


def test_random_weights_score_at_the_baseline():
    weights = reference.random_weights(layers=2, heads=8, d_model=128, d_head=16)
    scores = th.head_scores(weights, "Q")[0, :, 8:]
    assert scores.square().mean().sqrt().item() == pytest.approx(1 / math.sqrt(128), rel=0.05)


def test_rotated_null_stays_in_the_write_space():
    """E over directions uniform in the write space of CS² is the plain mean of the components' CS²."""
    null = th.rotated_null(WEIGHTS, OV, "Q", (0, 2), (2, 1), n=20_000)
    components = th.component_scores(WEIGHTS, OV, "Q", [(2, 1)])[0, 2, :, 0]
    assert null.square().mean().item() == pytest.approx(components.square().mean().item(), rel=0.02)
    assert torch.equal(null[:50], th.rotated_null(WEIGHTS, OV, "Q", (0, 2), (2, 1), n=20_000)[:50])
    assert not torch.equal(null, th.rotated_null(WEIGHTS, OV, "Q", (0, 2), (2, 1), n=20_000, seed=1))


def test_rotated_null_is_zero_for_a_reader_that_sees_none_of_the_write_space():
    weights = reference.random_weights(layers=2, heads=1, d_model=12, d_head=4)
    weights.W_O[0, ..., 4:] = 0  # the writer uses dimensions 0-3, the reader's query 4-11
    weights.W_Q[1, :, :4] = 0
    null = th.rotated_null(weights, th.decompose_ov(weights), "Q", (0, 0), (1, 0), n=50)
    assert null.max() < 1e-12


def test_z_scores_have_mean_zero_and_sd_one_per_reader():
    scores = th.component_scores(WEIGHTS, OV, "Q")
    z = th.z_scores(scores)
    assert torch.equal(z.isnan(), scores.isnan())
    for column in range(4, 12):
        known = z[..., column][~z[..., column].isnan()]
        assert known.mean().abs() < 1e-12
        assert known.std(correction=0).item() == pytest.approx(1)
        raw = scores[..., column]
        assert torch.equal(raw.nan_to_num(-1).flatten().argsort(), z[..., column].nan_to_num(-9).flatten().argsort())


# --- a channel that is there by construction ---


def planted(seed: int, share: float) -> th.HeadWeights:
    """Random heads, but component 5 of writer 0.3 writes exactly what reader 1.0's query sees best."""
    weights = reference.random_weights(layers=2, heads=8, d_model=256, d_head=16, seed=seed)
    target = torch.linalg.svd(reference.dense(weights, (1, 0), "Q")).U[:, 0]
    basis = torch.linalg.qr(torch.cat([target[:, None], weights.W_O[0, 3, :15].T], 1)).Q.T
    basis = basis[[*range(1, 6), 0, *range(6, 16)]]
    energy = torch.full((16,), 1.0, dtype=torch.float64)
    energy[:5], energy[6:] = torch.linspace(1.4, 1.2, 5), torch.linspace(0.009, 0.001, 10)
    energy[5] = 0.0
    energy[5] = share / (1 - share) * energy.sum()
    reading = torch.linalg.qr(weights.W_V[0, 3]).Q
    weights.W_V[0, 3], weights.W_O[0, 3] = reading, energy.sqrt()[:, None] * basis
    return weights


def test_component_scores_find_a_planted_channel_that_head_scores_miss():
    head_ranks = []
    for seed in range(10):
        weights = planted(seed, share=0.01)
        ov = th.decompose_ov(weights)
        assert ov.energy[0, 3, 5].item() == pytest.approx(0.01)
        components = th.component_scores(weights, ov, "Q", [(1, 0)])[0, ..., 0]
        assert divmod(components.argmax().item(), 16) == (3, 5)
        assert th.z_scores(components[None, ..., None])[0, 3, 5, 0] > 4
        assert components.flatten().sort().values[-2] < 0.75 * components[3, 5]
        heads = th.head_scores(weights, "Q", [(1, 0)])[0, :, 0]
        head_ranks.append((heads > heads[3]).sum().item())
    assert sum(rank == 0 for rank in head_ranks) <= 5, f"the head score should be blind to it: ranks {head_ranks}"


# --- rotary offsets ---


def test_offset_zero_is_the_weights_themselves(model, weights):
    n = weights.d_head
    same = th.rotated_queries(weights, torch.ones(n), torch.zeros(n))
    assert all(torch.equal(getattr(same, name), getattr(weights, name)) for name in weights.__dataclass_fields__)


@pytest.mark.parametrize("name", ["tiny-neox", "tiny-llama"])
@pytest.mark.parametrize("offset", [0, 1, 5])
def test_rotated_queries_give_the_models_scores_at_that_offset(tiny, name, offset):
    model = tiny(name)
    weights = th.head_weights(model)
    _, cache = model.run_with_cache(th.tasks.ioi.generate(model, 4).tokens)
    cos, sin = (a[0, 0] for a in reference.angles(model, torch.tensor([offset])))
    turned = th.rotated_queries(weights, cos, sin)
    for layer in (0, 2):
        x = reference.normalise(model, cache[f"blocks.{layer}.hook_resid_pre"])
        q = torch.einsum("bsd,hdk->bhsk", x, turned.W_Q[layer]) + turned.b_Q[layer][:, None]
        k = torch.einsum("bsd,hdk->bhsk", x, turned.W_K[layer]) + turned.b_K[layer][:, None]
        ours = (q @ k.mT).diagonal(-offset, -2, -1) / weights.d_head**0.5
        theirs = cache[f"blocks.{layer}.attn.hook_attn_scores"].diagonal(-offset, -2, -1)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_value_composition_does_not_depend_on_the_offset(tiny):
    model = tiny("tiny-llama")
    weights = th.head_weights(model)
    cos, sin = (a[0, 0] for a in reference.angles(model, torch.tensor([3])))
    turned = th.rotated_queries(weights, cos, sin)
    torch.testing.assert_close(th.head_scores(turned, "V"), th.head_scores(weights, "V"), equal_nan=True)
    assert not torch.allclose(th.head_scores(turned, "Q")[0, :, 4:], th.head_scores(weights, "Q")[0, :, 4:], rtol=1e-2)


# --- errors ---


def test_errors_name_what_was_given(refuses):
    with refuses("mode must be one of.*got 'X'"):
        th.head_scores(WEIGHTS, "X")
    with refuses("no head 9.0"):
        th.component_scores(WEIGHTS, OV, "Q", [(9, 0)])
    with refuses("decompose_ov"):
        th.component_scores(WEIGHTS, th.decompose_ov(reference.random_weights(layers=2)), "Q")
