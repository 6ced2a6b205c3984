"""Charts: bars, curves, strips and points that show numbers, and intervals (`stats.Estimate`), by position."""

from collections.abc import Mapping, Sequence

import numpy as np

from .._guards import whole
from ..stats import Estimate, array
from .boards import check_labels, shades
from .figure import HALO, View, finish, new, written
from .palette import COLOURS, GREY, MARKERS


def bars(values: Mapping[str, object], title: str, alt: str, unit: str, baseline: float | None = None,
         baseline_name: str = "", highlight: Sequence[str] = ()) -> View:  # fmt: skip
    """Draw horizontal bars with intervals, one per name, from top to bottom.

    `baseline` draws a dashed line (chance, no effect) named by `baseline_name`; bars in `highlight` get a colour.
    """
    figure, (axis,) = new(7.5, 0.8 + 0.3 * len(values))
    for row, (name, value) in enumerate(values.items()):
        _bar(axis, row, Estimate.of(value), COLOURS[1] if name in highlight else COLOURS[0])
    axis.set(yticks=range(len(values)), yticklabels=list(values), xlabel=unit)
    axis.invert_yaxis()
    if baseline is not None:
        axis.axvline(baseline, color=GREY, ls="--", lw=1, label=baseline_name)
        if baseline_name:
            axis.legend(loc="lower right", fontsize=8)
    axis.axvline(0, color="black", lw=0.8)
    return finish(figure, title, alt)


def _bar(axis, row: int, estimate: Estimate, colour: str) -> None:
    axis.barh(row, estimate.value, color=colour, height=0.7)
    if estimate.low < estimate.high:
        axis.plot([estimate.low, estimate.high], [row, row], color="black", lw=1.2)


def compare(states: Mapping[str, Mapping[str, object]], title: str, alt: str, dots: bool = False) -> View:
    """Draw the same named numbers in several states: one panel per number on its own scale, one bar per state.

    A dashed line continues the first state, drawn grey. `dots` draws dots instead, tied to that line: dumbbells, for
    numbers whose distance from zero says little. Raises `ValueError` unless all states hold the same names.
    """
    if len({frozenset(state) for state in states.values()}) != 1:
        raise ValueError(f"every state needs the same numbers, got { {name: [*one] for name, one in states.items()} }")
    names = list(next(iter(states.values())))
    first = {name: Estimate.of(value).value for name, value in next(iter(states.values())).items()}
    height = 0.3 + 0.15 * max(name.count("\n") for name in states)
    figure, axes = new(max(6.0, 1.8 + 2.0 * len(names)), 1.2 + height * len(states), len(names))
    for axis, name in zip(axes, names, strict=True):
        for row, state in enumerate(states.values()):
            estimate = Estimate.of(state[name])
            if dots:
                axis.plot([first[name], estimate.value], [row, row], color=GREY, lw=2)
                axis.plot([estimate.low, estimate.high], [row, row], color="black", lw=1.2)
                axis.plot(estimate.value, row, "o", ms=8, color=COLOURS[0] if row else GREY)
            else:
                _bar(axis, row, estimate, COLOURS[0] if row else GREY)
            end, side, align = (estimate.high, 3, "left") if estimate.value >= 0 else (estimate.low, -3, "right")
            axis.annotate(written(estimate.value), (end, row), (side * (1 + dots), 0), fontsize=8, ha=align,
                          va="center", textcoords="offset points", path_effects=HALO)  # fmt: skip
            if row == 0:
                axis.axvline(estimate.value, color="black", ls="--", lw=0.8)
        if not dots:
            axis.axvline(0, color="black", lw=0.8)
        axis.set(xlabel=name, yticks=range(len(states)), yticklabels=list(states))
        axis.set_ylim(len(states) - 0.5, -0.5)
        axis.tick_params(labelsize=8)
        axis.margins(x=0.4)  # room for the numbers
    return finish(figure, title, alt)


def lines(x, series: Mapping[str, object], title: str, alt: str, xlabel: str, ylabel: str,
          marks: Mapping[str, float] | None = None, places: bool = False) -> View:  # fmt: skip
    """Draw curves over `x` with bands, one per name; `marks` are named vertical lines.

    With `places` the curves are those of places in a list, in order, and have their colours.

    A mapping of mappings draws one panel per outer name, on one vertical axis; panels of the same names share a legend.
    """
    panels = series if isinstance(next(iter(series.values())), Mapping) else {"": series}
    figure, axes = new(4.2 * max(len(panels), 1.7), 3.4, len(panels))
    for axis, (panel, curves) in zip(axes, panels.items(), strict=True):
        colours = shades(len(curves)) if places else COLOURS
        for i, (name, values) in enumerate(curves.items()):
            value, low, high = np.array([Estimate.of(v) for v in values]).T
            axis.plot(x, value, color=colours[i % len(colours)], marker=MARKERS[i % 7], ms=4, lw=1.6, label=name)
            if (low < high).any():
                axis.fill_between(x, low, high, color=colours[i % len(colours)], alpha=0.2)
        for name, at in (marks or {}).items():
            axis.axvline(at, color=GREY, ls="--", lw=1)
            across = axis.get_xaxis_transform()
            axis.text(at, 1, name, transform=across, fontsize=8, color=GREY, ha="center", va="bottom")
        axis.axhline(0, color="black", lw=0.6)
        axis.set(xlabel=xlabel, title=panel)
        if all(float(value).is_integer() for value in x):
            axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel(ylabel)
    several = len({tuple(curves) for curves in panels.values()}) > 1
    for axis in axes if several else axes[-1:]:
        axis.legend(fontsize=8)
    return finish(figure, title, alt)


