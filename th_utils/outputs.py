"""What the model says at the end of each prompt: logits, logit differences, the most likely token."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from . import bridge
from .runs import Run, rows
from .tasks import Prompts


def logits(model, result: Run, ids: Int[Tensor, "batch k"] | None = None) -> Float[Tensor, "batch k_or_vocab"]:
    """Next-token logits at END: of the whole vocabulary, or of `ids` per prompt (much cheaper).

    Raises `ValueError` when `ids` does not have one row per prompt.
    """
    W_U, b_U = bridge.unembedding(model)
    final = bridge.final_norm(model, result.at(result.resid)[-1])
    if ids is None:
        out = final @ W_U
        return out if b_U is None else out + b_U
    if ids.ndim != 2 or len(ids) != len(result):
        raise ValueError(f"ids must be [batch={len(result)}, k], got {tuple(ids.shape)}")
    ids = ids.to(W_U.device)
    out = torch.einsum("bd,dbk->bk", final, W_U[:, ids])
    return out if b_U is None else out + b_U[ids]


def logit_difference(model, result: Run, prompts: Prompts) -> Float[Tensor, " batch"]:
    """logit(answer) − logit(distractor) at END, per prompt."""
    pair = logits(model, result, torch.stack([prompts.answer, prompts.distractor], dim=1))
    return pair[:, 0] - pair[:, 1]


def top1(model, result: Run, prompts: Prompts, batch_size: int = 256) -> Tensor:
    """Whether the answer is the most likely token of the whole vocabulary, per prompt."""
    hits = []
    for i in range(0, len(result), batch_size):
        part = rows(result, slice(i, i + batch_size))
        hits.append(logits(model, part).argmax(-1) == prompts.answer[i : i + batch_size].to(part.end.device))
    return torch.cat(hits)


def answer_loss(model, result: Run, prompts: Prompts) -> Float[Tensor, " batch"]:
    """−log p(answer) over the full vocabulary, in nats, per prompt."""
    log_p = logits(model, result).log_softmax(-1)
    return -log_p.gather(1, prompts.answer.to(log_p.device)[:, None])[:, 0]
