"""The house style of the book's figures, as a check. Import it in a kernel and `install()` it to check every figure.

A hue stands for one role: a mark that has it carries the role's name (`th.views.tint`). Conditions are greys, told
apart by dashes and marks, and what is ordered has a map of rising lightness. Signed numbers have a diverging map with
zero in its middle; panels share one scale; colour bars and axes say what they show; the title states the finding, and
the alt text says more than the title. th_utils itself draws what a reader asks for.
"""

from __future__ import annotations

import functools
import sys

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from th_utils.views import figure as house
from th_utils.views.palette import PLACES, ROLES

RISING, DIVERGING = ("Blues", "Blues_r", "viridis", "cividis"), ("RdBu", "RdBu_r")
_ORDERED = np.concatenate([[*map(to_rgb, PLACES)], *(colormaps[name](range(256))[:, :3] for name in RISING)])


def install() -> None:
    """Check every figure that is finished from now on, in this process, whoever imports `finish` and when.

    A name that a notebook bound to `finish` before is out of reach: install first.
    """
    plain = house.finish
    if hasattr(plain, "checks_house_style"):
        return

    @functools.wraps(plain)
    def finish(figure, title, alt, *args, **options):
        check(figure, title, alt)
        return plain(figure, title, alt, *args, **options)

    finish.checks_house_style = True
    modules = [module for name, module in sys.modules.items() if f"{name}.".startswith("th_utils.views.")]
    for module in modules:
        for name, value in list(vars(module).items()):
            if value is plain:
                setattr(module, name, finish)


def check(figure: Figure, title: str, alt: str) -> None:
    """Raise `ValueError` listing every breach of the house style; see the module for the rules.

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
        wrong += [f"colour {colour} is not of the house: it stands for no role" for colour in _strange_colours(axis)]
    mapped = [one for axis in axes for one in (*axis.images, *axis.collections) if _has_scale(one)]
    wrong += [breach for one in mapped for breach in _breaches_of_scale(one)]
    if len({(one.cmap.name, *one.get_clim()) for one in mapped}) > 1:
        wrong.append("panels with different colour scales: draw them on one")
    bars = [one.colorbar for one in mapped if one.colorbar is not None]
    if mapped and not any(bar.ax.get_ylabel() or bar.ax.get_xlabel() for bar in bars):
        wrong.append("colours that stand for numbers need a colour bar with its unit")
    if wrong:
        raise ValueError(f"figure {title!r}: " + "; ".join(dict.fromkeys(wrong)))


def _is_unnamed(axis, name: str, axes: list) -> bool:
    """Tell whether an axis shows plain numbers, and neither it nor a panel of its row or column says of what."""
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


def _breaches_of_scale(one: ScalarMappable) -> list[str]:
    values, (low, high) = np.ma.compressed(np.ma.masked_invalid(one.get_array())), one.get_clim()
    if one.cmap.name in DIVERGING:
        breach = f"a diverging map must have zero in its middle, got {low:g} to {high:g}"
        return [] if np.isclose(low, -high) else [breach]
    if one.cmap.name not in RISING:
        return [f"colour map {one.cmap.name} is not of the house: {', '.join(RISING + DIVERGING)}"]
    signed = values.size and values.min() < 0 < values.max()
    return ["numbers of both signs need a diverging map with zero in its middle"] if signed else []


def _strange_colours(axis) -> list[str]:
    """Return the colours, other than greys and ordered ones, of marks that do not carry the name of their role."""
    coloured = [(line, [line.get_color()]) for line in axis.lines]
    coloured += [(patch, [patch.get_facecolor()]) for patch in axis.patches if patch.fill]
    coloured += [(one, [*map(tuple, one.get_facecolor())]) for one in axis.collections if one.get_array() is None]
    found = []
    for rgb, role in dict.fromkeys((to_rgb(colour), mark.get_gid()) for mark, many in coloured for colour in many):
        grey = np.ptp(rgb) <= 0.02 or np.abs(_ORDERED - rgb).max(1).min() <= 0.02
        if not (np.allclose(rgb, to_rgb(ROLES[role][0])) if role in ROLES else grey):
            found.append("#" + "".join(f"{round(255 * x):02x}" for x in rgb))
    return found
