"""Singular value decompositions, against dense SVDs in float64; and what happens when an SVD is wrong or not unique."""

import pytest
import reference
import torch

import th_utils as th
from th_utils.weights.svd import Decomposition, decompose_product

WEIGHTS = reference.random_weights(layers=2, heads=3, d_model=20, d_head=6)


def whole(parts: Decomposition) -> torch.Tensor:
    """Σ_k σ_k · read_kᵀ write_k for every head."""
    return torch.einsum("...k,...ki,...ko->...io", parts.singular_values, parts.read, parts.write)


def orthogonal(n: int, seed: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).Q


@pytest.mark.parametrize("parts, kind", [(WEIGHTS.ov, "OV"), (WEIGHTS.qk, "Q")])
def test_agrees_with_the_dense_svd(parts, kind):
    for head in WEIGHTS.heads:
        matrix = reference.dense(WEIGHTS, head, kind)
        u, s, vh = torch.linalg.svd(matrix)
        torch.testing.assert_close(parts.singular_values[head], s[:6])
        torch.testing.assert_close(whole(parts)[head], matrix)
        cosines = (parts.write[head] * vh[:6]).sum(-1), (parts.read[head] * u.T[:6]).sum(-1)
        torch.testing.assert_close(cosines[0].abs(), torch.ones(6, dtype=torch.float64))
        torch.testing.assert_close(*cosines)  # read and write carry the same sign


def test_read_and_write_are_orthonormal_values_decrease_and_signs_are_fixed(weights):
    for parts in (weights.ov, weights.qk):
        eye = torch.eye(weights.d_head).expand(weights.n_layers, weights.n_heads, -1, -1)
        torch.testing.assert_close(parts.read @ parts.read.mT, eye, rtol=0, atol=1e-5)
        torch.testing.assert_close(parts.write @ parts.write.mT, eye, rtol=0, atol=1e-5)
        assert (parts.singular_values.diff(dim=-1) <= 0).all() and (parts.singular_values >= 0).all()
        assert (parts.write.gather(-1, parts.write.abs().argmax(-1, keepdim=True)) > 0).all()


def test_pieces_sum_to_the_models_circuits(weights):
    torch.testing.assert_close(whole(weights.ov), weights.W_V @ weights.W_O, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(whole(weights.qk), weights.W_Q @ weights.W_K.mT, rtol=1e-4, atol=1e-4)


def test_energy_is_the_share_of_the_squared_norm():
    total = torch.linalg.matrix_norm(WEIGHTS.W_V @ WEIGHTS.W_O).square()
    torch.testing.assert_close(WEIGHTS.ov.energy.sum(-1), torch.ones(2, 3, dtype=torch.float64))
    torch.testing.assert_close(WEIGHTS.ov.energy * total[..., None], WEIGHTS.ov.singular_values.square())


def test_zero_and_low_rank_weights_stay_finite():
    W_V = WEIGHTS.W_V.clone()
    W_V[0, 0] = 0
    W_V[0, 1, :, 2:] = 0  # rank 2
    parts = decompose_product(W_V, WEIGHTS.W_O)
    assert (parts.energy[0, 0] == 0).all() and torch.isfinite(parts.gaps).all()
    assert (parts.singular_values[0, 1, 2:] < 1e-12).all() and (parts.singular_values[0, 1, :2] > 0.1).all()
    torch.testing.assert_close(parts.write[0, 1] @ parts.write[0, 1].T, torch.eye(6, dtype=torch.float64))


# --- an SVD that is wrong, as a faulty library or device gives it ---


@pytest.mark.parametrize("function, spoil", [
    ("svd", lambda u, s, vh: (u, s * 1.01, vh)),
    ("svd", lambda u, s, vh: (u, s, vh * 1.01)),
    ("svd", lambda u, s, vh: (u.roll(1, -1), s, vh)),
    ("svd", lambda u, s, vh: (u, s * float("nan"), vh)),
    ("qr", lambda q, r: (q * 1.01, r)),
    ("qr", lambda q, r: (q + 1e-2 * torch.randn(q.shape, generator=torch.Generator().manual_seed(0)), r)),
])  # fmt: skip
def test_a_wrong_decomposition_is_found_out(monkeypatch, function, spoil):
    right = getattr(torch.linalg, function)
    monkeypatch.setattr(torch.linalg, function, lambda *given, **how: spoil(*right(*given, **how)))
    with pytest.raises(RuntimeError, match="SVD is wrong.*float64"):
        decompose_product(WEIGHTS.W_V.float(), WEIGHTS.W_O.float())


# --- singular values that (nearly) coincide ---


def with_values(values) -> th.HeadWeights:
    """One head whose W_OV has these singular values; the other weights are random."""
    weights = reference.random_weights(layers=1, heads=1, d_model=12, d_head=len(values))
    weights.W_V[0, 0] = orthogonal(12, 1)[:, : len(values)]
    weights.W_O[0, 0] = torch.tensor(values, dtype=torch.float64)[:, None] * orthogonal(12, 2)[: len(values)]
    return weights


def test_gaps_are_distances_to_the_nearest_singular_value():
    expected = torch.tensor([0.5, 0.25, 0.025, 0.025], dtype=torch.float64)
    torch.testing.assert_close(with_values([4.0, 2.0, 1.0, 0.9]).ov.gaps[0, 0], expected)


def test_a_channel_of_a_component_that_is_not_determined_warns(recwarn):
    degenerate = with_values([3.0, 2.0, 2.0, 1.0])
    assert (degenerate.ov.gaps[0, 0] < 1e-12).tolist() == [False, True, True, False]
    th.channel(degenerate, [(0, 0, 0), (0, 0, 3)])
    assert not recwarn.list
    with pytest.warns(UserWarning, match="component 0.0.1 has a singular value within"):
        th.channel(degenerate, [(0, 0, 1)])


@pytest.mark.parametrize("gap", [1e-4, 1e-2, 0.5])
def test_noise_turns_a_component_by_the_size_of_the_noise_over_its_gap(gap):
    """By the root mean square of its sine over 50 draws; `Decomposition.gaps` is what predicts it."""
    noise, weights = 1e-6, with_values([1.0, 1.0 - gap, 0.1])
    drawn = torch.randn(50, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rotated = torch.linalg.svd(weights.W_V[0, 0] @ weights.W_O[0, 0] + noise * drawn).Vh[:, 0]
    before = weights.ov.write[0, 0, 0]
    sine = (rotated - (rotated @ before)[:, None] * before).norm(dim=-1).square().mean().sqrt()
    predicted = noise / weights.ov.gaps[0, 0, 0]
    assert predicted / 4 < sine < 4 * predicted
