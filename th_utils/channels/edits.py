"""Weight edits: rank-1 and low-rank changes of attention matrices, undone bit for bit.

An edit is input-independent: `W ← W + A B` for one head's matrix, and possibly a constant added to a bias. Edits are
records; `edited` applies any number of them to a model for the length of a `with` block. All of them are computed
against the unedited weights and added up, so their order does not matter.
"""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .._guards import numbers, same_model
from ..models import parts, state
from ..runs.trial import normalises_queries
from ..weights.heads import Head, HeadWeights, check_head, label
from .channel import Channel


@dataclass(frozen=True)
class Edit:
    """`W ← W + left @ right` for `matrix` ("W_Q", "W_K", "W_V", "W_O") of one head.

    `bias` is added to the layer's b_O when the matrix is W_O, or to the head's b_Q when it is W_Q. `fingerprint`: of
    the model it was made for. Raises `ValueError` for another matrix, factors that do not multiply, NaN or infinity.
    """

    name: str
    head: Head
    matrix: str
    left: Float[Tensor, "rows rank"]
    right: Float[Tensor, "rank cols"]
    bias: Float[Tensor, " d_model_or_d_head"] | None = None
    fingerprint: str | None = None

    def __post_init__(self):
        if self.matrix not in parts.MATRICES:
            raise ValueError(f"edit {self.name!r} changes {self.matrix!r}: expected one of {parts.MATRICES}")
        if self.left.shape[1:] != self.right.shape[:1]:
            raise ValueError(f"edit {self.name!r}: {[*self.left.shape]} @ {[*self.right.shape]} do not multiply")
        for name in ("left", "right", "bias"):
            if getattr(self, name) is not None:
                numbers(f"edit {self.name!r}: {name}", getattr(self, name))

    @property
    def checksums(self) -> tuple[int, ...]:
        """Those of its factors and its bias: equal for an equal edit that was made again."""
        return tuple(state.checksum(x) for x in (self.left, self.right, self.bias) if x is not None)


def scale_component(weights: HeadWeights, target: Channel, factor: float) -> list[Edit]:
    """Scale the components of a channel, `W_O ← W_O (I + (factor − 1) v vᵀ)`: the weight form of `Channel.scale`.

    Acts at every position, where the hook can be limited to one. A factor of 0 removes them.
    """
    same_model(weights=weights, channel=target)
    return [
        _edit(
            weights,
            f"{name} ×{factor:g}",
            head,
            "W_O",
            (factor - 1) * (weights.W_O[head] @ v)[:, None],
            _before_gain(weights, head, v)[None],
        )
        for name, head, v in zip(target.names, target.heads, target.directions, strict=True)
    ]


def set_component(weights: HeadWeights, target: Channel, value: float | Sequence[float]) -> list[Edit]:
    """Remove each component and write the constant `value·v` instead, through b_O: the weight form of `Channel.set`."""
    values = target.per_component(value, "value")
    return [
        _edit(weights, f"{e.name} = {float(a):g}", e.head, "W_O", e.left, e.right, float(a) * e.right[0])
        for e, a in zip(scale_component(weights, target, 0.0), values, strict=True)
    ]


def _before_gain(weights: HeadWeights, head: Head, v: Tensor) -> Tensor:
    """Return what a head has to write for `v` to come out behind the gain of a norm after attention."""
    return v if weights.gain_O is None else v / weights.gain_O[head[0]]


def scale_head(weights: HeadWeights, head: Head, factor: float) -> Edit:
    """Multiply all a head writes (W_O; the bias b_O belongs to the layer and stays)."""
    head, eye = weights.check_head(head), torch.eye(weights.d_head).to(weights.W_O)
    return _edit(weights, f"{label(head)} ×{factor:g}", head, "W_O", (factor - 1) * eye, weights.own("W_O", head))


def scale_query(weights: HeadWeights, head: Head, factor: float) -> Edit:
    """Multiply a head's queries (W_Q and, where the model has one, b_Q): its attention scores grow by the same factor.

    Above 1 attention becomes sharper, below 1 flatter, below 0 it turns to what it avoided.
    Raises `ValueError` where a norm with a gain follows, which undoes it; `edited` does after any other norm.
    """
    head = weights.check_head(head)
    if weights.gain_Q is not None:
        raise ValueError("this model normalises its queries, which undoes a factor: use scale_reading or scale_head")
    eye, bias = torch.eye(weights.d_head).to(weights.W_Q), weights.b_Q[head]
    added = (factor - 1) * bias if bias.any() else None
    return _edit(weights, f"{label(head)} query ×{factor:g}", head, "W_Q", weights.W_Q[head], (factor - 1) * eye, added)


