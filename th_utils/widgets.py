"""Figures to play with where a kernel runs, and a picture of the same where none does.

In Jupyter and Colab these return live objects (circuitsvis, ipywidgets 7 or 8). With `TH_STATIC=1`, which the book's
build sets, or without those libraries, they return the `View` that says the same: nothing on the built pages
waits for a kernel or for the network.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec

import torch
from jaxtyping import Float
from torch import Tensor

from . import views
from .channels import Channel
from .runs import Run, rerun_last, rows
from .weights import check_head, label


def live(*libraries: str) -> bool:
    """Whether to return something interactive: the libraries are there and the book is not being built."""
    return os.environ.get("TH_STATIC", "") in ("", "0") and all(find_spec(name) for name in libraries)


def token_strings(model, tokens: Tensor) -> list[str]:
    """The tokens of one prompt as text; the beginning-of-sequence token as "BOS"."""
    bos = model.tokenizer.bos_token_id
    return ["BOS" if i == 0 and int(t) == bos else model.tokenizer.decode([int(t)]) for i, t in enumerate(tokens)]


def attention(
    tokens: Sequence[str], patterns: Float[Tensor, "heads query key"], names: Sequence[str], title: str, alt: str
):
    """Attention patterns of some heads over one prompt: circuitsvis' viewer, or the row of the last token as a picture.

    Raises `ValueError` when the patterns do not fit the tokens or the names.
    """
    if patterns.shape != (len(names), len(tokens), len(tokens)):
        raise ValueError(
            f"patterns must be [{len(names)} heads, {len(tokens)}, {len(tokens)} tokens], got {tuple(patterns.shape)}"
        )
    if live("circuitsvis"):
        from circuitsvis.attention import attention_heads

        return attention_heads(attention=patterns, tokens=list(tokens), attention_head_names=list(names))
    return views.attention(tokens, dict(zip(names, patterns[:, -1], strict=True)), title, alt)


def dial(
    model,
    base: Run,
    target: Channel,
    head: tuple[int, int],
    prompt: int,
    settings: Sequence[float],
    title: str,
    alt: str,
):
    """Turn a channel's coordinates at the last token of one prompt and watch where a later head looks from there.

    A slider over the range of `settings` where a kernel runs; otherwise a picture with one row per setting. All
    coordinates of `target` get the same value. Raises `ValueError` for a head that is not after the channel, a prompt
    outside the run, or fewer than two settings.
    """
    layer, index = check_head(head, model.cfg.n_layers, model.cfg.n_heads)
    if layer <= target.first_layer:
        raise ValueError(f"head {label(head)} must be in a layer after the channel's first, {target.first_layer}")
    if not 0 <= prompt < len(base):
        raise ValueError(f"no prompt {prompt}: the run has prompts 0-{len(base) - 1}")
    if len(settings) < 2:
        raise ValueError(f"settings must hold at least two values to turn between, got {list(settings)}")
    one = rows(base, torch.tensor([prompt]))
    words = token_strings(model, one.tokens[0, : int(one.end[0]) + 1])

    def row(value: float) -> Tensor:
        turned = rerun_last(model, one, target.set(float(value)))
        return turned.pattern[layer, 0, index, 0, : len(words)]

    name = ", ".join(target.names)
    if not live("ipywidgets"):
        return views.attention(words, {f"{name} = {value:.0f}": row(value) for value in settings}, title, alt)
    from ipywidgets import FloatSlider, interactive

    low, high = min(settings), max(settings)
    slider = FloatSlider(
        value=settings[0], min=low, max=high, step=(high - low) / 40, description=name, continuous_update=False
    )
    return interactive(lambda value: views.attention(words, {label(head): row(value)}, title, alt), value=slider)
