"""Static figures in one style; the figures that are alive in a page are in `live`."""

from . import live
from .boards import attention, head_map, heatmap, territories
from .charts import bars, compare, lines, nth, scatter, strip
from .diagrams import Drawing, floors
from .figure import View, finish, new, tint
from .palette import COLOURS, GREY, MARKERS, ROLES
