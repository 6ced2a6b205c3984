"""An attention viewer in the page: for some heads of one prompt, where any token looks, without a kernel or a network.

Attention is shipped as bytes, in 1/255; the picture that is left where scripts do not run shows the last token.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...stats import array
from ..charts import attention_picture
from ..figure import View, finish

STEPS = 255


def attention_viewer(
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
    return finish(attention_picture(tokens, matrix[:, -1], names), title, alt).enlivened("attention-viewer", data)


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
