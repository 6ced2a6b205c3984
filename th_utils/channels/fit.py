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

from .._guards import numbers, real, whole
from ..classes import check_classes
from ..models import parts
from ..runs.engine import Hook
from ..runs.metrics import answer_loss, last
from ..runs.run import Run, rerun, rerun_last, rows
from ..tasks import Prompts
from ..weights.heads import HeadWeights
from .edits import Edit, scale_head, scale_query


@dataclass(frozen=True)
class Fit:
    """Fitted factors (1 leaves a part as it is) and, per step, the task's loss and the divergence on English."""

    factors: Tensor
    history: pd.DataFrame = field(repr=False)


def scale_heads(factors: Float[Tensor, "*parts layers heads"], first: int = 0) -> list[Hook]:
    """Hooks that multiply every head by its factor, in layers from `first` on; `head_edits` are the same in weights.

    `factors` [layers, heads] scale what the heads write; [2, layers, heads] scale that and, in the second row, their
    queries. Layers whose factors are all 1, and are not being fitted, get none.
    Raises `ValueError` for factors of another shape or a layer that they do not have; the hooks do for another model's.
    """
    factors = numbers("factors", factors)
    if factors.ndim not in (2, 3) or (factors.ndim == 3 and len(factors) != 2):
        raise ValueError(f"factors must be [layers, heads] or [2, layers, heads], got {list(factors.shape)}")
    parts = factors if factors.ndim == 3 else factors[None]
    first = whole("first", first, 0, parts.shape[1])

    def hook_of(layer: int, point: str, row: Tensor) -> Hook:
        def scale(value: Tensor, hook) -> Tensor:
            if value.shape[-2] != len(row):
                raise ValueError(f"factors are for {len(row)} heads a layer, this model has {value.shape[-2]}")
            return value * row[:, None].to(value)

        return f"blocks.{layer}.attn.{point}", scale

    return [
        hook_of(layer, point, part[layer])
        for layer in range(first, parts.shape[1])
        for point, part in zip(("hook_z", "hook_q"), parts, strict=False)
        if factors.requires_grad or bool((part[layer] != 1).any())
    ]


def head_edits(weights: HeadWeights, factors: Float[Tensor, "*parts layers heads"]) -> list[Edit]:
    """The weight edits of all factors that are not 1 (see `scale_heads`): W_O, and W_Q for the second row.

    Raises `ValueError` for factors of another shape.
    """
    shape, factors = (weights.n_layers, weights.n_heads), numbers("factors", factors).detach()
    if tuple(factors.shape) not in (shape, (2, *shape)):
        raise ValueError(f"factors must be {list(shape)} or {[2, *shape]}, got {list(factors.shape)}")
    parts = factors if factors.ndim == 3 else factors[None]
    return [
        (scale_head, scale_query)[part](weights, (layer, head), float(parts[part, layer, head]))
        for part, layer, head in (parts != 1).nonzero().tolist()
    ]


def strongest(factors: Tensor, k: int, by: Tensor | None = None) -> Bool[Tensor, "*parts"]:
    """A mask of the k factors furthest from 1 (or largest in `by`), to fit again without the others."""
    factors = numbers("factors", factors)
    k = whole("k", k, 1, factors.numel())
    size = (factors - 1).abs() if by is None else numbers("by", by)
    if size.shape != factors.shape:
        raise ValueError(f"factors and by must have one shape, got {list(factors.shape)} and {list(size.shape)}")
    mask = torch.zeros(factors.shape, dtype=torch.bool, device=factors.device)
    mask.view(-1)[size.flatten().topk(k).indices] = True
    return mask


def divergence(model, base: Run, edited: Run) -> Tensor:
    """KL(base ‖ edited) of the next-token distributions, in nats per token, mean over all tokens that are not padding.

    Raises `ValueError` for runs of different tokens, and runs without `positions="all"`.
    """
    if not base.positions == edited.positions == "all" or not torch.equal(base.tokens, edited.tokens):
        raise ValueError("base and edited must be runs of the same tokens with positions='all'")
    return _divergence(_log_probabilities(model, base), _log_probabilities(model, edited))


