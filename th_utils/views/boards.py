"""Boards: cells of heads, tokens, list lengths or coordinates whose colour stands for a number or a choice."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Rectangle

from ..stats import array
from ..weights.heads import check_head, label
from .figure import HALO, View, finish, new
from .palette import PLACES


def shades(n: int) -> list:
    """Return the colours of n places in a list, dark to light, which also differ in grey; up to 8 they are fixed."""
    return list(PLACES[:n]) if n <= len(PLACES) else [colormaps["viridis"](x) for x in np.linspace(0, 0.95, n)]


def check_labels(labels, names: Sequence[str], panel: str) -> np.ndarray:
    """Return labels as integers; `ValueError` unless each is the index of a name (−1 would take the last one)."""
    found = array(labels)
    if not np.isin(found, range(len(names))).all():
        raise ValueError(f"labels of panel {panel!r} must be indices of {len(names)} names, got {np.unique(found)}")
    return found.astype(int)


def _diverging(values: np.ndarray) -> dict | None:
    """Return a colour scale with zero in its middle for numbers of both signs, None for others; refuse infinity."""
    if np.isinf(values).any() or np.isnan(values).all():
        raise ValueError(f"values must hold numbers and none that are infinite, got {values.tolist()!s:.80}")
    low, high = np.nanmin(values), np.nanmax(values)
    limit = max(-low, high)
    return {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if low < 0 < high else None


def head_map(values, title: str, alt: str, unit: str, marks: Sequence[tuple[int, int]] = ()) -> View:
    """Draw one number per head as a map, layers across, heads down; `marks` are outlined and labelled.

    `values`: [layers, heads], NaN where there is none, or a mapping of panel name to such arrays, drawn on one scale.
    Raises `ValueError` for other shapes, infinite numbers and marks outside the model.
    """
    panels = {name: array(v) for name, v in (values.items() if isinstance(values, Mapping) else [("", values)])}
    shapes = {panel.shape for panel in panels.values()}
    if [len(shape) for shape in shapes] != [2]:
        raise ValueError(f"values must be [layers, heads], all of one shape, got {[p.shape for p in panels.values()]}")
    ((layers, heads),) = shapes
    every = np.stack(list(panels.values()))
    low, high = min(np.nanmin(every), 0), max(np.nanmax(every), 0)
    colours = _diverging(every) or {"cmap": "Blues" if high > 0 else "Blues_r", "vmin": low, "vmax": high}
    figure, axes = new(8.5, (0.9 + 0.19 * heads) * len(panels) + 0.6, rows=len(panels))
    for axis, (name, panel) in zip(axes, panels.items(), strict=True):
        image = axis.imshow(panel.T, aspect="auto", interpolation="nearest", **colours)
        axis.set(title=name, ylabel="head", yticks=range(0, heads, 2), xticks=range(0, layers, 5 if layers > 12 else 1))
        for i, mark in enumerate(marks):
            layer, head = check_head(mark, layers, heads)
            axis.add_patch(Rectangle((layer - 0.5, head - 0.5), 1, 1, fill=False, ec="black", lw=1.6))
            side, align = (-1, "right") if layer > layers / 2 else (1, "left")
            axis.annotate(label((layer, head)), (layer, head), (side * (10 + 4 * (i % 3)), 0), fontsize=7, ha=align,
                          va="center", textcoords="offset points", path_effects=HALO)  # fmt: skip
    axes[-1].set_xlabel("layer")
    figure.colorbar(image, ax=list(axes), label=unit, shrink=0.9)
    return finish(figure, title, alt)


def heatmap(values, rows: Sequence[str], columns: Sequence[str], title: str, alt: str, unit: str, xlabel: str,
            ylabel: str) -> View:  # fmt: skip
    """Draw a table of shares: `values[i, j]` in row i and column j, written and shaded; NaN stays empty.

    Raises `ValueError` unless there is a name for each row and column, and for numbers outside 0 to 1.
    """
    grid = array(values)
    if grid.shape != (len(rows), len(columns)):
        raise ValueError(f"values have shape {grid.shape}, expected ({len(rows)}, {len(columns)}): rows and columns")
    if ((grid < 0) | (grid > 1)).any():
        raise ValueError(f"values must be shares, 0 to 1 or NaN, got {np.nanmin(grid)} to {np.nanmax(grid)}")
    widest = max(0.5, 0.11 * max(map(len, columns)))  # inches: names must not run into each other
    figure, (axis,) = new(max(5.0, 1.8 + widest * len(columns)), 1.3 + 0.42 * len(rows))
    image = axis.imshow(grid, aspect="auto", cmap="Blues", vmin=0, vmax=1)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.set_xticks(range(len(columns)), columns, fontsize=9)
    axis.set_yticks(range(len(rows)), rows)
    for (i, j), value in np.ndenumerate(grid):
        if np.isfinite(value):
            written = f"{value:.2f}".removeprefix("0") if value < 1 else "1"
            axis.text(j, i, written, ha="center", va="center", fontsize=8, color="white" if value > 0.6 else "black")
    figure.colorbar(image, ax=axis, label=unit, shrink=0.9)
    return finish(figure, title, alt)


def territories(x, y, panels: Mapping[str, object], names: Sequence[str], title: str, alt: str, xlabel: str,
                ylabel: str, marks: Mapping[str, object] | None = None, marked: str = "") -> View:  # fmt: skip
    """Draw which of a few ordered outcomes wins at every point of a grid.

    `panels`: panel -> labels [len(y), len(x)], indices of `names`. `marks`: panel -> points [n, 2] to mark as diamonds,
    on the edge where they are outside; `marked` names them in the legend.
    Raises `ValueError` for labels without a name and marks that are not finite or belong to no panel.
    """
    panels = {panel: check_labels(labels, names, panel) for panel, labels in panels.items()}
    marks = {panel: array(points) for panel, points in (marks or {}).items()}
    if not set(marks) <= set(panels) or not all(np.isfinite(points).all() for points in marks.values()):
        raise ValueError(f"marks must be finite points in the panels {list(panels)}, got {marks}")
    x, y = array(x), array(y)
    figure, axes = new(max(6.0, 1.5 + 3.0 * len(panels)), 3.7, len(panels))
    colours, norm = ListedColormap(shades(len(names))), BoundaryNorm(np.arange(len(names) + 1) - 0.5, len(names))
    box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.85}
    for axis, (panel, labels) in zip(axes, panels.items(), strict=True):
        image = axis.pcolormesh(x, y, labels, shading="nearest", cmap=colours, norm=norm)
        axis.set(title=panel, xlabel=xlabel)
        for i in np.unique(labels):
            rows, columns = np.nonzero(labels == i)
            # The cell nearest to the middle of the territory, so that the name lies on its own colour.
            best = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
            axis.text(x[columns[best]], y[rows[best]], names[i], ha="center", va="center", fontsize=8, bbox=box)
        if panel in marks:
            inside = (np.clip(at, ends.min(), ends.max()) for at, ends in zip(marks[panel].T, (x, y), strict=True))
            diamonds = axis.scatter(*inside, s=22, marker="D", color="white", ec="black", lw=0.8, zorder=3)
    axes[0].set_ylabel(ylabel)
    if marks:
        figure.legend([diamonds], [marked], loc="outside lower left", fontsize=8, frameon=False)
    figure.colorbar(image, ax=list(axes), ticks=range(len(names)), shrink=0.9).ax.set_yticklabels(names)
    return finish(figure, title, alt)


def attention(tokens: Sequence[str], rows: Mapping[str, object], title: str, alt: str) -> View:
    """Draw the attention of a few heads from one position: one row per head, one cell per token.

    `rows`: head name -> attention [seq]; what follows the last of `tokens` (padding) is left out.
    Raises `ValueError` for a row with fewer numbers than tokens.
    """
    found = np.stack([array(row)[: len(tokens)] for row in rows.values()])
    if found.shape != (len(rows), len(tokens)):
        raise ValueError(f"rows must hold a number for each of the {len(tokens)} tokens, got {found.shape}")
    return finish(attention_rows(tokens, found, list(rows)), title, alt)


def attention_rows(tokens: Sequence[str], rows: np.ndarray, names: Sequence[str]):
    """Draw attention [heads, tokens], probabilities, as a matplotlib figure without a title."""
    figure, (axis,) = new(max(6.0, 0.52 * len(tokens) + 1.6), 1.5 + 0.34 * len(names))
    image = axis.imshow(rows, aspect="auto", cmap="Blues", vmin=0, vmax=1)
    axis.set(yticks=range(len(names)), yticklabels=names)
    axis.set_xticks(range(len(tokens)), tokens, rotation=60, ha="right", fontsize=9)
    for (row, column), value in np.ndenumerate(rows):
        if value >= 0.1:
            colour = "white" if value > 0.55 else "black"
            axis.text(column, row, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(image, ax=axis, label="attention probability", shrink=0.9)
    return figure
