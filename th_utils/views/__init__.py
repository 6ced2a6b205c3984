"""Static figures in one style; the figures that are alive in a page are in `live`."""

from . import live
from .boards import attention, head_map, heatmap, plane, territories
from .charts import bars, clouds, compare, lines, nth, scatter, strip
from .diagrams import circuit
from .figure import View, finish, new
from .palette import COLOURS, GREY, MARKERS

__all__ = [
    "COLOURS", "GREY", "MARKERS", "View", "attention", "bars", "circuit", "clouds", "compare", "finish", "head_map",
    "heatmap", "lines", "live", "new", "nth", "plane", "scatter", "strip", "territories",
]  # fmt: skip
