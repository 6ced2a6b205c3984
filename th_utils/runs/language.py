"""How well a model predicts ordinary text: the price of an intervention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..classes import check_classes
from ..models import parts
from ..tasks import Prompts
from .engine import Batch, Hook
from .metrics import last
from .run import Run, run

CHUNK = 128  # positions unembedded at once: with 50 000 tokens in the vocabulary 25 MB


@torch.no_grad()
def text_loss(model, text: Prompts, hooks: Sequence[Hook] = ()) -> Float[Tensor, " batch"]:
    """Mean next-token cross-entropy of every text, in nats per token of this model's tokenizer.

    `−1/(T−1) Σ_t log p(token t+1 | tokens 1 … t)` over all T tokens of a text, what training minimises. Works inside
    `with th.edited(...)` and under `hooks`, which act at every position and see `.rows` of `text`. The cost is one
    pass over each text, one at a time. `text` comes from `tasks.english.passages`; any `Prompts` will do.
    Tokenizers differ, and so do losses per token of two models. Raises `ValueError` for texts of fewer than two
    tokens and none.
    """
    if not len(text) or (text.end < 1).any():
        raise ValueError(f"need texts of at least two tokens, got {[int(end) + 1 for end in text.end]}")
    losses = []
    for i, end in enumerate(text.end.tolist()):
        one = text.select([i])
        one = replace(one, tokens=one.tokens[:, : end + 1])
        losses.append(run_loss(model, run(model, one, "all", [_row(hook, i) for hook in hooks])))
    return torch.cat(losses)


@torch.no_grad()
def run_loss(model, result: Run) -> Float[Tensor, " batch"]:
    """The same loss from a run with `positions="all"`: of `runs.rerun`, which saves the layers before an edit.

    Raises `ValueError` for a run that keeps END only, and for texts of fewer than two tokens.
    """
    if result.positions != "all" or not len(result) or (result.end < 1).any():
        raise ValueError(
            f"need a run with positions='all' of texts of at least two tokens, got {result.positions!r} with "
            f"{[int(end) + 1 for end in result.end]} tokens"
        )
    losses = []
    for resid, tokens, end in zip(last(model, result, result.resid), result.tokens, result.end.tolist(), strict=True):
        final = parts.final_norm(model, resid[:end])
        total = 0.0
        for states, following in zip(final.split(CHUNK), tokens[1 : end + 1].split(CHUNK), strict=True):
            total = total + cross_entropy(parts.unembed(model, states), following, reduction="sum")
        losses.append(total / end)
    return torch.stack(losses)


def _row(hook: Hook, i: int) -> tuple[str, Callable]:
    name, function = hook
    return name, lambda value, _: function(value, Batch(slice(i, i + 1)))


check_classes(globals())
