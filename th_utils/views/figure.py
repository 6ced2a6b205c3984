"""What every figure of the book is: a `View`, a picture with the text that says what it shows, in the house style."""

from __future__ import annotations

import base64
import html
import io
import json
from copy import copy
from importlib.resources import files

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from ..notebook import glued
from . import palette
from .palette import COLOURS, GREY, MARKERS, STYLE

__all__ = ["COLOURS", "GREY", "MARKERS", "View", "alive", "finish", "new"]


class View:
    """A finished figure: PNG bytes and the text that says what it shows to somebody who cannot see it.

    `enlivened` gives the figure that comes alive in a browser; the image is what is seen where scripts do not run.
    `colours` limits the palette: a quarter of the bytes, for pictures without gradients.
    """

    def __init__(self, figure: Figure, alt: str, colours: int | None = None):
        self.alt = " ".join(alt.split())
        self._around = ("", "")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", bbox_inches="tight", facecolor="white", metadata={"Software": None})
        if colours is not None:
            # The default method mixes dark red with dark blue, the two ends of a signed scale.
            image = Image.open(buffer).convert("RGB").quantize(colours, method=Image.Quantize.MAXCOVERAGE)
            buffer = io.BytesIO()
            image.save(buffer, format="png", optimize=True)
        self.png = buffer.getvalue()

    def enlivened(self, kind: str, data: dict, library: str = "") -> View:
        """The same picture, brought to life in a page (see `alive`)."""
        view = copy(self)
        view._around = alive(kind, data, library)
        return view

    def save(self, path) -> None:
        """Write the PNG to a file."""
        with open(path, "wb") as file:
            file.write(self.png)

    def show(self, name: str) -> None:
        """Display the figure under a name by which other pages of the book can show it too (MyST-NB's `glue`)."""
        from IPython.display import display

        display(self, metadata=glued(name))

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        data = base64.b64encode(self.png).decode()
        alt = html.escape(self.alt, quote=True)
        image = f'<img style="max-width:100%" alt="{alt}" src="data:image/png;base64,{data}">'
        return {
            "text/html": image.join(self._around),
            "image/png": data,
            "text/plain": f"Figure: {self.alt}",
        }


def alive(kind: str, data: dict, library: str = "") -> tuple[str, str]:
    """HTML around a figure's picture that brings it to life: an element `th-<kind>`, its data, its script.

    The scripts, `live/live.js` (what all figures share) and `live/<kind>.js`, stand inside the element, so it
    needs no other file and no network; without scripts the picture is left. `library` is a script to run before them.
    """
    live = files(__package__) / "live"
    script = "".join((live / f"{name}.js").read_text(encoding="utf8") for name in ("live", kind.replace("-", "_")))
    # No "<" from a label can end the script element early.
    safe = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", r"\u003c")
    # JupyterLab leaves the keys to elements that say so.
    before = f'<figure class="th-live th-{kind}" data-lm-suppress-shortcuts="true" style="margin:0">'
    first = f"<script>{library}</script>" if library else ""
    return before, (
        f'<script type="application/json">{safe}</script>{first}<script>(() => {{{script}}})();</script></figure>'
    )


def new(width: float, height: float, columns: int = 1, rows: int = 1, projection: str | None = None):
    """An empty figure in inches and its axes, row by row; panels of one row share their vertical axis."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        share = "row" if projection is None else False
        axes = figure.subplots(rows, columns, sharey=share, squeeze=False, subplot_kw={"projection": projection})
    return figure, list(axes.flat)


def finish(figure: Figure, title: str, alt: str, colours: int | None = None) -> View:
    """Put the title on and make the `View`. Raises `ValueError` for a figure that breaks the house style."""
    palette.check(figure, title, alt)
    with matplotlib.rc_context(STYLE):
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        for text in figure.findobj(Text):  # a token may hold dollar signs, which would start a formula
            if "$" in text.get_text():
                text.set_parse_math(False)
        return View(figure, alt, colours)