def scale_reading(weights: HeadWeights, reader: Head, directions: Float[Tensor, "n d_model"], factor: float) -> Edit:
    """Scale how far a reader's *query* sees some directions: `W_Q ← (I + (factor − 1) B Bᵀ) W_Q`; 0 blocks them.

    `B` is an orthonormal basis of the directions. Raises `ValueError` when the directions are not [n, d_model].
    """
    reader = weights.check_head(reader)
    directions = numbers("directions", directions, {"n": None, "d_model": weights.d_model}, weights.W_Q)
    # An SVD, not QR: for repeated directions QR would make up further ones.
    basis, size, _ = torch.linalg.svd(directions.T, full_matrices=False)
    basis = basis[:, size > 1e-5 * size.max()]
    name = f"{label(reader)} reads ×{factor:g}"
    return _edit(weights, name, reader, "W_Q", (factor - 1) * basis, basis.T @ weights.own("W_Q", reader))


def _edit(weights: HeadWeights, name: str, head: Head, matrix: str, left, right, bias=None) -> Edit:
    return Edit(name, head, matrix, left, right, bias, weights.fingerprint)


@contextmanager
def edited(model, *edits: Edit | Sequence[Edit]) -> Iterator[None]:
    """Apply edits inside a `with` block; afterwards, and after any exception, every weight is what it was, bit for bit.

    An interrupt (Ctrl-C, Jupyter's stop button) ends the block; one that arrives while weights are being written waits
    until they are. Raises `ValueError`, before anything is changed, for an edit that does not fit the model or was made
    from another one, for weights that another block is editing, and for W_K or W_V of a grouped-query model, where one
    matrix serves several query heads.
    """
    flat = [edit for group in edits for edit in (group if isinstance(group, Sequence) else [group])]
    changes = [change for edit in flat for change in changes_of(model, edit)]
    biased = [edit for edit in flat if edit.bias is not None and edit.matrix == "W_O"]
    linears = {edit.head[0]: parts.output_linear(model, edit.head[0]) for edit in biased}
    touched = [(edit.head[0], f"{edit.matrix} of head {label(edit.head)}", edit.checksums) for edit in flat]
    touched += [(edit.head[0], "b_O", edit.checksums) for edit in biased]
    saved, biases = [(tensor, tensor.clone()) for tensor, _ in changes], {i: one.bias for i, one in linears.items()}
    with state.editing(model, frozenset(touched)):
        try:
            with _uninterrupted(), torch.no_grad():
                for tensor, delta in changes:
                    tensor += delta
                for layer, linear in linears.items():  # a new parameter: Llama has no b_O to add to
                    added = [edit.bias for edit in biased if edit.head[0] == layer]
                    whole = sum(added) if biases[layer] is None else biases[layer] + sum(added)
                    linear.bias = torch.nn.Parameter(whole.to(linear.weight), requires_grad=False)
            yield
        finally:
            with _uninterrupted(), torch.no_grad():
                for tensor, before in saved:
                    tensor.copy_(before)
                for layer, linear in linears.items():
                    linear.bias = biases[layer]


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C inside the block and deliver it on leaving. Only the main thread of a program gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting = []
    outer = signal.signal(signal.SIGINT, lambda *signalled: waiting.append(signalled))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, outer)
        if waiting and callable(outer):
            outer(*waiting[0])


def _scales(weight: Tensor, change: Tensor) -> bool:
    """Tell whether a change is a multiple of what it changes."""
    return bool(torch.cosine_similarity(weight.flatten(), change.to(weight).flatten(), 0).abs() > 1 - 1e-5)


def changes_of(model, edit: Edit) -> list[tuple[Tensor, Tensor]]:
    """List (view of a weight, what is added to it) for an edit, b_O aside. Raises `ValueError` as `edited`."""
    same_model(model=state.fingerprint(model), edit=edit)
    size = parts.shape(model)
    layer, head = check_head(edit.head, size.layers, size.heads)
    if edit.matrix in ("W_K", "W_V") and size.groups > 1:
        raise ValueError(f"edit {edit.name!r} changes {edit.matrix}, which {size.groups} heads share: edit W_Q or W_O")
    view = parts.head_matrix(model, layer, edit.matrix)[head]
    change = edit.left @ edit.right.to(edit.left)
    if change.shape != view.shape:
        raise ValueError(f"edit {edit.name!r} is {[*change.shape]}, the matrix is {[*view.shape]}")
    if edit.matrix == "W_Q" and _scales(view, change) and normalises_queries(model, layer):
        raise ValueError(f"edit {edit.name!r}: this model normalises its queries, which undoes a factor")
    changes = [(view, change.to(view))]
    if edit.bias is None:
        return changes
    width = size.d_model if edit.matrix == "W_O" else size.d_head
    if edit.bias.shape != (width,):
        raise ValueError(f"edit {edit.name!r}: bias is {[*edit.bias.shape]}, the model's is {[width]}")
    if edit.matrix != "W_O":
        biases = parts.head_bias(model, layer, "b_Q") if edit.matrix == "W_Q" else None
        if biases is None:
            raise ValueError(f"edit {edit.name!r} adds a bias to {edit.matrix}, and this model has none there")
        changes.append((biases[head], edit.bias.to(biases)))
    return changes
