"""Is a set of heads the circuit? Keep only these heads, or knock them out, and see how much behaviour is left.

A head that is not kept gives a *replacement* output (`patching.ablated`, usually its mean over prompts without
the information: Wang et al. 2022) at every position; later layers, the MLPs and the kept heads react freely.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .._guards import numbers
from ..classes import check_classes
from ..models import parts
from ..tasks import Prompts
from ..weights.heads import HeadWeights, check_head
from .run import Run, run

Head = tuple[int, int]


def head_mask(heads: Sequence[Head], n_layers: int, n_heads: int) -> Bool[Tensor, "layers heads"]:
    """True at these heads. Raises `ValueError` for a head outside the model."""
    mask = torch.zeros(n_layers, n_heads, dtype=torch.bool)
    for head in heads:
        mask[check_head(head, n_layers, n_heads)] = True
    return mask


def keep_heads(
    model,
    prompts: Prompts,
    replacement: Float[Tensor, "layers batch pos heads d_head"],
    heads: Sequence[Head] | Bool[Tensor, "*batch layers heads"],
) -> Run:
    """Run the prompts (END kept) with every head outside `heads` replaced, at all positions: sufficiency.

    `heads` is a list of heads or a mask, [layers, heads] for all prompts or [batch, layers, heads] with a circuit
    of its own for each prompt (many random circuits in one pass). The embedding and all MLPs stay.
    Raises `ValueError` when the replacement's or the mask's shape does not fit the prompts.
    """
    (n_layers, n_heads), (batch, seq) = parts.heads_shape(model), prompts.tokens.shape
    shape = {"layers": n_layers, "batch": batch, "pos": seq, "heads": n_heads, "d_head": model.cfg.d_head}
    like = parts.head_matrix(model, 0, "W_O")
    replacement = numbers("replacement (made from runs of these prompts)", replacement, like, **shape)
    mask = heads if isinstance(heads, Tensor) else head_mask(heads, n_layers, n_heads)
    if mask.shape[-2:] != (n_layers, n_heads) or mask.ndim > 3 or mask.ndim == 3 and len(mask) != batch:
        raise ValueError(
            f"mask must be [{n_layers}, {n_heads}] or [{batch}, {n_layers}, {n_heads}], got {tuple(mask.shape)}"
        )
    # [batch, layers, 1, heads, 1], to stand beside z [batch, pos, heads, d_head] of each layer
    mask = mask.reshape(-1, n_layers, 1, n_heads, 1).to(replacement.device)
    mask = mask.expand(batch, -1, -1, -1, -1)

    def keep(z: Tensor, hook, layer: int) -> Tensor:
        return torch.where(mask[hook.rows, layer], z, replacement[layer, hook.rows])

    hooks = [(f"blocks.{layer}.attn.hook_z", partial(keep, layer=layer)) for layer in range(n_layers)]
    return run(model, prompts, "end", hooks)


def knock_out(model, prompts: Prompts, replacement: Tensor, heads: Sequence[Head]) -> Run:
    """The opposite: only `heads` are replaced, the others react: necessity, self-repair included."""
    return keep_heads(model, prompts, replacement, ~head_mask(heads, model.cfg.n_layers, model.cfg.n_heads))


def random_like(weights: HeadWeights, heads: Sequence[Head], seed: int = 0) -> list[Head]:
    """A random circuit with as many heads in each layer as `heads`; it may share heads with it by chance."""
    rng = np.random.default_rng(seed)
    layers = [layer for layer, _ in dict.fromkeys(map(weights.check_head, heads))]
    return [
        (layer, int(head))
        for layer in sorted(set(layers))
        for head in sorted(rng.choice(weights.n_heads, layers.count(layer), replace=False))
    ]


check_classes(globals())
