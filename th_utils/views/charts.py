"""Figures in the book's house style: one call, one picture with a title that states the finding and an alt text.

Every function returns a `View`. Jupyter, Colab and the built page show it as an image with its alt text; other
readers (PDF, GitHub) get the PNG. Colours are colour-blind safe, signed quantities use a diverging map centred at
zero, and the unit stands on the axis or colour bar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.patheffects import withStroke

from .._guards import whole
from ..stats import array
from ..weights.heads import check_head, label
from .figure import COLOURS, GREY, MARKERS, View, finish, new


def head_map(values, title: str, alt: str, unit: str, marks: Sequence[tuple[int, int]] = ()) -> View:
    """One number per head as a map, layers across, heads down; `marks` are outlined and labelled.

    `values`: [layers, heads], or a mapping of panel name to such arrays, drawn on one common scale. Signed values get
    a diverging map centred at zero.
    """
    panels = {name: array(v) for name, v in (values.items() if isinstance(values, Mapping) else [("", values)])}
    shapes = [panel.shape for panel in panels.values()]
    seen = all(np.isfinite(p).any() and not np.isinf(p).any() for p in panels.values())
    if not panels or len(set(shapes)) > 1 or len(shapes[0]) != 2 or not seen:
        raise ValueError(f"values must be [layers, heads], one shape, some not NaN, none infinite; got {shapes}")
    marks = [check_head(head, *shapes[0]) for head in marks]
    stacked = np.concatenate([p.ravel() for p in panels.values()])
    low, high = np.nanmin(stacked), np.nanmax(stacked)
    if low < 0 < high:
        limit = max(-low, high)
        norm, cmap = TwoSlopeNorm(0, -limit, limit), "RdBu_r"
    else:
        norm, cmap = Normalize(min(low, 0), max(high, 0)), "Blues" if high > 0 else "Blues_r"
    layers, n_heads = next(iter(panels.values())).shape
    figure, axes = new(8.5, (0.9 + 0.19 * n_heads) * len(panels) + 0.6, rows=len(panels))
    for axis, (name, panel) in zip(axes, panels.items(), strict=True):
        image = axis.imshow(panel.T, aspect="auto", norm=norm, cmap=cmap, interpolation="nearest")
        axis.set(title=name, ylabel="head", yticks=range(0, n_heads, 2))
        axis.set_xticks(range(0, layers, 5 if layers > 12 else 1))
        for i, (layer, head) in enumerate(marks):
            axis.add_patch(
                matplotlib.patches.Rectangle((layer - 0.5, head - 0.5), 1, 1, fill=False, ec="black", lw=1.6)
            )
            side = -1 if layer > layers / 2 else 1
            axis.annotate(
                label((layer, head)),
                (layer, head),
                (side * (10 + 4 * (i % 3)), 0),
                textcoords="offset points",
                ha="right" if side < 0 else "left",
                va="center",
                fontsize=7,
                path_effects=[withStroke(linewidth=2, foreground="white")],
            )
    axes[-1].set_xlabel("layer")
    figure.colorbar(image, ax=list(axes), label=unit, shrink=0.9)
    return finish(figure, title, alt)


def bars(
    values: Mapping[str, object],
    title: str,
    alt: str,
    unit: str,
    baseline: float | None = None,
    baseline_name: str = "",
    highlight: Sequence[str] = (),
) -> View:
    """Horizontal bars with intervals: numbers or `stats.Estimate` by name, drawn from top to bottom.

    `baseline` draws a dashed line (chance, no effect) named by `baseline_name`.
    """  # fmt: skip
    values.items()
    figure, (axis,) = new(7.5, 0.8 + 0.3 * len(values))
    for row, (name, value) in enumerate(values.items()):
        middle = getattr(value, "value", value)
        colour = COLOURS[1] if name in highlight else COLOURS[0]
        axis.barh(row, middle, color=colour, height=0.7)
        if hasattr(value, "low"):
            axis.plot([value.low, value.high], [row, row], color="black", lw=1.2)
    axis.set(yticks=range(len(values)), yticklabels=list(values), xlabel=unit)
    axis.invert_yaxis()
    if baseline is not None:
        axis.axvline(baseline, color=GREY, ls="--", lw=1, label=baseline_name)
        if baseline_name:
            axis.legend(loc="lower right", fontsize=8)
    axis.axvline(0, color="black", lw=0.8)
    return finish(figure, title, alt)


def compare(states: Mapping[str, Mapping[str, object]], title: str, alt: str) -> View:
    """The same named numbers in several states: one panel per number on its own scale, one bar per state.

    Numbers may be `stats.Estimate`, drawn with their intervals. A dashed line continues the first state, drawn grey.
    Raises `ValueError` when there is no state or the states do not hold the same names.
    """
    if not states:
        raise ValueError("states is empty: give at least one state and its numbers")
    names = list(next(iter(states.values())))
    if not names or any(set(state) != set(names) for state in states.values()):
        given = "; ".join(f"{name}: {', '.join(numbers)}" for name, numbers in states.items())
        raise ValueError(f"every state needs the same numbers, at least one; got {given}")
    height = 0.3 + 0.15 * max(name.count("\n") for name in states)
    figure, axes = new(max(6.0, 1.8 + 2.0 * len(names)), 1.2 + height * len(states), len(names))
    for axis, name in zip(axes, names, strict=True):
        for row, value in enumerate(state[name] for state in states.values()):
            middle = getattr(value, "value", value)
            axis.barh(row, middle, color=COLOURS[0] if row else GREY, height=0.7)
            if hasattr(value, "low"):
                axis.plot([value.low, value.high], [row, row], color="black", lw=1.2)
            right = middle >= 0
            end = getattr(value, "high" if right else "low", middle)
            axis.annotate(f"{middle:.3g}".replace("-", "−"), (end, row), (3 if right else -3, 0), fontsize=8,
                          textcoords="offset points", ha="left" if right else "right", va="center",
                          path_effects=[withStroke(linewidth=2, foreground="white")])  # fmt: skip
            if row == 0:
                axis.axvline(middle, color="black", ls="--", lw=0.8)
        axis.axvline(0, color="black", lw=0.8)
        axis.set(xlabel=name, yticks=range(len(states)), yticklabels=list(states))
        axis.set_ylim(len(states) - 0.5, -0.5)
        axis.tick_params(labelsize=8)
        axis.margins(x=0.4)  # room for the numbers
    return finish(figure, title, alt)


def lines(
    x,
    series: Mapping[str, object],
    title: str,
    alt: str,
    xlabel: str,
    ylabel: str,
    marks: Mapping[str, float] | None = None,
) -> View:
    """Curves with bands. Each series is a list of numbers or of `stats.Estimate` over `x`; `marks` are vertical lines.

    A mapping of mappings draws one panel per outer name, with the same axes; panels with the same names share a
    legend.
    """
    series.items()
    panels = series if isinstance(next(iter(series.values())), Mapping) else {"": series}
    lengths = {name: len(values) for curves in panels.values() for name, values in curves.items()}
    if not len(x) or set(lengths.values()) != {len(x)}:
        raise ValueError(f"series must hold {len(x)} numbers each, one for each x, at least one: got {lengths}")
    figure, axes = new(4.2 * max(len(panels), 1.7), 3.4, len(panels))
    for axis, (panel, curves) in zip(axes, panels.items(), strict=True):
        for i, (name, values) in enumerate(curves.items()):
            middle = [getattr(v, "value", v) for v in values]
            axis.plot(x, middle, color=COLOURS[i % 7], marker=MARKERS[i % 7], ms=4, lw=1.6, label=name)
            if hasattr(values[0], "low"):
                axis.fill_between(x, [v.low for v in values], [v.high for v in values], color=COLOURS[i % 7], alpha=0.2)
        for name, at in (marks or {}).items():
            axis.axvline(at, color=GREY, ls="--", lw=1)
            axis.annotate(
                name, (at, 1), xycoords=("data", "axes fraction"), fontsize=8, color=GREY, ha="center", va="bottom"
            )
        axis.axhline(0, color="black", lw=0.6)
        axis.set(xlabel=xlabel, title=panel)
        if all(float(value).is_integer() for value in x):
            axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel(ylabel)
    several = len({tuple(curves) for curves in panels.values()}) > 1
    for axis in axes if several else axes[-1:]:
        axis.legend(fontsize=8)
    return finish(figure, title, alt)


def strip(
    groups: Mapping[str, object],
    title: str,
    alt: str,
    unit: str,
    band: tuple[float, float] | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    n_labels: int = 2,
) -> View:
    """One row of dots per group (for instance the components of a head), with the null's range shaded.

    `band`: (low, high) of the null. `labels[group]` names the dots; the `n_labels` highest outside it are written.
    """
    groups = {name: array(values, "groups") for name, values in groups.items()}
    if labels is not None and {n: len(v) for n, v in labels.items()} != {n: v.size for n, v in groups.items()}:
        raise ValueError("labels and groups must have the same names, a label for every number")
    n_labels = whole("n_labels", n_labels, 0)
    figure, (axis,) = new(8.0, 1.0 + 0.42 * len(groups))
    rng = np.random.default_rng(0)
    if band:
        axis.axvspan(*band, color=GREY, alpha=0.25, lw=0, label="null, 99.9%")
        axis.legend(loc="lower right", fontsize=8)
    for row, (name, values) in enumerate(groups.items()):
        axis.plot(values, row + rng.uniform(-0.22, 0.22, values.size), ".", ms=5, color=COLOURS[row % 7], alpha=0.8)
        if labels:
            for i in np.argsort(-values)[:n_labels]:
                if band is None or values[i] > band[1]:
                    axis.annotate(labels[name][i], (values[i], row), (4, 6), textcoords="offset points", fontsize=8)
    axis.set(yticks=range(len(groups)), yticklabels=list(groups), xlabel=unit, ylim=(len(groups) - 0.5, -0.5))
    return finish(figure, title, alt)


def scatter(
    groups: Mapping[str, tuple],
    title: str,
    alt: str,
    xlabel: str,
    ylabel: str,
    names: Mapping[str, tuple[float, float]] | None = None,
) -> View:
    """Points by group, each `(x, y)`; colour and marker differ between groups; `names` writes words at points."""
    sizes = {name: [array(part).shape for part in pair] for name, pair in groups.items()}
    if any(len(pair) != 2 or pair[0] != pair[1] for pair in sizes.values()):
        raise ValueError(f"groups must hold pairs (x, y) of one length, got {sizes}")
    figure, (axis,) = new(6.5, 4.4)
    for i, (name, (x, y)) in enumerate(groups.items()):
        axis.scatter(array(x), array(y), s=18, color=COLOURS[i % 7], marker=MARKERS[i % 7], alpha=0.7, lw=0, label=name)
    for name, at in (names or {}).items():
        axis.annotate(name, at, (5, 4), textcoords="offset points", fontsize=8)
    axis.axhline(0, color="black", lw=0.6)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    if len(groups) > 1:
        axis.legend(fontsize=8)
    return finish(figure, title, alt)


def attention(tokens: Sequence[str], rows: Mapping[str, object], title: str, alt: str) -> View:
    """Attention of a few heads from one position to the tokens of a prompt: one row per head, one cell per token."""
    found = [array(v) for _, v in rows.items()]
    if any(row.ndim != 1 or len(row) < len(tokens) for row in found) or not all(isinstance(t, str) for t in tokens):
        raise ValueError(f"tokens must be texts and rows hold a number for each of the {len(tokens)}")
    matrix = np.stack([row[: len(tokens)] for row in found])
    return finish(attention_picture(tokens, matrix, list(rows)), title, alt)


def circuit(columns: Mapping[str, Sequence[tuple[int, int]]], edges: Sequence[tuple], title: str, alt: str) -> View:
    """The circuit as a graph: one column per role, one node per head, edges `(sender, receiver, strength)`.

    Line width grows with the absolute strength; blue edges help the answer, orange ones work against it. A node
    may also be a string such as "logits".
    """
    nodes = [node for _, some in columns.items() for node in some]
    for edge in edges:
        if len(edge) != 3 or not set(edge[:2]) <= set(nodes) or not np.isfinite(edge[2]):
            raise ValueError(f"edges must be (sender, receiver, strength) between nodes of the columns, got {edge}")
    figure, (axis,) = new(9.0, 1.2 + 0.55 * max(len(nodes) for nodes in columns.values()))
    places = {}
    for x, (role, nodes) in enumerate(columns.items()):
        axis.text(x, 0.75, role, ha="center", va="bottom", fontsize=9, fontweight="bold")
        for i, node in enumerate(nodes):
            y = -i - (max(len(n) for n in columns.values()) - len(nodes)) / 2
            places[node] = (x, y)
            name = node if isinstance(node, str) else label(node)
            axis.text(x, y, name, ha="center", va="center", fontsize=10, zorder=3,
                      bbox={"boxstyle": "round,pad=0.35", "fc": "white", "ec": "black"})  # fmt: skip
    largest = max([abs(s) for *_, s in edges] + [1e-9])
    for sender, receiver, strength in edges:
        (x0, y0), (x1, y1) = places[sender], places[receiver]
        axis.annotate("", (x1 - 0.16, y1), (x0 + 0.16, y0), zorder=1, arrowprops={
            "arrowstyle": "-|>", "lw": 0.6 + 4 * abs(strength) / largest, "alpha": 0.75,
            "color": COLOURS[0] if strength >= 0 else COLOURS[1], "connectionstyle": "arc3,rad=0.04"})  # fmt: skip
    axis.set(xlim=(-0.5, len(columns) - 0.5), ylim=(min(y for _, y in places.values()) - 0.7, 1.3))
    axis.axis("off")
    return finish(figure, title, alt)


def plane(x, y, values, title: str, alt: str, xlabel: str, ylabel: str, unit: str) -> View:
    """A quantity over a grid of two coordinates: `values[i, j]` at `(x[j], y[i])`, zero-centred when signed."""
    x, y, grid = array(x, "x"), array(y, "y"), array(values)
    if x.ndim != 1 or y.ndim != 1 or grid.shape != (y.size, x.size) or not np.isfinite(grid).any():
        raise ValueError(f"values must be [y, x] = {[y.size, x.size]}, some of them finite, got {list(grid.shape)}")
    limit = np.nanmax(np.abs(grid))
    signed = np.nanmin(grid) < 0 < np.nanmax(grid)
    figure, (axis,) = new(6.2, 4.6)
    image = axis.pcolormesh(x, y, grid, shading="nearest", cmap="RdBu_r" if signed else "Blues",
                            vmin=-limit if signed else None, vmax=limit if signed else None)  # fmt: skip
    axis.set(xlabel=xlabel, ylabel=ylabel)
    figure.colorbar(image, ax=axis, label=unit)
    return finish(figure, title, alt)


def attention_picture(tokens: Sequence[str], rows: np.ndarray, names: Sequence[str]):
    """Attention from one position to the tokens of a prompt: one row per head, one cell per token."""
    figure, (axis,) = new(max(6.0, 0.52 * len(tokens) + 1.6), 1.5 + 0.34 * len(names))
    image = axis.imshow(rows, aspect="auto", cmap="Blues", vmin=0, vmax=1)
    axis.set(yticks=range(len(names)), yticklabels=names)
    axis.set_xticks(range(len(tokens)), tokens, rotation=60, ha="right", fontsize=9)
    for (row, column), value in np.ndenumerate(rows):
        if value >= 0.1:
            axis.text(column, row, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=7,
                      color="white" if value > 0.55 else "black")  # fmt: skip
    figure.colorbar(image, ax=axis, label="attention probability", shrink=0.9)
    return figure
