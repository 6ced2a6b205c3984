"""Figures that are alive in a page, without kernel or network; where scripts do not run, their picture stays."""

from ..figure import is_live
from .attention_viewer import attention_viewer
from .channel_playground import channel_playground
from .composition_explorer import composition_explorer
from .frame_slider import frame_slider
from .territory_atlas import territory_atlas
