"""Choose the scales of a weight edit by gradient: help a task, leave ordinary English as it is.

The model stays frozen; only a handful of factors, one per head or component, are fitted. The loss is

    mean over tasks of −log p(answer)  +  price · KL(unedited ‖ edited on English)  +  sparsity · Σ|factor − 1|,

so `price` buys side effects and `sparsity` buys short edits. The task's gradient is taken at END from cached runs,
where it costs one token a prompt; whether the edit holds when it acts at every position is for `runs.rerun` under
`edits.edited` to say. This search is ours: how Merullo et al. 2024 chose their edits is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from . import bridge
from .edits import Edit, scale_head
from .outputs import answer_loss
from .runs import Hook, Run, rerun, rerun_last, rows
from .tasks import Prompts
from .weights import HeadWeights


@dataclass(frozen=True)
class Fit:
    """Fitted factors (1 leaves a part as it is) and, per step, the task's loss and the divergence on English."""

    factors: Tensor
    history: pd.DataFrame = field(repr=False)


def scale_heads(factors: Float[Tensor, "layers heads"], first: int = 0) -> list[Hook]:
    """Hooks that multiply what every head writes by its factor, in layers from `first` on: the form `head_edits` has
    as hooks. Layers whose factors are all 1, and are not being fitted, get none.
    """

    def hook_of(layer: int) -> Hook:
        return f"blocks.{layer}.attn.hook_z", lambda z, hook: z * factors[layer][:, None].to(z)

    layers = range(first, len(factors))
    return [hook_of(layer) for layer in layers if factors.requires_grad or bool((factors[layer] != 1).any())]


def head_edits(weights: HeadWeights, factors: Float[Tensor, "layers heads"]) -> list[Edit]:
    """The weight edits of all heads whose factor is not 1. Raises `ValueError` for factors of another shape."""
    if tuple(factors.shape) != (weights.n_layers, weights.n_heads):
        raise ValueError(f"factors must be [{weights.n_layers}, {weights.n_heads}], got {tuple(factors.shape)}")
    return [scale_head(weights, tuple(head), float(factors[tuple(head)])) for head in (factors != 1).nonzero().tolist()]


def strongest(factors: Tensor, k: int, by: Tensor | None = None) -> Bool[Tensor, "*parts"]:
    """A mask of the k factors furthest from 1 (or largest in `by`), to fit again without the others."""
    if not 1 <= k <= factors.numel():
        raise ValueError(f"k must be 1-{factors.numel()}, got {k}")
    size = (factors - 1).abs() if by is None else by
    return (
        torch.zeros_like(factors, dtype=torch.bool)
        .flatten()
        .scatter(0, size.flatten().topk(k).indices, True)
        .view_as(factors)
    )


def divergence(model, base: Run, edited: Run) -> Tensor:
    """KL(base ‖ edited) of the next-token distributions, in nats per token, mean over all positions of both runs.

    Needs runs with `positions="all"` and no padding (`english.passages` cut to one length).
    """
    W_U, b_U = bridge.unembedding(model)

    def log_probabilities(result: Run) -> Tensor:
        out = bridge.final_norm(model, result.resid[-1]) @ W_U
        return (out if b_U is None else out + b_U).log_softmax(-1)

    before, after = log_probabilities(base), log_probabilities(edited)
    return (before.exp() * (before - after)).sum(-1).mean()


def fit_scales(
    model,
    hooks: Callable[[Tensor], list[Hook]],
    start: Tensor,
    tasks: Sequence[tuple[Prompts, Run]],
    english: Run,
    *,
    allowed: Bool[Tensor, "*parts"] | None = None,
    steps: int = 30,
    price: float = 10.0,
    sparsity: float = 0.02,
    rate: float = 0.08,
    batch: int = 32,
    seed: int = 0,
) -> Fit:
    """Fit factors by Adam, from `start`; `hooks(factors)` puts them into the model.

    `hooks` is `scale_heads` with factors [layers, heads], or `channel.scale` with one factor per component; it must
    leave alone the layers before the one `english` was kept at. Only the factors in the mask `allowed` move. `tasks`
    are prompts with their unedited runs, of which `batch` random prompts each are used per step; `english` is a run of
    ordinary text with `positions="all"` and `keep=` the first layer that may be edited.

    Raises `ValueError` for no tasks, an English run that cannot be used, a mask of another shape or a loss that is not
    finite.
    """
    if not tasks:
        raise ValueError("give at least one task, as (prompts, run)")
    if english.positions != "all" or english.kept is None:
        raise ValueError("english must be a run with positions='all' and keep=first edited layer")
    allowed = torch.ones_like(start, dtype=torch.bool) if allowed is None else allowed
    if allowed.shape != start.shape:
        raise ValueError(f"allowed must have the shape of start, {tuple(start.shape)}, got {tuple(allowed.shape)}")
    generator = torch.Generator().manual_seed(seed)
    change = (start - 1).clone().requires_grad_(True)
    optimiser = torch.optim.Adam([change], lr=rate)
    history = []
    for _ in range(steps):
        factors = 1 + change * allowed
        losses = []
        for prompts, base in tasks:
            index = torch.randperm(len(prompts), generator=generator)[:batch]
            result = rerun_last(model, rows(base, index), hooks(factors))
            losses.append(answer_loss(model, result, prompts.select(index)).mean())
        task = torch.stack(losses).mean()
        side = divergence(model, english, rerun(model, english, hooks(factors), batch_size=len(english)))
        total = task + price * side + sparsity * (change * allowed).abs().sum()
        if not torch.isfinite(total):
            raise ValueError(f"the loss became {float(total.detach())} after {len(history)} steps: lower the rate")
        history.append((float(task.detach()), float(side.detach())))
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    factors = torch.where(allowed, 1 + change.detach(), torch.ones_like(start))
    return Fit(factors, pd.DataFrame(history, columns=["task loss", "divergence"]))
