"""What the model says at the end of each prompt: logits, logit differences, the most likely token."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .._guards import fit, indices, whole
from ..classes import check_classes
from ..models import parts
from ..tasks import Prompts
from .run import Run, rows


def logits(model, result: Run, ids: Int[Tensor, "batch k"] | None = None) -> Float[Tensor, "batch k_or_vocab"]:
    """Next-token logits at END: of the whole vocabulary, or of `ids` per prompt (much cheaper).

    Raises `ValueError` when `ids` does not have one row per prompt, or the run was stopped before the last layer.
    """
    final = parts.final_norm(model, last(model, result, result.at(result.resid)))
    if ids is None:
        return parts.unembed(model, final)
    W_U, b_U = parts.unembedding(model)
    ids = indices("ids", ids, W_U.shape[1], batch=len(result), k=None).to(W_U.device)
    out = torch.einsum("bd,dbk->bk", final.to(W_U.device), W_U[:, ids])
    return (out if b_U is None else out + b_U[ids]).to(final.device)


def last(model, result: Run, resid: Tensor) -> Tensor:
    """The stream after the last layer, of a run's `resid`; `ValueError` for a run that was stopped before it."""
    if len(result.resid) != model.cfg.n_layers + 1:
        raise ValueError(f"this run stops before layer {len(result.resid) - 1}: run all {model.cfg.n_layers} layers")
    return resid[-1]


def spots(base: Run, positions) -> Int[Tensor, "batch items"]:
    """Positions in a run, on its device; `ValueError` unless they are one row per prompt of 0 to the prompt's END."""
    found = indices("positions", positions, base.tokens.shape[1], batch=len(base), items=None).to(base.end.device)
    outside = int((found > base.end[:, None]).sum())
    if outside:
        raise ValueError(f"positions must lie between 0 and each prompt's END: {outside} of {found.numel()} do not")
    return found


def _answers(result: Run, prompts: Prompts) -> Tensor:
    fit(result, prompts)
    return prompts.answer.to(result.end.device)


def logit_difference(model, result: Run, prompts: Prompts) -> Float[Tensor, " batch"]:
    """logit(answer) − logit(distractor) at END, per prompt."""
    fit(result, prompts)
    pair = logits(model, result, torch.stack([prompts.answer, prompts.distractor], dim=1))
    return pair[:, 0] - pair[:, 1]


def top1(model, result: Run, prompts: Prompts, batch_size: int = 256) -> Tensor:
    """Whether the answer is the most likely token of the whole vocabulary, per prompt."""
    hits, answer, batch_size = [], _answers(result, prompts), whole("batch_size", batch_size)
    for i in range(0, len(result), batch_size):
        part = rows(result, slice(i, i + batch_size))
        hits.append(logits(model, part).argmax(-1) == answer[i : i + batch_size])
    return torch.cat(hits)


def answer_loss(model, result: Run, prompts: Prompts) -> Float[Tensor, " batch"]:
    """−log p(answer) over the full vocabulary, in nats, per prompt."""
    answer = _answers(result, prompts)
    return -logits(model, result).log_softmax(-1).gather(1, answer[:, None])[:, 0]


check_classes(globals())
