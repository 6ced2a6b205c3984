"""A cloud of points in three dimensions, to be turned by hand: the picture, and a page element that draws the same.

The element needs neither kernel nor network: its numbers and its script (`point_cloud.js`, no library) stand inside
it. Where scripts do not run (PDF, GitHub, an untrusted notebook) the picture is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from textwrap import fill

import numpy as np
from matplotlib.ticker import MaxNLocator

from ...stats import array
from ..figure import COLOURS, MARKERS, View, finish, new

LIMIT = 3000  # points; more would be slow to turn on a phone and heavy on the page
STEPS = 999  # from the middle of the cloud to the end of its longest side: three digits
CAMERA = {"elev": 20, "azim": -60}  # degrees, as START in cloud.js


def point_cloud(
    points,
    groups,
    title: str,
    alt: str,
    axes: Sequence[str] = ("", "", ""),
    unit: str = "",
) -> View:
    """Points in three dimensions, coloured by group, that the reader can turn, zoom and sort out by group.

    `points`: [n, 3]; `groups`: one label per point, sorted if they are numbers, otherwise in order of appearance. All
    axes have the same scale, in `unit`. On the page, coordinates are rounded to 1/999 of half the longest side. Above
    3000 points every group is thinned by the same share, at random with a fixed seed, and the figure says so.

    Raises `ValueError` for other shapes, NaN or infinite points, labels that do not fit the points, are empty or make
    more groups than there are pairs of colour and shape (49), and anything but three axis names.
    """
    xyz, labels = array(points, "points"), [getattr(one, "item", lambda one=one: one)() for one in groups]
    if xyz.ndim != 2 or xyz.shape[1] != 3 or not len(xyz):
        raise ValueError(f"points must be [n, 3] with at least one row, got shape {xyz.shape}")
    if not np.isfinite(xyz).all():
        row = int(np.flatnonzero(~np.isfinite(xyz).all(1))[0])
        raise ValueError(f"points holds NaN or infinite numbers, first in row {row}: {xyz[row].tolist()}")
    if len(labels) != len(xyz):
        raise ValueError(f"groups must hold one label per point: {len(xyz)} points, {len(labels)} labels")
    if len(axes) != 3 or not all(isinstance(name, str) for name in axes):
        raise ValueError(f"axes must be three names, got {axes!r}")
    numeric = all(isinstance(one, Real) for one in labels)
    names = list(dict.fromkeys(map(str, sorted(labels) if numeric else labels)))
    if not all(name.strip() for name in names):
        raise ValueError("groups holds an empty label: every group needs a name, it is written on its button")
    most = len(COLOURS) * len(MARKERS)
    if len(names) > most:
        raise ValueError(f"groups holds {len(names)} different labels, at most {most} can be told apart")
    members = _thinned([np.flatnonzero(np.array([str(one) == name for one in labels])) for name in names])
    shown = sum(map(len, members))
    parts = [f"Axes in {unit}"] * bool(unit) + [f"{shown} of {len(xyz)} points"] * (shown < len(xyz))
    return _finish(xyz, dict(zip(names, members, strict=True)), title, alt, axes, ", ".join(parts))


def _thinned(members: list[np.ndarray]) -> list[np.ndarray]:
    """The same share of every group, at least one point; random, because a stride would cut rows out of a grid."""
    total = sum(map(len, members))
    if total <= LIMIT:
        return members
    rng = np.random.default_rng(0)
    return [np.sort(rng.permutation(one)[: max(1, len(one) * LIMIT // total)]) for one in members]


def _finish(
    xyz: np.ndarray, members: dict[str, np.ndarray], title: str, alt: str, axes: Sequence[str], note: str
) -> View:
    low, high = xyz.min(0), xyz.max(0)
    middle, half = (low + high) / 2, float((high - low).max() / 2) or 1.0
    styles = {name: (COLOURS[i % 7], MARKERS[(i + i // 7) % 7]) for i, name in enumerate(members)}
    data = {
        "title": title,
        "alt": " ".join(alt.split()),
        "note": note,
        "steps": STEPS,
        "axes": [
            {"name": name, "ends": [_number(a), _number(b)], "half": round((b - a) / 2 / half, 3)}
            for name, a, b in zip(axes, low.tolist(), high.tolist(), strict=True)
        ],
        "groups": [
            {"name": name, "colour": styles[name][0], "shape": styles[name][1],
             "points": np.rint((xyz[index] - middle) / half * STEPS).astype(int).ravel().tolist()}
            for name, index in members.items()
        ],
    }  # fmt: skip
    picture = _picture(xyz, members, styles, axes, half, note)
    return finish(picture, title, alt, colours=64).enlivened("point-cloud", data)


def _picture(xyz, members, styles, axes, half, note):
    figure, (axis,) = new(6.4, 4.0, projection="3d")
    size = np.clip(5000 / sum(map(len, members.values())), 4, 16)
    for name, index in members.items():
        colour, marker = styles[name]
        label = fill(name, 26)
        axis.scatter(*xyz[index].T, s=size, color=colour, marker=marker, lw=0, label=label, depthshade=False)
    middle = (xyz.min(0) + xyz.max(0)) / 2
    reach = np.maximum((xyz.max(0) - xyz.min(0)) / 2, half / 20) * 1.03
    for letter, name, centre, side in zip("xyz", axes, middle, reach, strict=True):
        axis.set(**{f"{letter}label": name, f"{letter}lim": (centre - side, centre + side)})
        getattr(axis, f"{letter}axis").set_major_locator(MaxNLocator(2 + int(4 * side / half)))
    axis.set_box_aspect(reach, zoom=0.95)
    axis.view_init(**CAMERA)
    axis.tick_params(labelsize=7, pad=0)
    legend = figure.legend(loc="outside right center", fontsize=8, title=note or None, title_fontsize=8, frameon=False)
    for handle in legend.legend_handles:
        handle.set_sizes([20])
    return figure


def _number(value: float) -> str:
    return f"{value + 0.0:.3g}".replace("-", "−")
