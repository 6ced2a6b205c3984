"""The house style of figures, and the check that every figure passes before it is shown.

Colours are told apart by colour-blind readers (Okabe and Ito's seven, greys, and maps of rising lightness); signed
numbers have a diverging map with zero in its middle; panels share one scale; colour bars and axes say what they show;
the title states the finding, and the alt text says more than the title.
"""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#8a8a8a"
STYLE = {
    "font.size": 10, "axes.titlesize": 11, "axes.titlelocation": "left", "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": False, "legend.frameon": False, "figure.dpi": 110,
    "font.family": "DejaVu Sans",
}  # fmt: skip
RISING, DIVERGING = ("Blues", "Blues_r", "viridis", "cividis"), ("RdBu", "RdBu_r")
_ALLOWED = np.concatenate([[*map(to_rgb, COLOURS)], *(colormaps[name](range(256))[:, :3] for name in RISING)])


def check(figure: Figure, title: str, alt: str) -> None:
    """Raise `ValueError` with everything in which a figure breaks the house style; see the module for the rules.

    `alt` needs at least five words that are not just the title's. Text colours and legends are not looked at.
    """
    wrong = []
    if not title.strip():
        wrong.append("the title must state the finding, got none")
    if len(alt.split()) < 5 or alt.strip() == title.strip():
        wrong.append(f"alt text must state what the figure shows, in at least five words; got {alt!r}")
    axes = [axis for axis in figure.axes if not hasattr(axis, "_colorbar")]
    for axis in axes:
        wrong += [f"{name} axis without a label" for name in ("x", "y", "z") if _is_unnamed(axis, name, axes)]
        wrong += [f"colour {colour} is not of the house: see COLOURS" for colour in _strangers(axis)]
    mapped = [one for axis in axes for one in (*axis.images, *axis.collections) if _has_scale(one)]
    wrong += [problem for one in mapped for problem in _wrong_with(one)]
    if len({(one.cmap.name, *one.get_clim()) for one in mapped}) > 1:
        wrong.append("panels with different colour scales: draw them on one")
    bars = [one.colorbar for one in mapped if one.colorbar is not None]
    if mapped and not any(bar.ax.get_ylabel() or bar.ax.get_xlabel() for bar in bars):
        wrong.append("colours that stand for numbers need a colour bar with its unit")
    if wrong:
        raise ValueError(f"figure {title!r}: " + "; ".join(dict.fromkeys(wrong)))


def _is_unnamed(axis, name: str, axes: list) -> bool:
    """Whether an axis shows plain numbers, and neither it nor a panel of its row or column says of what."""
    one = getattr(axis, f"{name}axis", None)
    if one is None or not axis.axison or not isinstance(one.get_major_formatter(), ScalarFormatter):
        return False  # ticks with names speak for themselves
    if not len(one.get_major_locator()()):
        return False
    side = {"x": "colspan", "y": "rowspan"}.get(name)
    place = side and getattr(axis.get_subplotspec(), side)
    beside = [axis] if side is None else [a for a in axes if getattr(a.get_subplotspec(), side) == place]
    return not any(getattr(a, f"{name}axis").get_label_text() for a in beside)


def _has_scale(one: ScalarMappable) -> bool:
    return one.get_array() is not None and not isinstance(one.norm, BoundaryNorm)  # bounds: a legend of names


def _wrong_with(one: ScalarMappable) -> list[str]:
    values, (low, high) = np.ma.compressed(np.ma.masked_invalid(one.get_array())), one.get_clim()
    if one.cmap.name in DIVERGING:
        wrong = f"a diverging map must have zero in its middle, got {low:g} to {high:g}"
        return [] if np.isclose(low, -high) else [wrong]
    if one.cmap.name not in RISING:
        return [f"colour map {one.cmap.name} is not of the house: {', '.join(RISING + DIVERGING)}"]
    signed = values.size and values.min() < 0 < values.max()
    return ["numbers of both signs need a diverging map with zero in its middle"] if signed else []


def _strangers(axis) -> list[str]:
    plain = [one for one in axis.collections if one.get_array() is None]
    colours = [line.get_color() for line in axis.lines]
    colours += [patch.get_facecolor() for patch in axis.patches if patch.fill]
    colours += [tuple(colour) for one in plain for colour in one.get_facecolor()]
    found = []
    for colour in dict.fromkeys(colours):
        rgb = np.array(to_rgb(colour))
        if np.ptp(rgb) > 0.02 and np.abs(_ALLOWED - rgb).max(1).min() > 0.02:
            found.append("#" + "".join(f"{round(255 * x):02x}" for x in rgb))
    return found