def _log_probabilities(model, result: Run) -> Float[Tensor, "tokens vocab"]:
    """Of the next token, at every token that is not padding."""
    told = torch.arange(result.tokens.shape[1], device=result.end.device) <= result.end[:, None]
    final = parts.final_norm(model, last(model, result, result.resid)[told])
    return parts.unembed(model, final).log_softmax(-1)


def _divergence(before: Tensor, after: Tensor) -> Tensor:
    return torch.einsum("nv,nv->n", before.exp(), before - after).mean()


@torch.enable_grad()  # the notebooks switch gradients off
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
    at_once: int | None = None,
    texts: int | None = None,
    seed: int = 0,
) -> Fit:
    """Fit factors by Adam, from `start`; `hooks(factors)` puts them into the model.

    `hooks` is `scale_heads` with its factors, or `channel.scale` with one factor per component; it must
    leave alone the layers before the one `english` was kept at. Only the factors in the mask `allowed` move. `tasks`
    are prompts with their unedited runs; `english` is a run of ordinary text with `positions="all"` and `keep=` the
    first layer that may be edited. A step uses `batch` random prompts each of `at_once` random tasks, and `texts`
    random texts (None: all of them); a text costs more than a prompt does.

    Raises `ValueError` for no tasks, runs that are not of their prompts, an English run that cannot be used, numbers
    that cannot be meant, a mask of another shape or a loss that is not finite.
    """
    tasks, start = list(tasks), numbers("start", start).float().detach()
    if not tasks or not all(0 < len(prompts) == len(base) for prompts, base in tasks):
        raise ValueError(f"tasks must be (prompts, run of these prompts), at least one, got {len(tasks)}")
    batch, steps, rate = whole("batch", batch), whole("steps", steps, 0), real("rate", rate, above=0)
    price, sparsity = real("price", price, least=0), real("sparsity", sparsity, least=0)
    if english.positions != "all" or english.kept is None:
        raise ValueError("english must be a run with positions='all' and keep=first edited layer")
    texts, at_once = (len(english) if texts is None else texts), (len(tasks) if at_once is None else at_once)
    texts, at_once = whole("texts", texts, 1, len(english)), whole("at_once", at_once, 1, len(tasks))
    allowed = torch.as_tensor(torch.ones_like(start) if allowed is None else allowed, device=start.device).bool()
    if allowed.shape != start.shape:
        raise ValueError(f"allowed must have the shape of start, {tuple(start.shape)}, got {tuple(allowed.shape)}")
    generator = torch.Generator().manual_seed(seed)
    every = texts == len(english)
    unedited = _log_probabilities(model, english).detach() if every else None  # the same at every step
    change = (start - 1).clone().requires_grad_(True)
    optimiser = torch.optim.Adam([change], lr=rate)
    history = []
    for _ in range(steps):
        factors = 1 + change * allowed
        losses = []
        for i in torch.randperm(len(tasks), generator=generator)[:at_once].tolist():
            prompts, base = tasks[i]
            index = torch.randperm(len(prompts), generator=generator)[:batch]
            result = rerun_last(model, rows(base, index), hooks(factors))
            losses.append(answer_loss(model, result, prompts.select(index)).mean())
        task = torch.stack(losses).mean()
        drawn = torch.randperm(len(english), generator=generator)[:texts]
        text = english if every else rows(english, drawn)
        after = rerun(model, text, hooks(factors), batch_size=texts)
        before = _log_probabilities(model, text).detach() if unedited is None else unedited
        side = _divergence(before, _log_probabilities(model, after))
        total = task + price * side + sparsity * (change * allowed).abs().sum()
        if not torch.isfinite(total):
            raise ValueError(f"the loss became {float(total.detach())} after {len(history)} steps: lower the rate")
        history.append((float(task.detach()), float(side.detach())))
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    factors = torch.where(allowed, 1 + change.detach(), torch.ones_like(start))
    return Fit(factors, pd.DataFrame(history, columns=["task loss", "divergence"]))


check_classes(globals())
