"""Charts: bars, curves, strips and points that show numbers, and intervals (`stats.Estimate`), by position."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np

from .._guards import whole
from ..stats import Estimate, array
from .boards import shades
from .figure import WORDS, View, finish, new, spread, tint, written
from .palette import DASHES, GREY, INK, INKS, MARKERS, PALE, ROLES


def bars(values: Mapping[str, object], title: str, alt: str, unit: str, baseline: float | None = None,
         baseline_name: str = "", highlight: Sequence[str] = (), role: str = "ink") -> View:  # fmt: skip
    """Draw horizontal bars with intervals, one per name, from top to bottom.

    `baseline` draws a dashed line (chance, no effect) named by `baseline_name`; `highlight` names bars of a role.
    """
    figure, (axis,) = new(7.5, 0.8 + 0.3 * len(values))
    for row, (name, value) in enumerate(values.items()):
        estimate, style = Estimate.of(value), tint(role) if name in highlight else {"color": PALE}
        axis.barh(row, estimate.value, height=0.7, **style)
        if estimate.low < estimate.high:
            axis.plot([estimate.low, estimate.high], [row, row], color="black", lw=1.2)
    axis.set(yticks=range(len(values)), yticklabels=list(values), xlabel=unit, ylim=(len(values) - 0.5, -0.5))
    _mark(axis, {} if baseline is None else {baseline_name: baseline}, {})
    axis.axvline(0, color="black", lw=0.8)
    return finish(figure, title, alt)


def compare(states: Mapping[str, Mapping[str, object]], title: str, alt: str, unit: str,
            roles: Mapping[str, str] | None = None, marks: Mapping[str, float] | None = None,
            hills: tuple[Sequence, Mapping[str, Mapping[str, object]]] | None = None) -> View:  # fmt: skip
    """Draw the same named numbers in several states as dots with intervals, tied to the first state's: dumbbells.

    There is one lane per number, all on one number line, with named `marks`. `roles`: state or mark -> role. `hills`:
    (x, state -> number -> shares), behind dots that are not tied. `ValueError` unless all states hold the same names.
    """
    if len({frozenset(state) for state in states.values()}) != 1:
        raise ValueError(f"every state needs the same numbers, got { {name: [*one] for name, one in states.items()} }")
    names, roles = list(next(iter(states.values()))), roles or {}
    figure, axes = new(6.2, (0.27 * len(states) + 0.4) * len(names) + 0.8, rows=len(names))
    for axis, name in zip(axes, names, strict=True):
        start = Estimate.of(next(iter(states.values()))[name]).value
        for row, (state, numbers) in enumerate(states.items()):
            estimate = Estimate.of(numbers[name])
            if hills:
                axis.fill_between(hills[0], row + 0.42, row + 0.42 - 0.84 * array(hills[1][state][name]), color=PALE)
            else:
                axis.plot([start, estimate.value], [row, row], color=PALE, lw=4, solid_capstyle="butt")
            axis.plot([estimate.low, estimate.high], [row, row], color=INK, lw=1.2)
            style = tint(roles[state]) if state in roles else {"color": INK if row or hills else GREY}
            hollow = {"mfc": "white"} if row and {*roles} & {*states} and state not in roles else {}
            axis.plot(estimate.value, row, "o", ms=8, **style | hollow)
            right = hills or estimate.value >= start
            end, side, align = (estimate.high, 6, "left") if right else (estimate.low, -6, "right")
            axis.annotate(written(estimate.value), (end, row), (side, 0), ha=align, va="center", **WORDS)
        _mark(axis, (marks or {}) | ({} if hills else {"": start}), roles, axis is axes[0])
        axis.set(yticks=range(len(states)), yticklabels=list(states), ylim=(len(states) - 0.5, -0.5))
        axis.tick_params(labelsize=9)
        axis.margins(x=0.18)  # room for the numbers
        axis.set_title(name, fontsize=10, fontweight="bold", loc="left")
    axes[-1].set(xlabel=unit, xlim=(hills[0][0], hills[0][-1]) if hills else None)
    return finish(figure, title, alt)


def _mark(axis, marks: Mapping[str, float], roles: Mapping[str, str], named: bool = True) -> None:
    """Draw vertical lines through a panel, named above it; of two that are close each name keeps to its side."""
    close = 0.3 * np.ptp(axis.get_xlim())
    for name, at in marks.items():
        axis.axvline(at, **({"lw": 2} | tint(roles[name]) if name in roles else {"lw": 1, "ls": "--", "color": GREY}))
        if named:
            others = [other - at for one, other in marks.items() if one and one != name and abs(other - at) < close]
            side = "center" if not others else "right" if max(others) > 0 else "left"
            axis.text(at, 1, name, transform=axis.get_xaxis_transform(), fontsize=9, ha=side, va="bottom",
                      color=ROLES[roles.get(name, "other")][0])  # fmt: skip


def lines(x, series: Mapping[str, object], title: str, alt: str, xlabel: str, ylabel: str = "",
          marks: Mapping[str, float] | None = None, roles: Mapping[str, str] | None = None,
          natural: Mapping[str, object] | None = None, ordered: bool = False) -> View:  # fmt: skip
    """Draw curves over `x` with bands, one per name, which stands at its end; `marks` are named vertical lines.

    A mapping of mappings draws one panel per outer name, on one vertical axis. A name that begins with "_" is not
    written: its curve is thin and belongs to the one before. `roles`: name of a curve or panel -> role, whose colour it
    has; `ordered` curves have one by their place. `natural`: name -> values of `x` that occur by themselves, drawn
    between the panels, which then stand one above the other, named on their own axes; what never occurs is hatched.
    """
    panels = series if isinstance(next(iter(series.values())), Mapping) else {ylabel * bool(natural): series}
    x, roles, across, named = array(x), roles or {}, len(panels), []
    figure, axes = new(6.4, 2.3 * across + 0.8, 1, across) if natural else new(1.8 + 4.6 * across**0.4, 3.4, across)
    for axis, (panel, curves) in zip(axes, panels.items(), strict=True):
        ends, i, colours = [], -1, shades(max(map(len, panels.values())))
        for name, values in curves.items():
            value, low, high = np.array([Estimate.of(v) for v in values]).T
            i, thin, role = i + (name[:1] != "_"), name[:1] == "_", roles.get(name, roles.get(panel))
            style = tint(role) if role else {"color": colours[i] if ordered else INKS[i % 3]}
            axis.plot(x, value, ls=DASHES[i % 4], lw=0.7 if thin else 1.8, alpha=0.6 if thin else 1,
                      marker="" if thin else MARKERS[i % 7], ms=4, label=name, **style)  # fmt: skip
            if (low < high).any() and not thin:
                axis.fill_between(x, low, high, alpha=0.2, lw=0, **style)
            last = np.flatnonzero(np.isfinite(value))
            if name and not thin and last.size:
                ends.append((name, x[last[-1]], value[last[-1]], style["color"]))
        axis.axhline(0, color="black", lw=0.6)
        _mark(axis, marks or {}, roles, axis is axes[0] or not natural)
        if natural:
            _nature(axis, x, natural, axis is axes[0])
        axis.set_title("" if natural else panel, loc="left", pad=16 if marks else 6)
        axis.set_xlabel("" if natural and axis is not axes[-1] else xlabel)
        axis.set_ylabel(panel if natural else ylabel * (axis is axes[0]))
        if not np.mod(x, 1).any():
            axis.xaxis.get_major_locator().set_params(integer=True)
        named.append(ends)
    figure.align_ylabels()
    for axis, ends in zip(axes, named, strict=True):
        if natural or axis is axes[-1] or [name for name, *_ in ends] != [name for name, *_ in named[-1]]:
            _name(axis, ends)
    return finish(figure, title, alt)


def _name(axis, ends: Sequence[tuple]) -> None:
    """Write the names of curves beside their ends, in their order and apart from each other."""
    low, high = axis.get_ylim()
    words = [textwrap.fill(name, 20) for name, *_ in ends]
    room = 0.19 * max(text.count("\n") + 1 for text in [*words, ""]) / (axis.bbox.height / axis.figure.dpi)
    places = spread([(y - low) / (high - low) for *_, y, _ in ends], room, 1.0)
    for text, place, (_, x, y, colour) in zip(words, places, ends, strict=True):
        axis.annotate(text, (x, y), (1.05, place), textcoords="axes fraction", fontsize=9, va="center",
                      color=colour if colour in [light for light, _ in ROLES.values()] else INK,
                      arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.7, "shrinkA": 0})  # fmt: skip


def _nature(axis, x, natural: Mapping[str, object], rugs: bool) -> None:
    """Hatch the settings that nothing has by nature; below the panel, perhaps, a rug of those that something has."""
    axis.set_xlim(x[0], x[-1])
    at, reach = min(x), sorted((min(values), max(values)) for values in map(array, natural.values()))
    for low, high in [*reach, (max(x), max(x))]:
        if low > at + 0.05 * np.ptp(x):
            axis.axvspan(at, low, facecolor="none", edgecolor=ROLES["line"][0], hatch="///", lw=0, zorder=0)
        at = max(at, high)
    if rugs:
        below = axis.inset_axes([0, -0.2, 1, 0.16], sharex=axis)
        for row, values in enumerate(map(array, natural.values())):
            below.plot(values, np.full(len(values), row), "|", ms=8, mew=0.8, alpha=0.5, **tint("message"))
        below.set(yticks=range(len(natural)), yticklabels=[textwrap.fill(name, 20) for name in natural])
        below.set_ylim(len(natural) - 0.5, -0.5)
        below.yaxis.tick_right()
        below.tick_params(length=0, labelsize=8, labelbottom=False, labelcolor=ROLES["message"][0])
        below.spines[:].set_visible(False)


def strip(groups: Mapping[str, object], title: str, alt: str, unit: str, band: tuple[float, float] | None = None,
          labels: Mapping[str, Sequence[str]] | None = None, n_labels: int = 2) -> View:  # fmt: skip
    """Draw one row of dots per group (for instance the components of a head), with the null's range shaded.

    `band`: (low, high) of the null. `labels[group]` names the dots; the `n_labels` highest above the band are written,
    and stand out. Raises `ValueError` for labels that do not match the dots.
    """
    figure, (axis,) = new(8.0, 1.0 + 0.42 * len(groups))
    rng, top = np.random.default_rng(0), band[1] if band else -np.inf
    if band:
        axis.axvspan(*band, color=GREY, alpha=0.25, lw=0)
        axis.text(np.mean(band), 1, "null, 99.9%", transform=axis.get_xaxis_transform(), ha="center", va="bottom")
    for row, (name, values) in enumerate(zip(groups, map(array, groups.values()), strict=True)):
        height = row + rng.uniform(-0.22, 0.22, values.size)
        axis.plot(values, height, ".", ms=5, color=GREY if labels else INK, alpha=0.6)
        if labels and len(labels[name]) != values.size:
            raise ValueError(f"group {name!r} has {values.size} numbers and {len(labels[name])} labels")
        told = [i for i in np.argsort(-values)[:n_labels] if labels and labels[name][i] and values[i] > top]
        axis.plot(values[told], height[told], "o", ms=8, color=INK, mec="white")
        for i in told:
            axis.annotate(labels[name][i], (values[i], height[i]), (4, 6), **WORDS)
    axis.set(yticks=range(len(groups)), yticklabels=list(groups), xlabel=unit, ylim=(len(groups) - 0.5, -0.5))
    return finish(figure, title, alt)


def scatter(groups: Mapping[str, object], title: str, alt: str, xlabel: str, ylabel: str,
            names: Mapping[str, tuple[float, float]] | None = None, roles: Mapping[str, str] | None = None,
            ordered: bool = False) -> View:  # fmt: skip
    """Draw points by group, each `(x, y)`, with its own marker; `names` writes words at points, and rings them.

    A mapping of mappings draws one panel per outer name, on the same axes. `roles`: group -> role, whose colour it
    has; `ordered` groups have a colour by their place and are named at their means, groups of one point beside it.
    """
    panels = groups if isinstance(next(iter(groups.values())), Mapping) else {"": groups}
    figure, axes = new(max(6.5, 2.4 * len(panels)), 3.6 if ordered else 4.4, len(panels))
    for axis in axes[1:]:
        axis.sharex(axes[0])
    for axis, (panel, groups) in zip(axes, panels.items(), strict=True):
        for i, (name, points) in enumerate(groups.items()):
            x, y = map(array, points)
            style = tint(roles[name]) if name in (roles or {}) else {"color": INKS[i % 3]}
            if ordered:
                style = {"color": shades(max(map(len, panels.values())))[i], "s": 10, "alpha": 0.8, "marker": "o"}
                box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": style["color"], "lw": 1.5}
                axis.text(x.mean(), y.mean(), name, fontsize=8, ha="center", va="center", bbox=box)
            size = {"s": 22, "alpha": 0.7}
            if len(x) == 1 and not ordered:
                size = {"s": 90, "alpha": 1, "label": None}
                axis.annotate(name, (*x, *y), (8, -12), **WORDS)
            axis.scatter(x, y, **{"marker": MARKERS[i % 7], "lw": 0.5, "ec": "white", "label": name} | size | style)
        for name, at in (names or {}).items():
            axis.plot(*at, "o", ms=10, mfc="none", color=INK)
            axis.annotate(name, at, (8, 4), **WORDS)
        axis.axhline(0, color="black", lw=0.6)
        axis.set_title(panel, loc="left")
        axis.set(xlabel=xlabel, ylabel=ylabel * (axis is axes[0]))
    keys = {name: mark for axis in axes for mark, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    if keys and len(groups) > 1 and not ordered:
        look = {"ncols": 3, "fontsize": 9, "handletextpad": 0.2, "frameon": False}
        figure.legend(keys.values(), keys, loc="outside lower left", **look)
    return finish(figure, title, alt)


def nth(i: int) -> str:
    """Return the place of item i in words: 0 is "1st"."""
    i = whole("i, a place counted from 0,", i, 0)
    ending = "th" if i % 100 in (10, 11, 12) else {0: "st", 1: "nd", 2: "rd"}.get(i % 10, "th")
    return f"{i + 1}{ending}"
