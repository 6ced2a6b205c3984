"""Is a set of heads the circuit? Keep only these heads, or knock them out, and see how much behaviour is left.

A head that is not kept gives a *replacement* output (usually its mean over prompts without the information: Wang et al.
2022) at every position; later layers, the MLPs and the kept heads react freely.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .._guards import numbers
from ..models import parts
from ..tasks.prompts import Prompts
from ..weights.heads import Head, HeadWeights, check_head
from .hooks import rows_of
from .record import Run, require_pair
from .run import run


def ablated(
    clean: Run, new: Run | None, kind: Literal["zero", "mean", "resample"] = "resample", groups: Iterable | None = None
) -> Tensor:
    """Make replacement head outputs `z` for an ablation, shaped as `clean.z`.

    "zero": nothing; "resample": the outputs of `new` (same positions, corrupted prompts); "mean": the mean of `new`
    over the batch, or within `groups` (one label per prompt, for instance its template and order).
    A mean over a run of all positions needs prompts of one length, or groups that have (position 12 of a shorter
    prompt is padding); positions mean the same in all prompts of a group only if their template is the same.
    Raises `ValueError` for an unknown kind, a missing `new`, runs of different models or shapes, or mixed lengths.
    """
    if kind == "zero":
        return torch.zeros_like(clean.z)
    if kind not in ("mean", "resample"):
        raise ValueError(f"unknown ablation {kind!r}: expected 'zero', 'mean' or 'resample'")
    if new is None:
        raise ValueError(f"{kind} ablation needs a new run, shaped as the clean one")
    require_pair(clean, new, aligned=kind == "resample")
    if (new.positions, new.z.shape) != (clean.positions, clean.z.shape):
        raise ValueError(f"clean and new keep {clean.positions!r} and {new.positions!r}: use the same positions=")
    if kind == "resample":
        return new.z
    out = torch.empty_like(new.z)
    labels = [0] * len(new) if groups is None else list(groups)
    if len(labels) != len(new):
        raise ValueError(f"groups needs one label for each of the {len(new)} prompts, got {len(labels)}")
    for value in set(labels):
        members = [i for i, other in enumerate(labels) if other == value]
        if new.positions == "all" and len(set(new.end[members].tolist())) > 1:
            raise ValueError("a mean at all positions needs prompts of one length: give groups=, or runs of 'end'")
        out[:, members] = new.z[:, members].mean(1, keepdim=True)
    return out


def head_mask(heads: Sequence[Head], n_layers: int, n_heads: int) -> Bool[Tensor, "layers heads"]:
    """Make a mask that is true at these heads. Raises `ValueError` for a head outside the model."""
    mask = torch.zeros(n_layers, n_heads, dtype=torch.bool)
    for head in heads:
        mask[check_head(head, n_layers, n_heads)] = True
    return mask


def keep_heads(
    model, prompts: Prompts, replacement: Float[Tensor, "layers batch pos heads d_head"],
    heads: Sequence[Head] | Bool[Tensor, "*batch layers heads"],
) -> Run:  # fmt: skip
    """Run the prompts (END kept, no keys) with every head outside `heads` replaced, at all positions: sufficiency.

    Of all heads but a circuit it is the knock-out of that circuit, to which the others react: necessity.
    `heads` is a list of heads or a mask, [layers, heads] for all prompts or [batch, layers, heads] with a circuit
    of its own for each prompt (many random circuits in one pass). The embedding and all MLPs stay.
    Raises `ValueError` when the replacement's or the mask's shape does not fit the prompts.
    """
    size, (batch, seq) = parts.shape(model), prompts.tokens.shape
    shape = {"layers": size.layers, "batch": batch, "pos": seq, "heads": size.heads, "d_head": size.d_head}
    replacement = numbers("replacement", replacement, shape, like=parts.head_matrix(model, 0, "W_O"))
    mask = heads if isinstance(heads, Tensor) else head_mask(heads, size.layers, size.heads)
    if mask.shape not in ((size.layers, size.heads), (batch, size.layers, size.heads)):
        raise ValueError(f"mask must be [{size.layers}, {size.heads}], one per prompt or for all: {[*mask.shape]}")
    # [batch, layers, 1, heads, 1], to stand beside z [batch, pos, heads, d_head] of each layer
    mask = mask.reshape(-1, size.layers, 1, size.heads, 1).to(replacement.device).expand(batch, -1, -1, -1, -1)

    def keep(z: Tensor, hook) -> Tensor:
        layer, rows = hook.layer(), rows_of(hook)
        return torch.where(mask[rows, layer], z, replacement[layer, rows])

    hooks = [(f"blocks.{layer}.attn.hook_z", keep) for layer in range(size.layers)]
    return run(model, prompts, "end", hooks, caches=size.layers)


def random_like(weights: HeadWeights, heads: Sequence[Head], seed: int = 0) -> list[Head]:
    """Draw a random circuit with as many heads in each layer as `heads`; it may share heads with it by chance."""
    rng = np.random.default_rng(seed)
    layers = [layer for layer, _ in dict.fromkeys(map(weights.check_head, heads))]
    return [
        (layer, int(head))
        for layer in sorted(set(layers))
        for head in sorted(rng.choice(weights.n_heads, layers.count(layer), replace=False))
    ]
