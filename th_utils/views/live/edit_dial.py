"""A dial for the scales of an edit: live where a kernel runs, over measured settings on a built page."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...stats import Estimate
from ..charts import compare
from ..figure import View, is_live, rounded


def edit_dial(settings: Sequence[Mapping[str, float]],
              measure: Callable[[Mapping[str, float]], Mapping[str, object]], title: str, alt: str,
              stops: int = 3):  # fmt: skip
    """Show what an edit gains and costs while the reader turns its scales.

    `settings` are named scales; the others are compared with the first. `measure` turns named scales into named
    numbers, or `stats.Estimate`; it makes the edit, so the dial knows no model. In Jupyter and Colab this returns an
    ipywidgets object (7 or 8): one slider for each scale that differs between the settings, bars for the first setting
    and the current one, one call of `measure` per turn. When the book is built (`TH_STATIC=1`), or without ipywidgets,
    it returns a `View` of all settings, with dials on the page of `stops` positions each, all combinations measured.
    Raises `ValueError` for settings with other names, without a difference, or with scales that are not finite.
    """
    settings = [{name: float(value) for name, value in setting.items()} for setting in settings]
    first = settings[0]
    if any(set(setting) != set(first) or not np.isfinite([*setting.values()]).all() for setting in settings):
        raise ValueError(f"every setting must have the scales {sorted(first)}, all finite, got {settings}")
    ends = {name: (min(s[name] for s in settings), max(s[name] for s in settings)) for name in first}
    turned = [name for name, (low, high) in ends.items() if low < high]
    if not turned:
        raise ValueError(f"at least one scale must differ between the settings, got {settings}")

    def name_of(setting: dict[str, float]) -> str:
        return "\n".join(f"{name} = {setting[name]:g}" for name in turned)

    start = dict(measure(first))
    if is_live("ipywidgets"):
        from ipywidgets import FloatSlider, interactive

        def show(**scales: float) -> View:
            setting = first | scales
            now = start if setting == first else measure(setting)
            return compare({f"start:\n{name_of(first)}": start, f"now:\n{name_of(setting)}": now}, title, alt)

        return interactive(show, **{
            name: FloatSlider(first[name], min=low, max=high, step=(high - low) / 40, description=name,
                              style={"description_width": "initial"}, continuous_update=False)
            for name, (low, high) in ends.items() if name in turned
        })  # fmt: skip
    states = {name_of(first): start} | {name_of(setting): measure(setting) for setting in settings[1:]}
    if len(states) < len({tuple(setting[name] for name in turned) for setting in settings}):
        raise ValueError("two settings agree in six digits and differ after them: give the scales in other units")
    # Rounding takes off the last bits, by which equal stops of a scale may differ.
    scales = {n: sorted({rounded(x, 12) for x in (first[n], *np.linspace(*ends[n], stops))}) for n in turned}
    grid = [first | dict(zip(scales, values, strict=True)) for values in itertools.product(*scales.values())]
    found = [states.get(name_of(setting)) or measure(setting) for setting in grid]
    return compare(states, title, alt).enlivened("edit-dial", {
        "title": title, "names": list(start),
        "states": [[rounded(Estimate.of(numbers[name]), 4) for name in start] for numbers in found],
        "scales": [{"name": name, "stops": stops, "start": stops.index(rounded(first[name], 12))}
                   for name, stops in scales.items()],
    })  # fmt: skip
