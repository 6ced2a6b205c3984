"""Boards: cells of heads, tokens, list lengths or coordinates whose colour stands for a number or a choice."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.collections import EllipseCollection
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Circle

from ..stats import array
from ..weights.heads import Head, check_head, label
from .figure import View, finish, new, spread, tint, written
from .palette import PLACES, ROLES


def shades(n: int) -> list:
    """Return the colours of n places in a list, dark to light, which also differ in grey; up to 8 they are fixed."""
    return list(PLACES[:n]) if n <= len(PLACES) else [colormaps["viridis"](x) for x in np.linspace(0, 0.95, n)]


def head_map(values, title: str, alt: str, unit: str,
             marks: Sequence[Head] | Mapping[str, Sequence[Head]] = ()) -> View:  # fmt: skip
    """Draw one number per head as a dot, layers across, heads down: the larger the number, the wider the dot.

    `values`: [layers, heads], NaN where there is none, or a mapping of panel name to such arrays, drawn on one scale.
    Layers with next to nothing are folded. `marks`, perhaps as role -> heads, are ringed, and named above their layer.
    Raises `ValueError` for other shapes, infinite numbers and marks outside the model.
    """
    panels = {name: array(v) for name, v in (values.items() if isinstance(values, Mapping) else [("", values)])}
    if len({panel.shape for panel in panels.values()}) != 1 or next(iter(panels.values())).ndim != 2:
        raise ValueError(f"values must be [layers, heads], all of one shape, got {[p.shape for p in panels.values()]}")
    every = np.stack(list(panels.values()))
    if np.isinf(every).any() or np.isnan(every).all():
        raise ValueError(f"values must hold numbers and none that are infinite, got {every.tolist()!s:.80}")
    _, layers, heads = every.shape
    marks = marks if isinstance(marks, Mapping) else {"ink": marks}
    named = {check_head(head, layers, heads): role for role, row in marks.items() for head in row}
    most, signed = np.nanmax(np.abs(every)) or 1.0, bool(np.nanmin(every) < 0 < np.nanmax(every))
    loud = (np.abs(np.nan_to_num(every)).max((0, 2)) > 0.1 * most) | np.isin(range(layers), [h[0] for h in named])
    x = np.cumsum(np.where(loud, 1.0, 0.35))
    columns = {at: sorted(head for head in named if head[0] == at) for at in sorted({at for at, _ in named})}
    places, high = spread(x[[*columns]], 2.0, x[-1] + 1.5), 1.1 * max(map(len, columns.values()), default=0)
    size = max(0.21 * x[-1] + 0.9, 4.5), (0.21 * (heads + high + bool(named)) + 0.6) * len(panels) + 0.6
    figure, axes = new(*size, rows=len(panels))
    for axis, (name, panel) in zip(axes, panels.items(), strict=True):
        axis.vlines(x, -0.5, heads - 0.5, color=ROLES["line"][0], lw=0.6, zorder=0)
        for sign, role in ((1, "towards"), (-1, "against")):
            at, head = np.nonzero(sign * np.nan_to_num(panel) > 0)
            wide = 0.96 * np.abs(panel[at, head]) / most
            axis.add_collection(EllipseCollection(
                wide, wide, 0 * wide, units="xy", offsets=np.column_stack([x[at], head]),
                offset_transform=axis.transData, **tint(role if signed else "ink")))  # fmt: skip
        for (layer, column), place in zip(columns.items(), places, strict=True):
            for row, head in enumerate(reversed(column)):
                role, spot = named[head], (x[layer], head[1])
                axis.plot(*zip(spot, (x[layer], -0.8), (place, -1.3), strict=True), lw=0.8, zorder=0, **tint(role))
                axis.add_patch(Circle(spot, 0.5, fill=False, ec=ROLES[role][0], lw=1.6, clip_on=False))
                axis.text(place, -1.6 - 1.1 * row, label(head), size=8, color=ROLES[role][0], ha="center", va="center",
                          bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": ROLES[role][0]})  # fmt: skip
        axis.set(aspect="equal", ylabel="head", yticks=range(0, heads, 2), xlim=(x[0] - 0.8, x[-1] + 0.8))
        axis.set_ylim(heads - 0.4, -0.6 - high - 0.5 * bool(named))
        ticks = [i for i in range(layers) if not i or loud[i] and (i % 2 == 0 or not loud[i - 1])]
        axis.set_xticks(x[ticks], ticks)
        axis.set_title(name, fontsize=10, loc="left")
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0, labelsize=8)
    key = f"layer\ndot: {unit}, the widest {written(most)}" + "; red above zero, grey below" * signed
    axes[-1].set_xlabel(key, loc="left")
    return finish(figure, title, alt)


def heatmap(values, rows: Sequence[str], columns: Sequence[str], title: str, alt: str, unit: str, xlabel: str,
            ylabel: str, least: float = 0.0) -> View:  # fmt: skip
    """Draw a table of shares: `values[i, j]` in row i and column j, written and shaded; NaN stays empty.

    With `least`, smaller numbers are shaded only and the names of the columns stand aslant.
    Raises `ValueError` unless there is a name for each row and column, and for numbers outside 0 to 1.
    """
    grid = array(values)
    if grid.shape != (len(rows), len(columns)):
        raise ValueError(f"values have shape {grid.shape}, expected ({len(rows)}, {len(columns)}): rows and columns")
    if ((grid < 0) | (grid > 1 + 1e-4)).any():
        raise ValueError(f"values must be shares, 0 to 1 or NaN, got {np.nanmin(grid)} to {np.nanmax(grid)}")
    aslant = min(0.42, max(0.23, 6 / len(columns)))  # inches, so that a prompt fits into a column of text
    widest = aslant if least else max(0.5, 0.11 * max(map(len, columns)))  # names must not run into each other
    figure, (axis,) = new(max(5.0, 1.8 + widest * len(columns)), 1.4 + (0.34 if least else 0.42) * len(rows))
    image = axis.imshow(grid, aspect="auto", cmap="Blues", vmin=0, vmax=1)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.set_xticks(range(len(columns)), columns, fontsize=9, **({"rotation": 60, "ha": "right"} if least else {}))
    axis.set_yticks(range(len(rows)), rows)
    for (i, j), value in np.ndenumerate(grid):
        if value >= least:
            share = f"{value:.2f}".removeprefix("0") if value < 1 else "1"
            axis.text(j, i, share, ha="center", va="center", fontsize=8, color="white" if value > 0.6 else "black")
    figure.colorbar(image, ax=axis, label=unit, shrink=0.9)
    return finish(figure, title, alt)


def territories(x, y, panels: Mapping[str, object], names: Sequence[str], title: str, alt: str, xlabel: str,
                ylabel: str, marks: Mapping[str, object] | None = None, marked: str = "") -> View:  # fmt: skip
    """Draw which of a few ordered outcomes wins at every point of a grid.

    `panels`: panel -> labels [len(y), len(x)], indices of `names`. `marks`: panel -> points [n, 2] to mark as diamonds,
    on the edge where they are outside; `marked` names them in the legend.
    Raises `ValueError` for labels without a name and marks that are not finite or belong to no panel.
    """
    panels = {panel: array(labels) for panel, labels in panels.items()}
    if not all(np.isin(labels, range(len(names))).all() for labels in panels.values()):  # −1 would be the last
        raise ValueError(f"labels must be indices of {len(names)} names, got {panels!s:.200}")
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
            axis.text(x[columns[best]], y[rows[best]], names[int(i)], ha="center", va="center", fontsize=8, bbox=box)
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
    return heatmap(found, list(rows), tokens, title, alt, "attention probability", "", "", least=0.1)
