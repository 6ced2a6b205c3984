"""An attention viewer: for some heads of one prompt, where any token looks."""

import base64
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...stats import array
from ..boards import attention
from ..figure import View

STEPS = 255  # attention is shipped as bytes


def attention_viewer(
    tokens: Sequence[str], patterns: Float[Tensor, "heads query key"], names: Sequence[str], title: str, alt: str
) -> View:
    """Show the attention of some heads over one prompt: the reader chooses a head and the token that looks.

    `patterns`: [heads, tokens, tokens], probabilities, shipped in 1/255; `names`: one per head. The picture shows the
    last token. Raises `ValueError` for patterns of another shape or outside 0 to 1.
    """
    matrix = check_patterns(tokens, patterns, names)
    levels = np.rint(np.minimum(matrix, 1) * STEPS).astype(np.uint8)
    packed = [base64.b64encode(one.tobytes()).decode() for one in levels]
    heads = [{"name": name, "pattern": pattern} for name, pattern in zip(names, packed, strict=True)]
    data = {"title": title, "tokens": list(tokens), "steps": STEPS, "heads": heads}
    last = dict(zip(names, matrix[:, -1], strict=True))
    return attention(tokens, last, title, alt).enlivened("attention-viewer", data)


def check_patterns(tokens: Sequence[str], patterns, names: Sequence[str]) -> np.ndarray:
    """Return patterns as an array; `ValueError` unless they are probabilities [heads, tokens, tokens]."""
    matrix = array(patterns)
    expected = (len(names), len(tokens), len(tokens))
    if matrix.shape != expected:
        raise ValueError(f"patterns must be {expected}, heads by tokens by tokens, got {matrix.shape}")
    if not ((matrix >= 0) & (matrix <= 1 + 1e-4)).all():
        raise ValueError("patterns must be probabilities between 0 and 1")
    return matrix
