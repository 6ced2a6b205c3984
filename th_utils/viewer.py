"""An attention viewer in the page: for some heads of one prompt, where any token looks, without a kernel or a network.

Attention is shipped as bytes, in 1/255; the picture that is left where scripts do not run shows the last token.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from .figure import View, finish, new
from .stats import array

STEPS = 255


def viewer(
    tokens: Sequence[str], patterns: Float[Tensor, "heads query key"], names: Sequence[str], title: str, alt: str
) -> View:
    """Attention of some heads over one prompt: choose a head and a token, and see where it looks.

    `patterns`: [heads, tokens, tokens], probabilities; `names`: one per head. Raises `ValueError` when they do
    not fit each other, are no texts, or when a pattern is not between 0 and 1.
    """
    matrix = check_patterns(tokens, patterns, names)
    levels = np.rint(np.minimum(matrix, 1) * STEPS).astype(np.uint8)
    data = {
        "title": title, "tokens": list(tokens), "steps": STEPS,
        "heads": [{"name": name, "pattern": base64.b64encode(one.tobytes()).decode()}
                  for name, one in zip(names, levels, strict=True)],
    }  # fmt: skip
    return finish(picture(tokens, matrix[:, -1], names), title, alt).enlivened("viewer", data)


def check_patterns(tokens: Sequence[str], patterns, names: Sequence[str]) -> np.ndarray:
    """Patterns [heads, tokens, tokens] as an array, or the `ValueError` of `viewer`."""
    matrix = array(patterns, "patterns")
    if not len(names) or matrix.shape != (len(names), len(tokens), len(tokens)):
        raise ValueError(
            f"patterns must be [{len(names)} heads, {len(tokens)}, {len(tokens)} tokens], got {matrix.shape}"
        )
    if not len(tokens) or not all(isinstance(text, str) for text in (*tokens, *names)):
        raise ValueError("tokens and names must be texts, at least one each: see token_strings and label")
    if not ((matrix >= 0) & (matrix <= 1 + 1e-4)).all():
        raise ValueError("patterns must be probabilities between 0 and 1")
    return matrix


def picture(tokens: Sequence[str], rows: np.ndarray, names: Sequence[str]):
    """Attention from one position to the tokens of a prompt: one row per head, one cell per token."""
    figure, (axis,) = new(max(6.0, 0.52 * len(tokens) + 1.6), 1.5 + 0.34 * len(names))
    image = axis.imshow(rows, aspect="auto", cmap="Blues", vmin=0, vmax=1)
    axis.set(yticks=range(len(names)), yticklabels=names)
    axis.set_xticks(range(len(tokens)), tokens, rotation=60, ha="right", fontsize=9)
    for (row, column), value in np.ndenumerate(rows):
        if value >= 0.1:
            axis.text(column, row, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=7,
                      color="white" if value > 0.55 else "black")  # fmt: skip
    figure.colorbar(image, ax=axis, label="attention probability", shrink=0.9)
    return figure
