"""Singular value decompositions of every head's circuits, exactly and without a d_model × d_model matrix."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .._guards import numbers


@dataclass(frozen=True)
class Decomposition:
    """Rank-1 components of one circuit of every head: `W = Σ_k singular_values[k] · read[k]ᵀ write[k]`.

    `read`, `write`: [layers, heads, components, d_model], orthonormal rows; `singular_values`: [layers, heads,
    components], decreasing. For the OV circuit a head *reads* a source token through `read` and *writes* `write`.
    For the QK circuit `read` is the query side and `write` the key side of the bilinear form.

    A singular pair is defined up to a common sign. Here the entry of `write` with the largest absolute value is
    positive; the sign carries no meaning and may differ between checkpoints.
    """

    read: Float[Tensor, "*heads components d_in"]
    singular_values: Float[Tensor, "*heads components"]
    write: Float[Tensor, "*heads components d_out"]

    @property
    def energy(self) -> Float[Tensor, "*heads components"]:
        """Share of ‖W‖_F² in each component, p_k = σ_k² / Σσ²; zero for a head whose weights are all zero."""
        squared = self.singular_values.square()
        return squared / squared.sum(-1, keepdim=True).clamp_min(torch.finfo(squared.dtype).tiny)

    @property
    def gaps(self) -> Float[Tensor, "*heads components"]:
        """Distance of each singular value to its nearest neighbour, as a share of the head's largest one.

        It says how well a component is determined: noise of relative size ε in the weights turns it by about ε/gap
        towards its neighbour. Components with a gap of zero are an arbitrary basis of what they span.
        """
        largest = self.singular_values[..., :1].clamp_min(torch.finfo(self.singular_values.dtype).tiny)
        steps = -self.singular_values.diff(dim=-1) / largest
        far = torch.full_like(largest, torch.inf)
        return torch.minimum(torch.cat([far, steps], -1), torch.cat([steps, far], -1))


def decompose_product(
    left: Float[Tensor, "*heads d_in rank"], right: Float[Tensor, "*heads rank d_out"]
) -> Decomposition:
    """Decompose `left @ right` for all heads at once (thin SVD).

    With `left = Q₁R₁` and `rightᵀ = Q₂R₂` the product is `Q₁ (R₁R₂ᵀ) Q₂ᵀ`, so only the rank × rank core needs an SVD.
    Exact to float error, and checked: the components must give back the product on random vectors.
    Raises `RuntimeError` when the check fails.
    """
    left = numbers("left", left)
    right = numbers("right", right, like=left)
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.mT)
    u, singular_values, vh = torch.linalg.svd(r_left @ r_right.mT)
    read, write = (q_left @ u).mT, vh @ q_right.mT
    largest = write.gather(-1, write.abs().argmax(-1, keepdim=True))
    sign = torch.where(largest < 0, -1.0, 1.0).to(write)
    found = Decomposition((read * sign).contiguous(), singular_values, (write * sign).contiguous())
    _check_rebuilt(left, right, found)
    return found


def _check_rebuilt(left: Tensor, right: Tensor, found: Decomposition) -> None:
    """Raise unless the components multiply back and `write`, whose length scores rely on, has orthonormal rows."""
    tolerance = 1e3 * torch.finfo(left.dtype).eps * left.shape[-1] ** 0.5
    probe = torch.randn(4, left.shape[-2], generator=torch.Generator().manual_seed(0)).to(left)
    product = probe @ left @ right
    rebuilt = (probe @ found.read.mT * found.singular_values[..., None, :]) @ found.write
    scale = probe.norm() * found.singular_values[..., :1, None].clamp_min(torch.finfo(left.dtype).tiny)
    wrong = float(((rebuilt - product) / scale).abs().max())
    gram = found.write @ found.write.mT
    skew = float((gram - torch.eye(gram.shape[-1]).to(gram)).abs().max())
    if not max(wrong, skew) < tolerance:  # a NaN fails too
        off = f"off by {max(wrong, skew):.1e}, expected below {tolerance:.1e}"
        raise RuntimeError(f"the SVD is wrong on {left.device} in {left.dtype}: {off}. Use .to('cpu') or float64")
