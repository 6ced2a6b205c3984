"""Static figures in the house style; the figures that are alive in a page are in `live`."""

from . import live  # noqa: E402, I001 - its figures are drawn with the charts above
from .charts import attention, bars, circuit, compare, head_map, lines, plane, scatter, strip
from .figure import COLOURS, GREY, MARKERS, View, finish, new
from .lists import clouds, heatmap, nth, territories

__all__ = [
    "COLOURS", "GREY", "MARKERS", "View", "attention", "bars", "circuit", "clouds", "compare", "finish", "head_map",
    "lines", "live", "new", "heatmap", "nth", "plane", "scatter", "strip", "territories",
]  # fmt: skip
