"""Composition scores: how much of what an earlier head writes a later head can read, from the weights alone.

For a writer with circuit `A` and a reader with circuit `B` the score is ‖A B‖_F / (‖A‖_F ‖B‖_F) (Elhage et al. 2021).
`A = W_OV` of the writer; `B` is the reader's `W_QK` (mode "Q"), `W_QKᵀ` (mode "K") or `W_OV` (mode "V").
For one rank-1 component of the writer the singular value cancels and the score is ‖v B‖ / ‖B‖_F with `v` the unit
vector the component writes (Merullo et al. 2024). Scores lie in [0, 1]; a random direction scores about 1/√d_model.

Rotary embeddings are left out (offset 0); `rotated_queries` gives the weights at another offset.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .._guards import numbers, whole
from ..classes import check_classes
from ..models import parts
from .heads import HeadWeights, check_component
from .svd import Decomposition, check_ov

Mode = Literal["Q", "K", "V"]
MODES = ("Q", "K", "V")


def reader_factors(weights: HeadWeights, mode: Mode) -> Float[Tensor, "layers heads d_model d_head"]:
    """A thin `M` per head with ‖v B‖ = ‖v M‖ for every v, so that no d_model × d_model matrix is built.

    `B = L Rᵀ` and `R = Q T` (QR) give `v B = v L Tᵀ Qᵀ`; the orthonormal Q keeps norms, so `M = L Tᵀ`.
    Raises `ValueError` for a mode other than "Q", "K", "V".
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES} (which input of the reader is read), got {mode!r}")
    left, right = {
        "Q": (weights.W_Q, weights.W_K),
        "K": (weights.W_K, weights.W_Q),
        "V": (weights.W_V, weights.W_O.mT),
    }[mode]
    return left @ torch.linalg.qr(right, mode="r").R.mT


def _norms(vectors: Tensor, factors: Tensor) -> Tensor:
    """‖v M‖ / ‖M‖_F for rows v `[n, d]` and factors `[heads, d, k]`, as `[n, heads]`, by one matrix product."""
    heads, d_model, d_head = factors.shape
    product = vectors @ factors.permute(1, 0, 2).reshape(d_model, heads * d_head)
    scale = factors.square().sum((-1, -2)).sqrt().clamp_min(torch.finfo(factors.dtype).tiny)
    return torch.linalg.vector_norm(product.view(-1, heads, d_head), dim=-1) / scale


def _by_layer(readers: list[tuple[int, int]]) -> list[tuple[int, list[int]]]:
    """(layer, numbers of its readers) of every layer that has readers and writers before it."""
    return [
        (layer, [i for i, (other, _) in enumerate(readers) if other == layer])
        for layer in sorted({layer for layer, _ in readers} - {0})
    ]


def component_scores(
    weights: HeadWeights, ov: Decomposition, mode: Mode, readers: list[tuple[int, int]] | None = None
) -> Float[Tensor, "layers heads components readers"]:
    """Composition of every component of every head into every *later* head.

    Returns `[writer layer, writer head, component, reader]`, NaN where the writer is not in an earlier layer. Readers
    are `readers`, by default all heads in order (`weights.heads`). Cost: one product of all write directions with
    the readers of each layer, about 2·n_components·d_model·n_readers·d_head operations and a few 10 MB.
    Raises `ValueError` for an unknown mode, a head outside the model, or an `ov` of other weights.
    """
    check_ov(weights, ov)
    factors = reader_factors(weights, mode)
    readers = weights.heads if readers is None else [weights.check_head(r) for r in readers]
    layers, heads, components, d_model = ov.write.shape
    scores = ov.write.new_full((layers, heads, components, len(readers)), float("nan"))
    for layer, columns in _by_layer(readers):
        block = _norms(ov.write[:layer].reshape(-1, d_model), factors[layer, [readers[i][1] for i in columns]])
        scores[:layer, ..., columns] = block.view(layer, heads, components, -1)
    return scores


def head_scores(
    weights: HeadWeights, mode: Mode, readers: list[tuple[int, int]] | None = None
) -> Float[Tensor, "layers heads readers"]:
    """Composition of whole heads, ‖W_OV B‖_F / (‖W_OV‖_F ‖B‖_F), NaN where the writer is not earlier.

    The same numbers as TransformerLens' `all_composition_scores`. By the identity
    `head² = Σ_k p_k · component_k²` (p_k: energy share of component k) it is an average over components, which is
    why a channel in one component drowns in it.
    """
    factors = reader_factors(weights, mode)
    readers = weights.heads if readers is None else [weights.check_head(r) for r in readers]
    # ‖W_V W_O M‖_F = ‖T W_O M‖_F with W_V = Q T: d_head rows per writer instead of d_model.
    rows = torch.linalg.qr(weights.W_V, mode="r").R @ weights.W_O
    total = torch.linalg.matrix_norm(rows).clamp_min(torch.finfo(rows.dtype).tiny)
    scores = rows.new_full((weights.n_layers, weights.n_heads, len(readers)), float("nan"))
    for layer, columns in _by_layer(readers):
        block = _norms(rows[:layer].reshape(-1, weights.d_model), factors[layer, [readers[i][1] for i in columns]])
        energy = torch.linalg.vector_norm(block.view(layer, weights.n_heads, -1, len(columns)), dim=2)
        scores[:layer, :, columns] = energy / total[:layer, :, None]
    return scores


