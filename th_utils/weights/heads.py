"""The weights of all attention heads as plain tensors: the only input the weight-space chapters need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from operator import index

import torch
from jaxtyping import Float
from torch import Tensor

from ..classes import check_classes
from ..models import parts


@dataclass(frozen=True)
class HeadWeights:
    """Weights of every query head, row-vector convention (x W), one entry per `[layer, head]`.

    A head computes `z = A (x W_V + b_V)` and writes `z W_O`; its scores are `(x_i W_Q + b_Q)·(x_j W_K + b_K)/√d_head`.
    Key and value heads shared by a group of query heads are repeated, so that index `[layer, head]` is always a
    query head. Missing biases are zeros. With the norms folded in (the default of `load_model`), `x` is the
    residual stream divided by its scale.

    `W_Q, W_K, W_V`: [layers, heads, d_model, d_head]; `W_O`: [layers, heads, d_head, d_model];
    `b_Q, b_K, b_V`: [layers, heads, d_head].
    """

    W_Q: Float[Tensor, "layers heads d_model d_head"]
    W_K: Float[Tensor, "layers heads d_model d_head"]
    W_V: Float[Tensor, "layers heads d_model d_head"]
    W_O: Float[Tensor, "layers heads d_head d_model"]
    b_Q: Float[Tensor, "layers heads d_head"]
    b_K: Float[Tensor, "layers heads d_head"]
    b_V: Float[Tensor, "layers heads d_head"]

    def __post_init__(self):
        layers, heads, d_model, d_head = self.W_Q.shape
        reading, bias = (layers, heads, d_model, d_head), (layers, heads, d_head)
        expected = {"W_Q": reading, "W_K": reading, "W_V": reading, "W_O": (layers, heads, d_head, d_model)}
        for name, shape in (expected | dict.fromkeys(("b_Q", "b_K", "b_V"), bias)).items():
            given = getattr(self, name)
            if given.shape != shape:
                raise ValueError(f"{name} has shape {tuple(given.shape)}, expected {shape}")
            if given.dtype not in (torch.float32, torch.float64) or given.is_meta:
                raise ValueError(f"{name} must be float32 or float64, got {given.dtype} on {given.device}: see .to()")
            if not torch.isfinite(given).all():
                raise ValueError(f"{name} holds NaN or infinite values: the checkpoint is damaged or was not loaded")

    @property
    def n_layers(self) -> int:
        return self.W_Q.shape[0]

    @property
    def n_heads(self) -> int:
        return self.W_Q.shape[1]

    @property
    def d_model(self) -> int:
        return self.W_Q.shape[2]

    @property
    def d_head(self) -> int:
        return self.W_Q.shape[3]

    @cached_property
    def heads(self) -> list[tuple[int, int]]:
        """All (layer, head) pairs in order."""
        return [(layer, head) for layer in range(self.n_layers) for head in range(self.n_heads)]

    def check_head(self, head: tuple[int, int]) -> tuple[int, int]:
        """The head itself, or a `ValueError` that names the model's range."""
        return check_head(head, self.n_layers, self.n_heads)

    def to(self, *args, **kwargs) -> HeadWeights:
        """The same weights in another dtype or on another device."""
        return HeadWeights(**{name: getattr(self, name).to(*args, **kwargs) for name in self.__dataclass_fields__})


def check_head(head: tuple[int, int], n_layers: int, n_heads: int) -> tuple[int, int]:
    """A head inside the model, or a `ValueError`: negative indices are refused, they hide mistakes."""
    layer, number = _whole_parts(head, 2, "head must be a pair (layer, head)")
    if not (0 <= layer < n_layers and 0 <= number < n_heads):
        raise ValueError(f"no head {layer}.{number}: this model has layers 0-{n_layers - 1} and heads 0-{n_heads - 1}")
    return layer, number


def check_component(
    component: tuple[int, int, int], n_layers: int, n_heads: int, n_components: int
) -> tuple[int, int, int]:
    """A component inside the model, or a `ValueError`, as `check_head`."""
    layer, number, k = _whole_parts(component, 3, "components must be distinct (layer, head, component) triples")
    check_head((layer, number), n_layers, n_heads)
    if not 0 <= k < n_components:
        raise ValueError(f"no component {label((layer, number, k))}: heads have components 0-{n_components - 1}")
    return layer, number, k


def _whole_parts(given, n: int, wanted: str) -> tuple[int, ...]:
    try:
        parts = tuple(given)
        if len(parts) != n or any(isinstance(part, bool) for part in parts):
            raise TypeError
        return tuple(map(index, parts))  # no fraction and no text, which int() would make fit
    except TypeError:
        raise ValueError(f"{wanted} of integers, got {given!r}") from None


def label(part: tuple[int, ...]) -> str:
    """`(20, 0)` as "20.0", `(20, 0, 3)` as "20.0.3": layer.head or layer.head.component, counted from 0."""
    if any(isinstance(i, bool) or i != i or int(i) != i for i in part):  # i != i: NaN
        raise ValueError(f"a head or component is made of whole numbers, got {part!r}")
    return ".".join(str(int(i)) for i in part)


def head_weights(model) -> HeadWeights:
    """Copy the attention weights out of a `TransformerBridge` (see `HeadWeights` for shapes and conventions)."""
    n_layers, n_heads = parts.heads_shape(model)
    groups, device = parts.kv_groups(model), parts.device_of(model)
    stacked = {}
    for name in parts.MATRICES:
        layers = torch.stack([parts.head_matrix(model, layer, name).to(device) for layer in range(n_layers)])
        stacked[name] = layers.repeat_interleave(groups, dim=1) if name in ("W_K", "W_V") else layers
    for name in ("b_Q", "b_K", "b_V"):
        rows = [parts.head_bias(model, layer, name) for layer in range(n_layers)]
        if rows[0] is None:
            stacked[name] = torch.zeros(n_layers, n_heads, model.cfg.d_head).to(stacked["W_Q"])
        else:
            biases = torch.stack([row.to(device) for row in rows])
            stacked[name] = biases.repeat_interleave(n_heads // biases.shape[1], dim=1)
    return HeadWeights(**stacked)


check_classes(globals())
