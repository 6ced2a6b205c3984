"""Figures to play with where a kernel runs, and a picture of the same where none does.

In Jupyter and Colab these return live objects (ipywidgets 7 or 8). With `TH_STATIC=1`, which the book's
build sets, or without ipywidgets, they return the `View` that says the same: nothing on the built pages
waits for a kernel or for the network.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec

import numpy as np

from ..charts import compare
from ..figure import View


def is_live(*libraries: str) -> bool:
    """Whether to return something interactive: the libraries are there and the book is not being built."""
    return os.environ.get("TH_STATIC", "") in ("", "0") and all(find_spec(name) for name in libraries)


def edit_dial(
    settings: Sequence[Mapping[str, float]],
    measure: Callable[[Mapping[str, float]], Mapping[str, object]],
    title: str,
    alt: str,
    stops: int = 3,
):
    """Turn the scales of an edit and watch what it gains and what it costs.

    `settings` are named scales, all with the same names; the first is what the others are compared with. `measure`
    turns named scales into named numbers (accuracy, attention to the answer, loss in nats) or `stats.Estimate`s;
    it makes the edit, so the dial knows no model. Where a kernel runs there is one slider for each scale that differs
    between the settings, over the range it has there, and bars for the first setting and the one in hand; every turn
    of a slider calls `measure` once. Otherwise a picture of all settings, with dials on the page that have `stops`
    positions each: all their combinations are measured when the page is built.

    Raises `ValueError` for fewer than two settings or stops, settings with other names, without a difference or with
    NaN or infinite scales, and when `measure` returns no numbers, other names than before, or NaN or infinite numbers.
    """
    if isinstance(stops, bool) or not isinstance(stops, int | np.integer) or stops < 2:
        raise ValueError(f"stops must be a whole number, at least 2, got {stops!r}")
    if isinstance(settings, Mapping) or not all(isinstance(setting, Mapping) for setting in settings):
        raise ValueError(f"settings must be a list of named scales, got {settings!r}")
    if len(settings) < 2:
        raise ValueError(f"settings must hold at least two settings to turn between, got {list(settings)}")
    _check_finite(settings[0], "the setting")
    first = {name: float(value) for name, value in settings[0].items()}
    for setting in settings:
        if set(setting) != set(first):
            raise ValueError(f"every setting must have the scales {sorted(first)}, got {sorted(setting)}")
        _check_finite(setting, "the setting")
    ends = {name: (min(s[name] for s in settings), max(s[name] for s in settings)) for name in first}
    turned = [name for name, (low, high) in ends.items() if low < high]
    if not turned:
        raise ValueError(f"all settings are the same, {first}: at least one scale must differ")

    def measured(setting: Mapping[str, float]) -> dict[str, object]:
        numbers = measure(first | setting)
        _check_finite(numbers, f"measure({first | setting})")
        if not numbers or set(numbers) != set(names or numbers):
            raise ValueError(f"measure must return the same named numbers every time, {names}; got {sorted(numbers)}")
        return dict(numbers)

    def name_of(setting: Mapping[str, float]) -> str:
        return "\n".join(f"{name} = {float(setting[name]):g}" for name in turned)

    names: list[str] = []
    start = measured(first)
    names += start
    if not is_live("ipywidgets"):
        states = {name_of(s): measured({n: float(v) for n, v in s.items()}) for s in settings[1:]}
        states = {name_of(first): start} | states
        exact = {tuple(float(setting[n]) for n in turned) for setting in settings}
        if len({name_of(setting) for setting in settings}) < len(exact):
            raise ValueError("two settings agree in six digits and differ after them: give the scales in other units")
        scales = {n: sorted({_digits(x) for x in (first[n], *np.linspace(*ends[n], stops))}) for n in turned}
        found = []
        for values in itertools.product(*scales.values()):
            setting = dict(zip(scales, values, strict=True))
            numbers = states[name] if (name := name_of(setting)) in states else measured(setting)
            found.append([[float(f"{x:.4g}") for x in _ends(numbers[name])] for name in names])
        return compare(states, title, alt).enlivened("edit-dial", {
            "title": title, "names": names, "states": found,
            "scales": [{"name": n, "stops": s, "start": s.index(_digits(first[n]))} for n, s in scales.items()],
        })  # fmt: skip
    from ipywidgets import FloatSlider, interactive

    def show(**setting: float) -> View:
        now = start if all(setting[name] == first[name] for name in turned) else measured(setting)
        return compare({f"start:\n{name_of(first)}": start, f"now:\n{name_of(setting)}": now}, title, alt)

    sliders = {
        name: FloatSlider(value=first[name], min=low, max=high, step=(high - low) / 40, description=name,
                          style={"description_width": "initial"}, continuous_update=False)
        for name, (low, high) in ends.items() if name in turned
    }  # fmt: skip
    return interactive(show, **sliders)


def _ends(number: object) -> tuple:
    """Value, low and high of a number or an estimate."""
    value = getattr(number, "value", number)
    return value, getattr(number, "low", value), getattr(number, "high", value)


def _digits(x: float) -> float:
    """Without the last bits, by which equal stops of a scale may differ."""
    return float(f"{x:.12g}")


def _check_finite(numbers: Mapping[str, object], source: str) -> None:
    if not isinstance(numbers, Mapping):
        raise ValueError(f"{source} must be named numbers, got {numbers!r}")
    bad = {name: value for name, value in numbers.items() if not _is_finite(value)}
    if bad:
        raise ValueError(f"{source} holds NaN or infinite numbers: {bad}")


def _is_finite(number: object) -> bool:
    """Of a number, or of an estimate and both its ends; anything else is not."""
    try:
        return all(math.isfinite(x) for x in _ends(number))
    except TypeError:
        return False
