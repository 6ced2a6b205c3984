"""Singular value decompositions of every head's OV and QK circuit, exactly and without a d_model × d_model matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .._guards import numbers
from ..classes import check_classes
from .heads import HeadWeights


@dataclass(frozen=True)
class Decomposition:
    """Rank-1 components of one circuit of every head: `W = Σ_k singular_values[k] · read[k]ᵀ write[k]`.

    `read`, `write`: [layers, heads, components, d_model], orthonormal rows; `singular_values`: [layers, heads,
    components], decreasing. For the OV circuit a head *reads* a source token through `read` and *writes* `write`.
    For the QK circuit `read` is the query side and `write` the key side of the bilinear form.

    A singular pair is defined up to a common sign. Here the entry of `write` with the largest absolute value is
    positive; the sign carries no meaning and may differ between checkpoints.
    """

    read: Float[Tensor, "layers heads components d_model"]
    singular_values: Float[Tensor, "layers heads components"]
    write: Float[Tensor, "layers heads components d_model"]

    @property
    def energy(self) -> Float[Tensor, "layers heads components"]:
        """Share of ‖W‖_F² in each component, p_k = σ_k² / Σσ²; zero for a head whose weights are all zero."""
        squared = self.singular_values.square()
        return squared / squared.sum(-1, keepdim=True).clamp_min(torch.finfo(squared.dtype).tiny)


def decompose_product(
    left: Float[Tensor, "*heads d_in rank"], right: Float[Tensor, "*heads rank d_out"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Thin SVD of `left @ right` for all heads at once.

    Returns (read `[..., k, d_in]`, singular values `[..., k]`, write `[..., k, d_out]`).

    With `left = Q₁R₁` and `rightᵀ = Q₂R₂` the product is `Q₁ (R₁R₂ᵀ) Q₂ᵀ`, so only the rank × rank core needs an SVD.
    Exact to float error. Raises `ValueError` when the shapes do not multiply.
    """
    left = numbers("left", left)
    right = numbers("right", right, like=left)
    if min(left.ndim, right.ndim) < 2 or left.shape[-1] != right.shape[-2] or left.shape[:-2] != right.shape[:-2]:
        raise ValueError(f"cannot multiply factors of shapes {tuple(left.shape)} and {tuple(right.shape)}")
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.mT)
    u, singular_values, vh = torch.linalg.svd(r_left @ r_right.mT)
    read, write = (q_left @ u).mT, vh @ q_right.mT
    largest = write.gather(-1, write.abs().argmax(-1, keepdim=True))
    sign = torch.where(largest < 0, -1.0, 1.0).to(write)
    return (read * sign).contiguous(), singular_values, (write * sign).contiguous()


def check_ov(weights: HeadWeights, ov: Decomposition) -> None:
    """`ValueError` for a decomposition of other weights."""
    if ov.write.shape[:2] != weights.W_Q.shape[:2] or ov.write.shape[-1] != weights.d_model:
        raise ValueError(
            f"ov has write directions {tuple(ov.write.shape)}, the weights are {tuple(weights.W_Q.shape)}: "
            "pass decompose_ov(weights) of the same model"
        )


def decompose_ov(weights: HeadWeights) -> Decomposition:
    """SVD of `W_OV = W_V W_O` of every head: what it reads from a source token and what it writes."""
    return Decomposition(*decompose_product(weights.W_V, weights.W_O))


def decompose_qk(weights: HeadWeights) -> Decomposition:
    """SVD of `W_QK = W_Q W_Kᵀ` of every head; `read` is the query side, `write` the key side.

    Rotary embeddings are left out (offset 0); see `composition.rotated_queries` for other offsets.
    """
    return Decomposition(*decompose_product(weights.W_Q, weights.W_K.mT))


check_classes(globals())
