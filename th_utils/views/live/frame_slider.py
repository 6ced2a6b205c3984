"""A slider over ready pictures: training checkpoints, layers, settings."""

import base64
from collections.abc import Mapping

from ..figure import View


def frame_slider(frames: Mapping[str, View], label: str, start: str | None = None) -> View:
    """Show pictures that the reader goes through with a slider, by mouse, touch or arrow keys.

    `frames`: what is written beside the slider ("200") -> the picture; `label`: what they run over ("training step").
    Each picture keeps its own alt text. `start` is the one seen first, and alone where scripts do not run: by default
    the last. Draw all with the same size and scales.
    """
    start = list(frames)[-1] if start is None else start
    pictures = [{"name": n, "alt": v.alt, "png": base64.b64encode(v.png).decode()} for n, v in frames.items()]
    data = {"label": label, "start": list(frames).index(start), "frames": pictures}
    return frames[start].enlivened("frame-slider", data)