def component_to_component(
    ov: Decomposition,
    reader: Decomposition,
    writer_component: tuple[int, int, int],
    side: Literal["read", "write"] = "read",
) -> Float[Tensor, "layers heads components"]:
    """Absolute cosine between what one component writes and every component of every reader (both sides decomposed).

    `side="read"` compares with the reader's left vectors (V composition, or the query side of a QK circuit),
    `side="write"` with its right vectors (the key side).
    """
    if side not in ("read", "write"):
        raise ValueError(f"side must be 'read' or 'write' (of the reader's components), got {side!r}")
    if ov.write.shape[-1] != reader.read.shape[-1]:
        raise ValueError(f"ov and reader are of two models: {list(ov.write.shape)} and {list(reader.read.shape)}")
    layer, head, component = check_component(writer_component, *ov.write.shape[:3])
    return (getattr(reader, side) @ ov.write[layer, head, component]).abs()


def random_baseline(weights: HeadWeights, mode: Mode) -> tuple[float, Float[Tensor, "layers heads"]]:
    """Mean and standard deviation of the squared score of a random unit direction (closed form).

    E[CS²] = 1/d and Var[CS²] = 2(d Σ_j p_j² − 1) / (d²(d+2)) with p_j the reader's energy shares; derived for a
    direction uniform on the sphere. Returns (1/d, sd per reader head).
    """
    d = weights.d_model
    factors = reader_factors(weights, mode)
    p = torch.linalg.svdvals(factors).square()
    p = p / p.sum(-1, keepdim=True).clamp_min(torch.finfo(p.dtype).tiny)
    variance = 2 * (d * p.square().sum(-1) - 1) / (d**2 * (d + 2))
    return 1 / d, variance.clamp_min(0).sqrt()


def rotated_null(
    weights: HeadWeights,
    ov: Decomposition,
    mode: Mode,
    writer: tuple[int, int],
    reader: tuple[int, int],
    n: int = 1000,
    seed: int = 0,
) -> Float[Tensor, " n"]:
    """Scores of random unit directions *inside the writer's own write space* into one reader.

    Asks whether a component is special among the directions its head could have written, not only among all of
    d_model. The closed form treats every direction alike; this null keeps the head's own anisotropy.
    """
    check_ov(weights, ov)
    writer, reader, n = weights.check_head(writer), weights.check_head(reader), whole("n", n)
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(n, ov.write.shape[2], generator=generator).to(ov.write)
    directions = torch.nn.functional.normalize(mixing, dim=-1) @ ov.write[writer]
    return _norms(directions, reader_factors(weights, mode)[reader][None])[:, 0]


def z_scores(scores: Float[Tensor, "layers heads components readers"]) -> Tensor:
    """(score − mean) / sd over all earlier components of the same reader: the empirical null, the one that matters.

    It contains the model's real anisotropy. NaN stays NaN; a reader with fewer than two finite scores gives NaN.
    """
    scores = numbers("scores", scores, nan=True)
    if scores.ndim < 2:
        raise ValueError(f"scores must be [layers, heads, components, readers], got {list(scores.shape)}")
    flat = scores.flatten(0, -2)
    mean = flat.nanmean(0)
    sd = (flat - mean).square().nanmean(0).sqrt()
    return (scores - mean) / torch.where(sd > 0, sd, torch.nan)


def rotated_queries(weights: HeadWeights, cos: Tensor, sin: Tensor) -> HeadWeights:
    """Weights whose `W_Q W_Kᵀ` includes the rotary matrix of one offset: the score of a query `offset` after its key.

    `cos, sin`: the model's rotary angles `[rotary_dim]` at that offset. Scores with rotary embeddings depend on the
    offset Δ through `W_Q R_Δ W_Kᵀ`; the default everywhere is Δ = 0 (no rotation). V composition does not depend on it.
    The query biases are turned with the matrices.
    """
    return replace(weights, **{name: parts.rotate(getattr(weights, name), (cos, sin)) for name in ("W_Q", "b_Q")})


check_classes(globals())
