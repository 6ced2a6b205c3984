"""Static figures in the house style; the figures that are alive in a page are in `live`."""

from .charts import attention, bars, circuit, compare, head_map, lines, plane, scatter, strip
from .figure import COLOURS, GREY, MARKERS, View, finish, new
from .lists import clouds, nth, numbers, territories

__all__ = [
    "COLOURS", "GREY", "MARKERS", "View", "attention", "bars", "circuit", "clouds", "compare", "finish", "head_map",
    "lines", "new", "nth", "numbers", "plane", "scatter", "strip", "territories",
]  # fmt: skip
