"""An attention viewer: for some heads of one prompt, where any token looks.

Whole patterns are left to circuitsvis, 1.3 MB of script: a page of the built book loads it when a reader asks for it, a
kernel has it in the figure.
"""

import base64
from collections.abc import Sequence
from importlib.resources import files

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...stats import array
from ..boards import attention
from ..figure import View, is_live
from ..palette import ROLES

STEPS = 255  # attention is shipped as bytes
IN_BOOK = "_static/circuitsvis.js"  # from the root of the pages, where tools/build.py puts it


def attention_viewer(tokens: Sequence[str], patterns: Float[Tensor, "heads query key"], names: Sequence[str],
                     title: str, alt: str, start: int = -1, role: str = "mover",
                     whole: bool = False) -> View:  # fmt: skip
    """Show the attention of some heads over one prompt: the reader chooses a head and the token that looks.

    `patterns`: [heads, tokens, tokens], probabilities, shipped in 1/255; `names`: one per head. `start` is the token
    that looks at first, and in the picture; `role` of the palette colours what the heads look at. With `whole` a button
    opens whole patterns in circuitsvis. Raises `ValueError` for patterns of another shape or outside 0 to 1 and for
    other roles, `IndexError` for a start outside the prompt.
    """
    matrix = array(patterns)
    expected = (len(names), len(tokens), len(tokens))
    if matrix.shape != expected:
        raise ValueError(f"patterns must be {expected}, heads by tokens by tokens, got {matrix.shape}")
    if not ((matrix >= 0) & (matrix <= 1 + 1e-4)).all():
        raise ValueError("patterns must be probabilities between 0 and 1")
    if role not in ROLES:
        raise ValueError(f"role must be one of {list(ROLES)}, got {role!r}")
    first, levels = range(len(tokens))[start], np.rint(np.minimum(matrix, 1) * STEPS).astype(np.uint8)
    packed = [base64.b64encode(one.tobytes()).decode() for one in levels]
    heads = [{"name": name, "pattern": pattern} for name, pattern in zip(names, packed, strict=True)]
    data = {"title": title, "tokens": list(tokens), "steps": STEPS, "heads": heads, "start": first, "role": role,
            "source": ("" if is_live() else IN_BOOK) if whole else None}  # fmt: skip
    view = attention(tokens, dict(zip(names, matrix[:, first], strict=True)), title, alt)
    return view.enlivened("attention-viewer", data, bundle() if whole and is_live() else "")


def bundle() -> str:
    """Read circuitsvis' script, which defines the global name `CircuitsVis`, once on a page with several figures."""
    text = (files("circuitsvis") / "dist" / "cdn" / "iife.js").read_text(encoding="utf8")
    return f"if (!window.CircuitsVis) {{{text}\n}}".replace("</script>", r"<\/script>")
