"""What the model says at the end of each prompt, and how well it predicts ordinary text."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from .._guards import indices, same_model
from ..models import laws, parts, state
from ..tasks.prompts import Prompts
from .record import Run
from .run import run

CHUNK = 128  # positions unembedded at once: with 50 000 tokens in the vocabulary 25 MB


def logits(model, result: Run, ids: Int[Tensor, "batch k"] | None = None) -> Float[Tensor, "batch k_or_vocab"]:
    """Compute next-token logits at END: of the whole vocabulary, or of `ids` per prompt (much cheaper).

    Raises `ValueError` when `ids` does not have one row per prompt, for a run of another model, and for one that was
    stopped before the last layer.
    """
    require_complete(model, result)
    final = laws.final_norm(model, result.at().resid[-1])
    if ids is None:
        return laws.unembed(model, final)
    W_U, b_U = parts.unembedding(model)
    ids = indices("ids", ids, W_U.shape[1], {"batch": len(result), "k": None}).to(W_U.device)
    out = torch.einsum("bd,dbk->bk", final, W_U[:, ids])
    return laws.logit_law(model).of(out if b_U is None else out + b_U[ids])


def require_complete(model, result: Run) -> None:
    """Raise `ValueError` for a run of another model, or one that was stopped before the last layer."""
    state.require_ready(model)
    same_model(model=state.fingerprint(model), run=result)
    if result.n_layers != parts.shape(model).layers:
        raise ValueError(f"this run stops before layer {result.n_layers}: run all {parts.shape(model).layers} layers")


def logit_difference(model, result: Run) -> Float[Tensor, " batch"]:
    """Compute logit(answer) − logit(distractor) at END, per prompt."""
    pair = logits(model, result, torch.stack([result.prompts.answer, result.prompts.distractor], dim=1))
    return pair[:, 0] - pair[:, 1]


def top1(model, result: Run, batch_size: int = 256) -> Tensor:
    """Tell whether the answer is the most likely token of the whole vocabulary, per prompt."""
    batches = [result.select(slice(i, i + batch_size)) for i in range(0, len(result), batch_size)]
    return torch.cat([logits(model, part).argmax(-1) == part.prompts.answer for part in batches])


def answer_loss(model, result: Run) -> Float[Tensor, " batch"]:
    """Compute −log p(answer) over the full vocabulary, in nats, per prompt."""
    return -logits(model, result).log_softmax(-1).gather(1, result.prompts.answer[:, None])[:, 0]


@torch.no_grad()
def text_loss(model, text: Prompts) -> Float[Tensor, " batch"]:
    """Compute the mean next-token cross-entropy of every text, in nats per token of this model's tokenizer.

    `−1/(T−1) Σ_t log p(token t+1 | tokens 1 … t)` over all T tokens of a text, what training minimises. One pass over
    each text, one at a time; any `Prompts` will do. Tokenizers differ, and so do losses per token of two models.
    Raises `ValueError` for no texts and texts of fewer than two tokens.
    """
    each = (replace(text.select([i]), tokens=text.tokens[[i], : end + 1]) for i, end in enumerate(text.end.tolist()))
    return torch.cat([run_loss(model, run(model, one, "all")) for one in each])


@torch.no_grad()
def run_loss(model, result: Run) -> Float[Tensor, " batch"]:
    """Compute the same loss from a run with `positions="all"`: of `rerun`, which saves the layers before an edit.

    Raises `ValueError` for a run that keeps END only, and for texts of fewer than two tokens.
    """
    require_complete(model, result)
    if result.positions != "all" or (result.end < 1).any():
        lengths = [int(end) + 1 for end in result.end]
        raise ValueError(f"need positions='all' and two tokens or more, got {result.positions!r} and {lengths} tokens")
    losses = []
    for resid, tokens, end in zip(result.resid[-1], result.tokens, result.end.tolist(), strict=True):
        final = laws.final_norm(model, resid[:end])
        total = 0.0
        for states, following in zip(final.split(CHUNK), tokens[1 : end + 1].split(CHUNK), strict=True):
            total = total + cross_entropy(laws.unembed(model, states), following, reduction="sum")
        losses.append(total / end)
    return torch.stack(losses)


def divergence(model, base: Run, edited: Run) -> Tensor:
    """Compute KL(base ‖ edited) of the next-token distributions, in nats per token, mean over all that is not padding.

    Raises `ValueError` for runs of different tokens, and runs without `positions="all"`.
    """
    if not base.positions == edited.positions == "all" or not torch.equal(base.tokens, edited.tokens):
        raise ValueError("base and edited must be runs of the same tokens with positions='all'")
    before, after = log_probabilities(model, base), log_probabilities(model, edited)
    return torch.einsum("nv,nv->n", before.exp(), before - after).mean()


def log_probabilities(model, result: Run) -> Float[Tensor, "tokens vocab"]:
    """Compute log p of the next token at every token that is not padding, from a run with `positions="all"`."""
    require_complete(model, result)
    valid = torch.arange(result.tokens.shape[1], device=result.end.device) <= result.end[:, None]
    return laws.unembed(model, laws.final_norm(model, result.resid[-1][valid])).log_softmax(-1)
