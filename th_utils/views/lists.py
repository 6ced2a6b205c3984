"""Figures for lists: numbers by list length and place, clouds coloured by place, and maps of which place is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import BoundaryNorm, ListedColormap

from .._guards import whole
from ..stats import array
from .figure import View, finish, new


def nth(i: int) -> str:
    """The place of item i in words: 0 is "1st"."""
    i = whole("i, a place counted from 0,", i, 0)
    ending = "th" if i % 100 in (10, 11, 12) else {0: "st", 1: "nd", 2: "rd"}.get(i % 10, "th")
    return f"{i + 1}{ending}"


def shades(n: int) -> list:
    """Ordered colours, dark to light, that also differ in grey."""
    return [colormaps["viridis"](x) for x in np.linspace(0, 0.95, max(n, 2))]


def _some(panels: Mapping[str, object]):
    if not panels:
        raise ValueError("panels must hold at least one panel to draw")
    return panels.items()


def _labels(labels, names: Sequence[str], panel: str) -> np.ndarray:
    found = array(labels)
    if not np.isin(found, range(len(names))).all():
        raise ValueError(f"labels of panel {panel!r} must be indices of {len(names)} names, got {np.unique(found)}")
    return found.astype(int)


def heatmap(values, rows: Sequence[str], columns: Sequence[str], title: str, alt: str, unit: str, xlabel: str,
            ylabel: str) -> View:  # fmt: skip
    """A table of shares as a picture: `values[i, j]` in row i and column j, written and shaded; NaN stays empty.

    Raises `ValueError` for other shapes than one row and column a name, and for numbers that are no shares.
    """
    grid = array(values)
    if grid.shape != (len(rows), len(columns)):
        raise ValueError(f"values have shape {grid.shape}, expected ({len(rows)}, {len(columns)}): rows and columns")
    if not grid.size or ((grid < 0) | (grid > 1)).any():
        raise ValueError(f"values must be shares, 0 to 1 or NaN, at least one: got {grid.tolist()}")
    widest = max(0.5, 0.11 * max(map(len, columns)))  # inches: names must not run into each other
    figure, (axis,) = new(max(5.0, 1.8 + widest * len(columns)), 1.3 + 0.42 * len(rows))
    image = axis.imshow(grid, aspect="auto", cmap="Blues", vmin=0, vmax=1)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.set_xticks(range(len(columns)), columns, fontsize=9)
    axis.set_yticks(range(len(rows)), rows)
    for (i, j), value in np.ndenumerate(grid):
        if np.isfinite(value):
            written = f"{value:.2f}".removeprefix("0") if value < 1 else "1"
            colour = "white" if value > 0.6 else "black"
            axis.text(j, i, written, ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(image, ax=axis, label=unit, shrink=0.9)
    return finish(figure, title, alt)


def clouds(panels: Mapping[str, tuple], names: Sequence[str], title: str, alt: str, xlabel: str, ylabel: str) -> View:
    """Clouds of points side by side on the same axes: panel -> (points [n, 2], labels [n]), coloured by ordered label.

    Labels are indices into `names`; every group is drawn with its number at its mean.
    Raises `ValueError` for no panels, points that are not finite or not [n, 2], and other labels.
    """
    panels = {panel: (array(points), _labels(labels, names, panel)) for panel, (points, labels) in _some(panels)}
    for panel, (points, labels) in panels.items():
        if points.shape != (labels.size, 2) or not labels.size or not np.isfinite(points).all():
            raise ValueError(f"panel {panel!r} needs finite points [n, 2], n labels: {points.shape}, {labels.shape}")
    figure, axes = new(2.9 * len(panels), 3.6, len(panels))
    every = np.concatenate([points for points, _ in panels.values()])
    low, high = every.min(0), every.max(0)
    pad = 0.05 * np.maximum(high - low, 1e-9)
    for axis, (panel, (points, labels)) in zip(axes, panels.items(), strict=True):
        colours = shades(int(labels.max()) + 1)
        for i in np.unique(labels):
            mine = points[labels == i]
            axis.scatter(mine[:, 0], mine[:, 1], s=9, color=colours[i], lw=0, alpha=0.8)
        for i in np.unique(labels):
            x, y = points[labels == i].mean(0)
            axis.text(x, y, names[i], fontsize=8, ha="center", va="center",
                      bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": colours[i], "lw": 1.5})  # fmt: skip
        axis.axhline(0, color="black", lw=0.4)
        axis.axvline(0, color="black", lw=0.4)
        axis.set(
            title=panel,
            xlabel=xlabel,
            xlim=(low[0] - pad[0], high[0] + pad[0]),
            ylim=(low[1] - pad[1], high[1] + pad[1]),
        )
    axes[0].set_ylabel(ylabel)
    return finish(figure, title, alt)


def territories(x, y, panels: Mapping[str, object], names: Sequence[str], title: str, alt: str, xlabel: str,
                ylabel: str, marks: Mapping[str, object] | None = None, marked: str = "") -> View:  # fmt: skip
    """Which of a few ordered outcomes wins at every point of a grid.

    `panels`: panel -> labels [len(y), len(x)], indices of `names`. `marks`: panel -> points [n, 2] to mark as diamonds,
    on the edge where they lie outside; `marked` says what they are.
    Raises `ValueError` for no panels, labels of another shape or without a name, marks that are not finite [n, 2].
    """
    panels = {panel: _labels(labels, names, panel) for panel, labels in _some(panels)}
    for panel, labels in panels.items():
        if labels.shape != (len(y), len(x)):
            raise ValueError(f"panel {panel!r} needs labels [{len(y)}, {len(x)}], got {list(labels.shape)}")
    marks = {panel: array(points) for panel, points in (marks or {}).items()}
    for panel, points in marks.items():
        if panel not in panels or points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise ValueError(f"marks need a panel and finite points [n, 2], got {panel!r} with shape {points.shape}")
    figure, axes = new(max(6.0, 1.5 + 3.0 * len(panels)), 3.7, len(panels))
    colours = ListedColormap(shades(len(names)))
    norm = BoundaryNorm(np.arange(len(names) + 1) - 0.5, len(names))
    for axis, (panel, labels) in zip(axes, panels.items(), strict=True):
        image = axis.pcolormesh(array(x), array(y), labels, shading="nearest", cmap=colours, norm=norm)
        axis.set(title=panel, xlabel=xlabel)
        for i in np.unique(labels):
            rows, columns = np.nonzero(labels == i)
            # The cell nearest to the middle of the territory, so that the name lies on its own colour.
            best = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
            axis.text(array(x)[columns[best]], array(y)[rows[best]], names[i], ha="center", va="center", fontsize=8,
                      bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.85})  # fmt: skip
        if panel in marks:
            inside = (np.clip(at, min(ends), max(ends)) for at, ends in zip(marks[panel].T, (x, y), strict=True))
            diamonds = axis.scatter(*inside, s=22, marker="D", color="white", ec="black", lw=0.8, zorder=3)
    axes[0].set_ylabel(ylabel)
    if marks:
        figure.legend([diamonds], [marked], loc="outside lower left", fontsize=8, frameon=False)
    bar = figure.colorbar(image, ax=list(axes), ticks=range(len(names)), shrink=0.9)
    bar.ax.set_yticklabels(names)
    return finish(figure, title, alt)
