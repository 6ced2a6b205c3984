"""Whole attention patterns of some heads over one prompt, as small maps side by side, in circuitsvis' viewer.

The pattern of a previous-token head is a line beside the diagonal, that of a head at rest a column: kinds of heads are
seen at a glance here, where `viewer` tells what one token looks at. circuitsvis draws in the browser and takes 1.3 MB
of script. In the built book every page loads it once, from the book itself; in a kernel it stands inside the figure.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.resources import files

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..figure import View, finish, new
from .attention_viewer import check_patterns

IN_BOOK = "_static/circuitsvis.js"  # from the root of the pages, where tools/build.py puts it


def pattern_gallery(
    tokens: Sequence[str], patterns: Float[Tensor, "heads query key"], names: Sequence[str], title: str, alt: str
) -> View:
    """Whole patterns of some heads: a small map for each; choose one for its large map, point at a cell for its value.

    `patterns`: [heads, tokens, tokens], probabilities, shipped with three digits; `names`: one per head. Raises
    `ValueError` when they do not fit each other, are no texts, or when a pattern is not between 0 and 1.
    """
    matrix = check_patterns(tokens, patterns, names)
    static = os.environ.get("TH_STATIC", "") not in ("", "0")
    data = {
        "title": title, "tokens": list(tokens), "names": list(names), "patterns": matrix.round(3).tolist(),
        "source": IN_BOOK if static else "",
    }  # fmt: skip
    view = finish(_picture(tokens, matrix, names), title, alt)
    return view.enlivened("pattern-gallery", data, "" if static else bundle())


def bundle() -> str:
    """circuitsvis' script, which defines the global name `CircuitsVis`."""
    text = (files("circuitsvis") / "dist" / "cdn" / "iife.js").read_text(encoding="utf8")
    return text.replace("</script>", r"<\/script>")


def _picture(tokens: Sequence[str], matrix: np.ndarray, names: Sequence[str]):
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure, axes = new(2.6 * columns + 1.2, 2.6 * rows + 0.6, columns, rows)
    for axis, name, pattern in zip(axes, names, matrix, strict=False):
        image = axis.imshow(pattern, cmap="Blues", vmin=0, vmax=1)
        axis.set_title(name, fontsize=9)
        axis.set(xticks=[], yticks=range(len(tokens)), xlabel="looked at")
        axis.set_yticklabels(tokens, fontsize=6)
    for axis in axes[len(names) :]:
        axis.remove()
    figure.colorbar(image, ax=list(axes[: len(names)]), label="attention probability", shrink=0.8)
    return figure