def strip(groups: Mapping[str, object], title: str, alt: str, unit: str, band: tuple[float, float] | None = None,
          labels: Mapping[str, Sequence[str]] | None = None, n_labels: int = 2) -> View:  # fmt: skip
    """Draw one row of dots per group (for instance the components of a head), with the null's range shaded.

    `band`: (low, high) of the null. `labels[group]` names the dots; the `n_labels` highest above the band are written.
    Raises `ValueError` for labels that do not match the dots.
    """
    groups = {name: array(values) for name, values in groups.items()}
    figure, (axis,) = new(8.0, 1.0 + 0.42 * len(groups))
    rng = np.random.default_rng(0)
    if band:
        axis.axvspan(*band, color=GREY, alpha=0.25, lw=0, label="null, 99.9%")
        axis.legend(loc="lower right", fontsize=8)
    for row, (name, values) in enumerate(groups.items()):
        axis.plot(values, row + rng.uniform(-0.22, 0.22, values.size), ".", ms=5, color=COLOURS[row % 7], alpha=0.8)
        if labels and len(labels[name]) != values.size:
            raise ValueError(f"group {name!r} has {values.size} numbers and {len(labels[name])} labels")
        for i in np.argsort(-values)[:n_labels] if labels else ():
            if band is None or values[i] > band[1]:
                axis.annotate(labels[name][i], (values[i], row), (4, 6), textcoords="offset points", fontsize=8)
    axis.set(yticks=range(len(groups)), yticklabels=list(groups), xlabel=unit, ylim=(len(groups) - 0.5, -0.5))
    return finish(figure, title, alt)


def scatter(groups: Mapping[str, object], title: str, alt: str, xlabel: str, ylabel: str,
            names: Mapping[str, tuple[float, float]] | None = None) -> View:  # fmt: skip
    """Draw points by group, each `(x, y)`, with its own colour and marker; `names` writes words at points."""
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


def clouds(panels: Mapping[str, tuple], names: Sequence[str], title: str, alt: str, xlabel: str, ylabel: str) -> View:
    """Draw clouds of points side by side on the same axes, coloured by ordered label and named at their means.

    `panels`: panel -> (points [n, 2], labels [n]), labels as indices of `names`; `ValueError` for others.
    """
    panels = {name: (array(points), check_labels(labels, names, name)) for name, (points, labels) in panels.items()}
    for name, (points, labels) in panels.items():
        if points.shape != (labels.size, 2):
            raise ValueError(f"panel {name!r} needs points [n, 2] and n labels, got {points.shape} and {labels.shape}")
    figure, axes = new(2.9 * len(panels), 3.6, len(panels))
    every = np.concatenate([points for points, _ in panels.values()])
    low, high = every.min(0), every.max(0)
    pad = 0.05 * np.maximum(high - low, 1e-9)
    for axis, (panel, (points, labels)) in zip(axes, panels.items(), strict=True):
        colours = shades(int(labels.max()) + 1)
        for i in np.unique(labels):
            axis.scatter(*points[labels == i].T, s=9, color=colours[i], lw=0, alpha=0.8)
        for i in np.unique(labels):
            box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": colours[i], "lw": 1.5}
            axis.text(*points[labels == i].mean(0), names[i], fontsize=8, ha="center", va="center", bbox=box)
        axis.axhline(0, color="black", lw=0.4)
        axis.axvline(0, color="black", lw=0.4)
        xlim, ylim = zip(low - pad, high + pad, strict=True)
        axis.set(title=panel, xlabel=xlabel, xlim=xlim, ylim=ylim)
    axes[0].set_ylabel(ylabel)
    return finish(figure, title, alt)


def nth(i: int) -> str:
    """Return the place of item i in words: 0 is "1st"."""
    i = whole("i, a place counted from 0,", i, 0)
    ending = "th" if i % 100 in (10, 11, 12) else {0: "st", 1: "nd", 2: "rd"}.get(i % 10, "th")
    return f"{i + 1}{ending}"
