"""A figure of the book: a `View`, which is a picture with the text that says what it shows."""

import base64
import html
import io
import json
import os
from collections.abc import Sequence
from copy import copy
from importlib.resources import files
from importlib.util import find_spec

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from PIL import Image

from ..notebook import glued
from ..stats import array
from .palette import ROLES, STYLE, css

DENSE = 2  # pixels of the file for one of the page: screens of phones and laptops have as many
WORDS = {"textcoords": "offset points", "fontsize": 9, "path_effects": [withStroke(linewidth=2, foreground="white")]}


class View:
    """A finished figure: PNG bytes and the text that describes it to somebody who cannot see it.

    Jupyter, Colab and the built page show the picture with its alt text; PDF and GitHub get the PNG, of few `colours`.
    """

    def __init__(self, figure: Figure, alt: str, colours: int = 128):
        self.alt = " ".join(alt.split())
        self._around = ("", "")
        buffer = io.BytesIO()
        as_file = {"format": "png", "dpi": DENSE * figure.dpi, "metadata": {"Software": None}}
        figure.savefig(buffer, bbox_inches="tight", facecolor="white", **as_file)
        # The default method mixes dark red with dark blue, the two ends of a signed scale.
        image = Image.open(buffer).convert("RGB").quantize(colours, method=Image.Quantize.MAXCOVERAGE)
        image.save(buffer := io.BytesIO(), format="png", optimize=True)
        self.png, self._width = buffer.getvalue(), image.width // DENSE

    def enlivened(self, kind: str, data: dict, library: str = "") -> "View":
        """Return the same picture with the script that replaces it in a browser (see `alive`)."""
        view = copy(self)
        view._around = alive(kind, data, library)
        return view

    def show(self, name: str) -> None:
        """Display the figure under a name by which other pages of the book can show it too (MyST-NB's `glue`)."""
        from IPython.display import display

        display(self, metadata=glued(name))

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        data = base64.b64encode(self.png).decode()
        size = f'width="{self._width}" style="max-width:100%;height:auto"'
        image = f'<img {size} alt="{html.escape(self.alt)}" src="data:image/png;base64,{data}">'
        return {"text/html": image.join(self._around), "image/png": data, "text/plain": f"Figure: {self.alt}"}


def alive(kind: str, data: dict, library: str = "") -> tuple[str, str]:
    """Return the HTML before and after a picture that brings it to life: an element `th-<kind>`, its data, its script.

    The scripts, `live/live.js` (shared by all figures) and `live/<kind>.js`, are inside the element, so it needs no
    other file and no network; without scripts the picture stays. `library` is a script to run before them.
    """
    paths = (files(__package__) / "live" / f"{name}.js" for name in ("live", kind.replace("-", "_")))
    script = f"const ROLES = {json.dumps(css())};\n" + "".join(path.read_text(encoding="utf8") for path in paths)
    # No "<" from a label can end the script element early.
    safe = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", r"\u003c")
    first = f"<script>{library}</script>" if library else ""
    # JupyterLab leaves the keys to elements that say so.
    return f'<figure class="th-live th-{kind}" data-lm-suppress-shortcuts="true" style="margin:0">', (
        f'<script type="application/json">{safe}</script>{first}<script>(() => {{{script}}})();</script></figure>'
    )


def is_live(*libraries: str) -> bool:
    """Tell whether a kernel answers the reader: the libraries are installed and the book (`TH_STATIC`) is not built."""
    return os.environ.get("TH_STATIC", "") in ("", "0") and all(find_spec(name) for name in libraries)


def rounded(values, digits: int = 6):
    """Round numbers to significant digits; return nested lists, which pages ship as JSON."""
    numbers = array(values)
    return [rounded(x, digits) for x in numbers] if numbers.ndim else float(f"{numbers:.{digits}g}") + 0.0  # no −0


def written(value: float) -> str:
    """Write a number with three significant digits and a true minus sign."""
    return f"{value + 0.0:.3g}".replace("-", "−")


def tint(role: str) -> dict[str, str]:
    """Return a role's colour as options of a mark, which carries the role's name: no other mark may have that hue."""
    return {"color": ROLES[role][0], "gid": role}


def spread(wanted: Sequence[float] | np.ndarray, room: float, top: float) -> np.ndarray:
    """Move places apart until `room` lies between neighbours, in their order and none past `top`."""
    order, steps = np.argsort(wanted, kind="stable"), room * np.arange(len(wanted))
    moved = np.maximum.accumulate(np.sort(wanted) - steps) + steps
    return np.minimum(moved, top - steps[::-1])[np.argsort(order)]


def new(width: float, height: float, columns: int = 1, rows: int = 1):
    """Make an empty figure, in inches, and its axes, row by row; panels of one row or column share an axis."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, sharex="col", sharey="row", squeeze=False)
    return figure, list(axes.flat)


def finish(figure: Figure, title: str, alt: str, colours: int = 128) -> View:
    """Put the title on a figure and make its `View`; `alt` describes what the figure shows, `colours` as in `View`."""
    with matplotlib.rc_context(STYLE):
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        for text in figure.findobj(Text):  # a token may hold dollar signs, which would start a formula
            if "$" in text.get_text():
                text.set_parse_math(False)
        return View(figure, alt, colours)
