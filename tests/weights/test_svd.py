"""Singular value decompositions, against dense SVDs in float64."""

import pytest
import reference
import torch

import th_utils as th

WEIGHTS = reference.random_weights(layers=2, heads=3, d_model=20, d_head=6)


def whole(parts: th.Decomposition) -> torch.Tensor:
    """Σ_k σ_k · read_kᵀ write_k for every head."""
    return torch.einsum("lhk,lhki,lhko->lhio", parts.singular_values, parts.read, parts.write)


@pytest.mark.parametrize("circuit, mode", [(th.decompose_ov, "OV"), (th.decompose_qk, "Q")])
def test_agrees_with_the_dense_svd(circuit, mode):
    parts = circuit(WEIGHTS)
    for head in WEIGHTS.heads:
        matrix = reference.dense(WEIGHTS, head, mode)
        u, s, vh = torch.linalg.svd(matrix)
        torch.testing.assert_close(parts.singular_values[head], s[:6])
        torch.testing.assert_close(whole(parts)[head], matrix)
        cosines = (parts.write[head] * vh[:6]).sum(-1), (parts.read[head] * u.T[:6]).sum(-1)
        torch.testing.assert_close(cosines[0].abs(), torch.ones(6, dtype=torch.float64))
        torch.testing.assert_close(*cosines)  # read and write carry the same sign


def test_read_and_write_are_orthonormal_and_values_decrease(weights):
    for parts in (th.decompose_ov(weights), th.decompose_qk(weights)):
        eye = torch.eye(weights.d_head).expand(weights.n_layers, weights.n_heads, -1, -1)
        torch.testing.assert_close(parts.read @ parts.read.mT, eye, rtol=0, atol=1e-5)
        torch.testing.assert_close(parts.write @ parts.write.mT, eye, rtol=0, atol=1e-5)
        assert (parts.singular_values.diff(dim=-1) <= 0).all() and (parts.singular_values >= 0).all()


def test_pieces_sum_to_the_models_circuits(weights):
    torch.testing.assert_close(whole(th.decompose_ov(weights)), weights.W_V @ weights.W_O, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(whole(th.decompose_qk(weights)), weights.W_Q @ weights.W_K.mT, rtol=1e-4, atol=1e-4)


def test_the_largest_entry_of_each_write_direction_is_positive(weights):
    for parts in (th.decompose_ov(weights), th.decompose_qk(weights)):
        largest = parts.write.gather(-1, parts.write.abs().argmax(-1, keepdim=True))
        assert (largest > 0).all()


def test_does_not_depend_on_the_basis_of_the_head_space():
    """W_V M and M⁻¹ W_O are the same head for any invertible M: components are facts about the circuit."""
    mix = torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    first = th.decompose_product(WEIGHTS.W_V, WEIGHTS.W_O)
    second = th.decompose_product(WEIGHTS.W_V @ mix, torch.linalg.solve(mix, WEIGHTS.W_O))
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other)


def test_energy_is_the_share_of_the_squared_norm():
    parts = th.decompose_ov(WEIGHTS)
    torch.testing.assert_close(parts.energy.sum(-1), torch.ones(2, 3, dtype=torch.float64))
    total = torch.linalg.matrix_norm(WEIGHTS.W_V @ WEIGHTS.W_O).square()
    torch.testing.assert_close(parts.energy * total[..., None], parts.singular_values.square())


def test_zero_and_low_rank_weights_stay_finite():
    W_V, W_O = WEIGHTS.W_V.clone(), WEIGHTS.W_O.clone()
    W_V[0, 0] = 0
    W_V[0, 1, :, 2:] = 0  # rank 2
    read, values, write = th.decompose_product(W_V, W_O)
    assert all(torch.isfinite(part).all() for part in (read, values, write))
    parts = th.Decomposition(read, values, write)
    assert (parts.energy[0, 0] == 0).all()
    assert (values[0, 1, 2:] < 1e-12).all() and (values[0, 1, :2] > 0.1).all()
    eye = torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(write[0, 1] @ write[0, 1].T, eye)


def test_factors_that_do_not_multiply_are_refused(refuses):
    with refuses("cannot multiply"):
        th.decompose_product(torch.zeros(5, 3), torch.zeros(4, 5))
    with refuses("cannot multiply"):
        th.decompose_product(torch.zeros(2, 5, 3), torch.zeros(3, 5))
