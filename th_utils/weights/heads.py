"""The weights of all attention heads as plain tensors: the only input of the weight-space chapters."""

from dataclasses import dataclass, fields
from functools import cached_property
from operator import index

import torch
from jaxtyping import Float
from torch import Tensor

from .._guards import version
from .svd import Decomposition, decompose_product

Head = tuple[int, int]
Component = tuple[int, int, int]


@dataclass(frozen=True)
class HeadWeights:
    """Weights of every query head, row-vector convention (x W), one entry per `[layer, head]`.

    A head computes `z = A (x W_V + b_V)` and writes `z W_O`; its scores are `(x_i W_Q + b_Q)·(x_j W_K + b_K)/√d_head`.
    Key and value heads shared by a group of query heads are repeated, so that index `[layer, head]` is always a
    query head. Missing biases are zeros. With the norms folded in (the default of `load_model`), `x` is the
    residual stream divided by its scale.

    `W_Q, W_K, W_V`: [layers, heads, d_model, d_head]; `W_O`: [layers, heads, d_head, d_model];
    `b_Q, b_K, b_V`: [layers, heads, d_head]. Where a model has norms on queries, keys or attention's output, or a
    multiplier there, the gains are in W_Q, W_K and W_O, and kept as `gain_Q, gain_K` [layers, heads, d_head] and
    `gain_O` [layers, d_model]: the product, and what is written, are then right up to one scale a position.
    `fingerprint`: of the model they were copied from, None for weights made
    by hand. Raises `ValueError` for shapes that do not belong together, half precision, NaN or infinite values.
    """

    W_Q: Float[Tensor, "layers heads d_model d_head"]
    W_K: Float[Tensor, "layers heads d_model d_head"]
    W_V: Float[Tensor, "layers heads d_model d_head"]
    W_O: Float[Tensor, "layers heads d_head d_model"]
    b_Q: Float[Tensor, "layers heads d_head"]
    b_K: Float[Tensor, "layers heads d_head"]
    b_V: Float[Tensor, "layers heads d_head"]
    gain_Q: Float[Tensor, "layers heads d_head"] | None = None
    gain_K: Float[Tensor, "layers heads d_head"] | None = None
    gain_O: Float[Tensor, "layers d_model"] | None = None
    fingerprint: str | None = None

    def __post_init__(self):
        layers, heads, d_model, d_head = self.W_Q.shape
        reading, bias = (layers, heads, d_model, d_head), (layers, heads, d_head)
        shapes = {"W_Q": reading, "W_K": reading, "W_V": reading, "W_O": (layers, heads, d_head, d_model)}
        for name, shape in (shapes | {"b_Q": bias, "b_K": bias, "b_V": bias}).items():
            given = getattr(self, name)
            if given.shape != shape:
                raise ValueError(f"{name} has shape {tuple(given.shape)}, expected {shape}")
            if given.dtype not in (torch.float32, torch.float64):
                raise ValueError(f"{name} must be float32 or float64, got {given.dtype}: use .float()")
            if not torch.isfinite(given).all():
                raise ValueError(f"{name} holds NaN or infinite values: the checkpoint is damaged or was not loaded")

    n_layers = property(lambda self: self.W_Q.shape[0])
    n_heads = property(lambda self: self.W_Q.shape[1])
    d_model = property(lambda self: self.W_Q.shape[2])
    d_head = property(lambda self: self.W_Q.shape[3])

    @cached_property
    def heads(self) -> list[Head]:
        """All (layer, head) pairs in order."""
        return [(layer, head) for layer in range(self.n_layers) for head in range(self.n_heads)]

    @property
    def ov(self) -> Decomposition:
        """SVD of `W_OV = W_V W_O` of every head: what it reads from a source token and what it writes."""
        return self._decomposed("_ov", self.W_V, self.W_O)

    @property
    def qk(self) -> Decomposition:
        """SVD of `W_QK = W_Q W_Kᵀ` of every head; `read` is the query side, `write` the key side.

        Rotary embeddings are left out (offset 0); see `composition.rotated_queries` for other offsets.
        """
        return self._decomposed("_qk", self.W_Q, self.W_K.mT)

    def own(self, name: str, head: Head) -> Tensor:
        """Return W_Q, W_K or W_O of one head as it is in the model, without the gain of a norm that follows."""
        gain = getattr(self, f"gain_{name[-1]}", None)
        if gain is None:
            return getattr(self, name)[head]
        return getattr(self, name)[head] / gain[head[: gain.ndim - 1]]

    def _decomposed(self, name: str, left: Tensor, right: Tensor) -> Decomposition:
        """Decompose a product once, and anew only when one of its factors was written to in place."""
        written, (before, found) = (version(left), version(right)), self.__dict__.get(name, (None, None))
        if before != written:
            found = decompose_product(left, right)
            self.__dict__[name] = written, found
        return found

    def check_head(self, head: Head) -> Head:
        """Return the head, or raise a `ValueError` that names the model's range."""
        return check_head(head, self.n_layers, self.n_heads)

    def to(self, *args, **kwargs) -> "HeadWeights":
        """Return the same weights in another dtype or on another device."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return HeadWeights(**{n: x.to(*args, **kwargs) if isinstance(x, Tensor) else x for n, x in given.items()})


def check_head(head: Head, n_layers: int, n_heads: int) -> Head:
    """Return a head inside the model, or raise `ValueError`: negative indices are refused, they hide mistakes."""
    try:
        layer, number = map(index, head)  # no fractions, which int() would make fit
    except (TypeError, ValueError):
        raise ValueError(f"head must be a pair (layer, head) of integers, got {head!r}") from None
    if not (0 <= layer < n_layers and 0 <= number < n_heads):
        raise ValueError(f"no head {layer}.{number}: this model has layers 0-{n_layers - 1} and heads 0-{n_heads - 1}")
    return layer, number


def label(part: tuple[int, ...]) -> str:
    """Write a head or component as layer.head or layer.head.component, counted from 0: `(20, 0)` is "20.0"."""
    return ".".join(str(index(i)) for i in part)
