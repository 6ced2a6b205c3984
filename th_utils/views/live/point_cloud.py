"""A cloud of points in three dimensions that the reader turns by hand."""

from collections.abc import Sequence
from numbers import Real
from textwrap import fill

import numpy as np
from matplotlib.ticker import MaxNLocator

from ...stats import array
from ..figure import View, finish, new, written
from ..palette import COLOURS, MARKERS

LIMIT = 3000  # points; more would be slow to turn on a phone and heavy on the page
STEPS = 999  # from the middle of the cloud to the end of its longest side: three digits
CAMERA = {"elev": 20, "azim": -60}  # degrees, as START in point_cloud.js


def point_cloud(points, groups, title: str, alt: str, axes: Sequence[str] = ("", "", ""), unit: str = "") -> View:
    """Show points in three dimensions, coloured by group, to turn, to zoom and to sort out by group.

    `points`: [n, 3]; `groups`: one label per point, sorted if they are numbers, otherwise in order of appearance. All
    axes have the same scale, in `unit`; coordinates are rounded to 1/999 of half the longest side. Above 3000 points
    every group is thinned by the same share, at random with a fixed seed, and the figure says so.
    Raises `ValueError` for points that are not finite [n, 3], another number of labels, and more than 49 groups.
    """
    xyz, labels = array(points), list(groups.tolist() if hasattr(groups, "tolist") else groups)
    if xyz.shape != (len(labels), 3) or not np.isfinite(xyz).all():
        raise ValueError(f"points must be finite [n, 3] with one label each, got {xyz.shape} and {len(labels)} labels")
    numeric = all(isinstance(one, Real) for one in labels)
    labels, names = [*map(str, labels)], list(dict.fromkeys(map(str, sorted(labels) if numeric else labels)))
    if len(names) > len(COLOURS) * len(MARKERS):
        raise ValueError(f"{len(names)} groups are too many: {len(COLOURS) * len(MARKERS)} can be told apart")
    members = _thinned({name: np.flatnonzero([one == name for one in labels]) for name in names})
    styles = {name: (COLOURS[i % 7], MARKERS[(i + i // 7) % 7]) for i, name in enumerate(names)}
    shown = sum(map(len, members.values()))
    note = ", ".join([f"Axes in {unit}"] * bool(unit) + [f"{shown} of {len(xyz)} points"] * (shown < len(xyz)))
    low, high = xyz.min(0), xyz.max(0)
    middle, half = (low + high) / 2, float((high - low).max() / 2) or 1.0
    data = {
        "title": title, "alt": " ".join(alt.split()), "note": note, "steps": STEPS,
        "axes": [{"name": name, "ends": [written(a), written(b)], "half": round((b - a) / 2 / half, 3)}
                 for name, a, b in zip(axes, low.tolist(), high.tolist(), strict=True)],
        "groups": [{"name": name, "colour": styles[name][0], "shape": styles[name][1],
                    "points": np.rint((xyz[index] - middle) / half * STEPS).astype(int).ravel().tolist()}
                   for name, index in members.items()],
    }  # fmt: skip
    picture = _picture(xyz, members, styles, axes, half, note)
    return finish(picture, title, alt, colours=64).enlivened("point-cloud", data)


def _thinned(members: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keep the same share of every group, at least one point; at random, because a stride would cut rows of a grid."""
    total = sum(map(len, members.values()))
    if total <= LIMIT:
        return members
    rng = np.random.default_rng(0)
    return {name: np.sort(rng.permutation(one)[: max(1, len(one) * LIMIT // total)]) for name, one in members.items()}


def _picture(xyz, members, styles, axes, half, note):
    figure, (axis,) = new(6.4, 4.0, projection="3d")
    size = np.clip(5000 / sum(map(len, members.values())), 4, 16)
    for name, index in members.items():
        colour, marker = styles[name]
        axis.scatter(*xyz[index].T, s=size, color=colour, marker=marker, lw=0, label=fill(name, 26), depthshade=False)
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
