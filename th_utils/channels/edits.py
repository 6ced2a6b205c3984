"""Weight edits: rank-1 and low-rank changes of attention matrices, undone bit for bit.

An edit is input-independent: `W ← W + A B` for one head's matrix, and possibly a constant added to a bias. Edits are
records; `edited` applies any number of them to a model for the length of a `with` block. All of them are computed
against the unedited weights and added up, so their order does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from .._guards import numbers, real
from ..classes import check_classes
from ..interrupts import uninterrupted
from ..models import parts
from ..weights.heads import HeadWeights, label
from .channel import Channel, check_channel


@dataclass(frozen=True)
class Edit:
    """`W ← W + left @ right` for `matrix` ("W_Q", "W_K", "W_V", "W_O") of one head.

    `bias` is added to the layer's b_O when the matrix is W_O, or to the head's b_Q when it is W_Q.
    """

    name: str
    head: tuple[int, int]
    matrix: str
    left: Float[Tensor, "rows rank"]
    right: Float[Tensor, "rank cols"]
    bias: Float[Tensor, " d_model_or_d_head"] | None = None


def scale_component(weights: HeadWeights, target: Channel, factor: float) -> list[Edit]:
    """`W_O ← W_O (I + (factor − 1) v vᵀ)` for every component of a channel: the weight form of `Channel.scale`.

    Acts at every position, where the hook can be limited to one.
    """
    factor = real("factor", factor)
    check_channel(weights, target)
    return [
        Edit(f"{name} ×{factor:g}", head, "W_O", (factor - 1) * (weights.W_O[head] @ v)[:, None], v[None])
        for name, head, v in zip(target.names, target.heads, target.directions, strict=True)
    ]


def zero_component(weights: HeadWeights, target: Channel) -> list[Edit]:
    """`W_O ← W_O (I − v vᵀ)`: removes each component from the weights, the weight form of `Channel.zero`."""
    return scale_component(weights, target, 0.0)


def set_component(weights: HeadWeights, target: Channel, value: float | Sequence[float]) -> list[Edit]:
    """Remove each component and write the constant `value·v` instead, through b_O: the weight form of `Channel.set`."""
    values = target._per_component(value, "value")
    return [
        Edit(f"{e.name} = {float(a):g}", e.head, e.matrix, e.left, e.right, float(a) * v)
        for e, a, v in zip(zero_component(weights, target), values, target.directions, strict=True)
    ]


def scale_head(weights: HeadWeights, head: tuple[int, int], factor: float) -> Edit:
    """Multiply all a head writes (W_O; the bias b_O belongs to the layer and stays)."""
    head, factor = weights.check_head(head), real("factor", factor)
    eye = torch.eye(weights.d_head).to(weights.W_O)
    return Edit(f"{label(head)} ×{factor:g}", head, "W_O", (factor - 1) * eye, weights.W_O[head])


def scale_query(weights: HeadWeights, head: tuple[int, int], factor: float) -> Edit:
    """Multiply a head's queries (W_Q and, where the model has one, b_Q): its attention scores grow by the same factor.

    Above 1 attention becomes sharper, below 1 flatter, below 0 it turns to what it avoided.
    """
    head, factor = weights.check_head(head), real("factor", factor)
    eye, bias = torch.eye(weights.d_head).to(weights.W_Q), weights.b_Q[head]
    added = (factor - 1) * bias if bias.any() else None
    return Edit(f"{label(head)} query ×{factor:g}", head, "W_Q", weights.W_Q[head], (factor - 1) * eye, added)


def scale_reading(
    weights: HeadWeights, reader: tuple[int, int], directions: Float[Tensor, "n d_model"], factor: float
) -> Edit:
    """Scale how far a reader's *query* sees some directions: `W_Q ← (I + (factor − 1) B Bᵀ) W_Q`; 0 blocks them.

    `B` is an orthonormal basis of the directions. Raises `ValueError` when the directions are not [n, d_model].
    """
    reader = weights.check_head(reader)
    factor = real("factor", factor)
    directions = numbers("directions", directions, like=weights.W_Q, n=None, d_model=weights.d_model)
    # An SVD, not QR: for repeated directions QR would make up further ones.
    basis, size, _ = torch.linalg.svd(directions.T, full_matrices=False)
    basis = basis[:, size > 1e-5 * size.max()]
    return Edit(
        f"{label(reader)} reads ×{factor:g}", reader, "W_Q", (factor - 1) * basis, basis.T @ weights.W_Q[reader]
    )


@uninterrupted
@contextmanager
def edited(model, *edits: Edit | Sequence[Edit]) -> Iterator[None]:
    """Apply edits inside a `with` block; afterwards, and after any exception, every weight is what it was, bit for bit.

    An interrupt (Ctrl-C, Jupyter's stop button) ends the block; one that arrives while weights are being written waits
    until they are.
    Raises `ValueError`, before anything is changed, for an edit that does not fit the model, for a layer that is kept
    on disk, and for W_K or W_V of a grouped-query model, where one matrix serves several query heads.
    """
    flat = [e for group in edits for e in (group if isinstance(group, Sequence) else [group])]
    if not all(isinstance(edit, Edit) for edit in flat):
        raise ValueError(f"edits must be edits or lists of them, got {[type(edit).__name__ for edit in flat]}")
    views = [_checked_view(model, edit) for edit in flat]
    biases = [_bias_view(model, edit) for edit in flat]
    layers = {e.head[0] for e in flat if e.bias is not None and e.matrix == "W_O"}
    linears = {layer: parts.output_linear(model, layer) for layer in layers}
    saved_linears = {layer: linear.bias for layer, linear in linears.items()}
    changed = [view for view in (*views, *biases) if view is not None]
    saved = [view.clone() for view in changed]
    try:
        with torch.no_grad():
            for edit, view, bias in zip(flat, views, biases, strict=True):
                view += (edit.left @ edit.right.to(edit.left)).to(view)
                if bias is not None:
                    bias += edit.bias.to(bias)
                elif edit.bias is not None:
                    # A new parameter: Llama has no b_O to add to.
                    linear, old = linears[edit.head[0]], linears[edit.head[0]].bias
                    added = edit.bias.to(view)
                    linear.bias = torch.nn.Parameter(added if old is None else old + added, requires_grad=False)
        yield
    finally:
        for view, original in zip(changed, saved, strict=True):
            view.copy_(original)
        for layer, linear in linears.items():
            linear.bias = saved_linears[layer]


def _bias_view(model, edit: Edit) -> Tensor | None:
    """The b_Q that an edit of W_Q changes, or None. Raises `ValueError` where there is none to change."""
    if edit.bias is None or edit.matrix == "W_O":
        return None
    view = parts.head_bias(model, edit.head[0], "b_Q") if edit.matrix == "W_Q" else None
    if view is None:
        raise ValueError(f"edit {edit.name!r} adds a bias to {edit.matrix}, and this model has none there")
    return view[edit.head[1]]


def _checked_view(model, edit: Edit) -> Tensor:
    n_layers, n_heads = parts.heads_shape(model)
    if edit.matrix not in parts.MATRICES or edit.head not in product(range(n_layers), range(n_heads)):
        raise ValueError(f"edit {edit.name!r} names {edit.matrix} of {edit.head}, which this model does not have")
    if edit.matrix in ("W_K", "W_V") and parts.kv_groups(model) > 1:
        raise ValueError(
            f"edit {edit.name!r} changes {edit.matrix}, which {parts.kv_groups(model)} query heads share in this "
            "model: edit W_Q or W_O instead"
        )
    if parts.offloaded(model, edit.head[0]):
        raise ValueError(f"edit {edit.name!r} changes layer {edit.head[0]}, which is kept on disk: put it elsewhere in "
                         "the device_map, or use hooks (Channel.scale)")  # fmt: skip
    view = parts.head_matrix(model, edit.head[0], edit.matrix)[edit.head[1]]
    rows, cols = view.shape
    rank = edit.right.shape[:1]
    if edit.left.shape != (rows, *rank) or edit.right.shape != (*rank, cols):
        raise ValueError(
            f"edit {edit.name!r} is {tuple(edit.left.shape)} @ {tuple(edit.right.shape)}, "
            f"the matrix is {tuple(view.shape)}: was it made from another model's weights?"
        )
    width = model.cfg.d_model if edit.matrix == "W_O" else model.cfg.d_head
    if edit.bias is not None and edit.bias.shape != (width,):
        raise ValueError(f"edit {edit.name!r}: bias is {tuple(edit.bias.shape)}, the model's is {(width,)}")
    for name, part in (("left", edit.left), ("right", edit.right), ("bias", edit.bias)):
        if part is not None and not torch.isfinite(part).all():
            raise ValueError(f"edit {edit.name!r}: {name} holds NaN or infinite numbers")
    _bias_view(model, edit)
    return view


check_classes(globals())
