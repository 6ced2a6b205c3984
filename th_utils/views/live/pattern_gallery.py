"""A gallery of whole attention patterns: small maps side by side, drawn by circuitsvis.

Kinds of heads are recognised at a glance: a previous-token head by a line beside the diagonal, a head at rest by a
column. circuitsvis takes 1.3 MB of script: a page of the built book loads it on demand, a kernel has it in the figure.
"""

from collections.abc import Sequence
from importlib.resources import files

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..figure import View, finish, is_live, new
from .attention_viewer import check_patterns

IN_BOOK = "_static/circuitsvis.js"  # from the root of the pages, where tools/build.py puts it


def pattern_gallery(
    tokens: Sequence[str], patterns: Float[Tensor, "heads query key"], names: Sequence[str], title: str, alt: str
) -> View:
    """Show whole patterns of some heads: choose a small map to enlarge it, point at a cell for its value.

    `patterns`: [heads, tokens, tokens], shipped with three digits; `names`: one per head. Raises as `attention_viewer`.
    """
    matrix = check_patterns(tokens, patterns, names)
    shipped = {"tokens": list(tokens), "names": list(names), "patterns": matrix.round(3).tolist()}
    data = {"title": title, **shipped, "source": "" if is_live() else IN_BOOK}
    view = finish(_picture(tokens, matrix, names), title, alt)
    return view.enlivened("pattern-gallery", data, bundle() if is_live() else "")


def bundle() -> str:
    """Read circuitsvis' script, which defines the global name `CircuitsVis`, once on a page with several figures."""
    text = (files("circuitsvis") / "dist" / "cdn" / "iife.js").read_text(encoding="utf8")
    return f"if (!window.CircuitsVis) {{{text}\n}}".replace("</script>", r"<\/script>")


def _picture(tokens: Sequence[str], matrix: np.ndarray, names: Sequence[str]):
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure, axes = new(2.6 * columns + 1.2, 2.6 * rows + 0.6, columns, rows)
    for axis, name, pattern in zip(axes, names, matrix, strict=False):
        image = axis.imshow(pattern, cmap="Blues", vmin=0, vmax=1)
        axis.set_title(name, fontsize=9)
        axis.set(xticks=[], xlabel="looked at")
        axis.set_yticks(range(len(tokens)), tokens, fontsize=6)
    for axis in axes[len(names) :]:
        axis.remove()
    figure.colorbar(image, ax=list(axes[: len(names)]), label="attention probability", shrink=0.8)
    return figure
