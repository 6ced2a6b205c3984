"""Composition scores: how much of what an earlier head writes a later head can read, from the weights alone.

For a writer with circuit `A` and a reader with circuit `B` the score is ‖A B‖_F / (‖A‖_F ‖B‖_F) (Elhage et al. 2021).
`A = W_OV` of the writer; `B` is the reader's `W_QK` (mode "Q"), `W_QKᵀ` (mode "K") or `W_OV` (mode "V").
For one rank-1 component of the writer the singular value cancels and the score is ‖v B‖ / ‖B‖_F with `v` the unit
vector the component writes (Merullo et al. 2024). Scores lie in [0, 1]; a random direction scores about 1/√d_model.

Rotary embeddings are left out (offset 0); `rotated_queries` gives the weights at another offset.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .._guards import refuse_autocast
from .heads import Head, HeadWeights
from .scores import Scores

Mode = Literal["Q", "K", "V"]


def reader_factors(weights: HeadWeights, mode: Mode) -> Float[Tensor, "layers heads d_model d_head"]:
    """Compute a thin `M` per head with ‖v B‖ = ‖v M‖ for every v, so that no d_model × d_model matrix is built.

    `B = L Rᵀ` and `R = Q T` (QR) give `v B = v L Tᵀ Qᵀ`; the orthonormal Q keeps norms, so `M = L Tᵀ`.
    Raises `ValueError` for a mode other than "Q", "K", "V".
    """
    refuse_autocast()
    if mode not in ("Q", "K", "V"):
        raise ValueError(f"mode must be 'Q', 'K' or 'V' (which input of the reader is read), got {mode!r}")
    left, right = {
        "Q": (weights.W_Q, weights.W_K),
        "K": (weights.W_K, weights.W_Q),
        "V": (weights.W_V, weights.W_O.mT),
    }[mode]
    return left @ torch.linalg.qr(right, mode="r").R.mT


def component_scores(weights: HeadWeights, mode: Mode, readers: Sequence[Head] | None = None) -> Scores:
    """Score every OV component of every head as a writer into every *later* head.

    `readers` are all heads by default. Cost: one product of all write directions with the readers of each layer,
    about 2·n_components·d_model·n_readers·d_head operations and a few 10 MB.
    Raises `ValueError` for an unknown mode or a head outside the model.
    """
    write = weights.ov.write  # first: what it needs on the way is free again before the factors are made
    readers, factors = _readers(weights, readers), reader_factors(weights, mode)
    layers, heads, components, d_model = write.shape
    values = write.new_full((layers, heads, components, len(readers)), float("nan"))
    for layer, columns in _by_layer(readers):
        block = _norms(write[:layer].reshape(-1, d_model), factors[layer, [readers[i][1] for i in columns]])
        values[:layer, ..., columns] = block.view(layer, heads, components, -1)
    return Scores(values, readers)


def head_scores(weights: HeadWeights, mode: Mode, readers: Sequence[Head] | None = None) -> Scores:
    """Score whole heads as writers, ‖W_OV B‖_F / (‖W_OV‖_F ‖B‖_F), into every *later* head.

    The same numbers as TransformerLens' `all_composition_scores`. As `head² = Σ_k p_k · component_k²` (p_k: share of
    energy in component k), a channel in one component drowns in it. Raises `ValueError` as `component_scores`.
    """
    readers, factors = _readers(weights, readers), reader_factors(weights, mode)
    # ‖W_V W_O M‖_F = ‖T W_O M‖_F with W_V = Q T: d_head rows per writer instead of d_model.
    rows = torch.linalg.qr(weights.W_V, mode="r").R @ weights.W_O
    total = torch.linalg.matrix_norm(rows).clamp_min(torch.finfo(rows.dtype).tiny)
    values = rows.new_full((weights.n_layers, weights.n_heads, len(readers)), float("nan"))
    for layer, columns in _by_layer(readers):
        block = _norms(rows[:layer].reshape(-1, weights.d_model), factors[layer, [readers[i][1] for i in columns]])
        energy = torch.linalg.vector_norm(block.view(layer, weights.n_heads, -1, len(columns)), dim=2)
        values[:layer, :, columns] = energy / total[:layer, :, None]
    return Scores(values, readers)


def _readers(weights: HeadWeights, readers: Sequence[Head] | None) -> tuple[Head, ...]:
    return tuple(map(weights.check_head, weights.heads if readers is None else readers))


def _by_layer(readers: Sequence[Head]) -> list[tuple[int, list[int]]]:
    """List (layer, columns of its readers) for every layer that has readers and writers before it."""
    layers = sorted({layer for layer, _ in readers} - {0})
    return [(layer, [i for i, (other, _) in enumerate(readers) if other == layer]) for layer in layers]


def _norms(vectors: Tensor, factors: Tensor) -> Tensor:
    """‖v M‖ / ‖M‖_F for rows v `[n, d]` and factors `[heads, d, k]`, as `[n, heads]`, by one matrix product."""
    heads, d_model, d_head = factors.shape
    product = vectors @ factors.permute(1, 0, 2).reshape(d_model, heads * d_head)
    scale = factors.square().sum((-1, -2)).sqrt().clamp_min(torch.finfo(factors.dtype).tiny)
    return torch.linalg.vector_norm(product.view(-1, heads, d_head), dim=-1) / scale


def random_band(weights: HeadWeights, mode: Mode, reader: Head, level: float = 0.999) -> tuple[float, float]:
    """Compute the range that holds the score of a random unit direction into `reader` with probability `level`.

    For a direction uniform on the sphere E[CS²] = 1/d and Var[CS²] = 2(d Σ_j p_j² − 1) / (d²(d+2)), with p_j the
    reader's energy shares (derived here); CS² is taken as normal, which it is for many dimensions.
    """
    d, factors = weights.d_model, reader_factors(weights, mode)[weights.check_head(reader)]
    p = torch.linalg.svdvals(factors).square()
    p = p / p.sum().clamp_min(torch.finfo(p.dtype).tiny)
    sd = float((2 * (d * p.square().sum() - 1) / (d**2 * (d + 2))).clamp_min(0).sqrt())
    reach = NormalDist().inv_cdf(0.5 + level / 2) * sd
    return max(1 / d - reach, 0.0) ** 0.5, (1 / d + reach) ** 0.5


def rotated_null(
    weights: HeadWeights, mode: Mode, writer: Head, reader: Head, n: int = 1000, seed: int = 0
) -> Float[Tensor, " n"]:
    """Score random unit directions *inside the writer's own write space* into one reader.

    Asks whether a component is special among the directions its head could have written, not only among all of
    d_model. `random_band` treats every direction alike; this null keeps the head's own anisotropy.
    """
    writer, reader = weights.check_head(writer), weights.check_head(reader)
    basis = weights.ov.write[writer]
    mixing = torch.randn(n, len(basis), generator=torch.Generator().manual_seed(seed)).to(basis)
    directions = torch.nn.functional.normalize(mixing, dim=-1) @ basis
    return _norms(directions, reader_factors(weights, mode)[reader][None])[:, 0]


def rotate(x: Float[Tensor, "*any d_head"], angles: tuple[Tensor, Tensor] | None) -> Tensor:
    """Turn the first `rotary_dim` dimensions of each head by angles given as (cos, sin); None leaves `x` as it is."""
    if angles is None:
        return x
    cos, sin = (angle.to(x.device) for angle in angles)
    n = cos.shape[-1]
    rotated, rest = x[..., :n], x[..., n:]
    half = torch.cat([-rotated[..., n // 2 :], rotated[..., : n // 2]], dim=-1)
    return torch.cat([rotated * cos + half * sin, rest], dim=-1)


def rotated_queries(weights: HeadWeights, cos: Tensor, sin: Tensor) -> HeadWeights:
    """Return weights whose `W_Q W_Kᵀ` includes the rotary matrix of one offset: a query `offset` after its key.

    `cos, sin`: the model's rotary angles `[rotary_dim]` at that offset. Scores with rotary embeddings depend on the
    offset Δ through `W_Q R_Δ W_Kᵀ`; the default everywhere is Δ = 0 (no rotation). V composition does not depend on it.
    The query biases are turned with the matrices.
    """
    rotated = replace(weights, **{name: rotate(getattr(weights, name), (cos, sin)) for name in ("W_Q", "b_Q")})
    rotated.__dict__["_ov"] = weights.__dict__.get("_ov", (None, None))  # the OV circuits stay, and so does their SVD
    return rotated
