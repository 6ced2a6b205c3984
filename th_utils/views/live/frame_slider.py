"""A slider over ready pictures: training checkpoints, layers, settings; it needs neither kernel nor network.

The pictures and the script (`frame_slider.js`, no library) stand inside the page element. Where scripts do not run
(PDF, GitHub, an untrusted notebook) one of the pictures is left.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..figure import View

FRAMES = 12
WEIGHT = 300_000  # bytes of all pictures together: a page has several such figures


def frame_slider(frames: Mapping[str, View], label: str, start: str | None = None) -> View:
    """Pictures that the reader goes through with a slider, by mouse, touch or arrow keys.

    `frames`: what is written beside the slider ("200") -> the picture; `label`: what they run over ("training step").
    Each picture keeps its own alt text. `start` is the one seen first, and alone where scripts do not run: by default
    the last. Draw all with the same size and scales, and with few colours (`figure.finish(..., colours=16)`): the
    page carries every one.

    Raises `ValueError` for fewer than 2 or more than 12 frames, empty names, an unknown start, or pictures of more than
    300 kB together.
    """
    if not 2 <= len(frames) <= FRAMES:
        raise ValueError(f"frames must hold 2 to {FRAMES} pictures, got {len(frames)}")
    if not label.strip() or not all(isinstance(name, str) and name.strip() for name in frames):
        raise ValueError(f"the label and every frame need a name, got {label!r} and {list(frames)}")
    start = list(frames)[-1] if start is None else start
    if start not in tuple(frames):
        raise ValueError(f"start must be one of the frames {list(frames)}, got {start!r}")
    weight = sum(len(view.png) for view in frames.values())
    if weight > WEIGHT:
        raise ValueError(f"the pictures weigh {weight // 1000} kB, at most {WEIGHT // 1000}: fewer of them, smaller, "
                         "or with fewer colours (figure.finish(..., colours=16))")  # fmt: skip
    pictures = [
        {"name": name, "alt": view.alt, "png": view._repr_mimebundle_()["image/png"]} for name, view in frames.items()
    ]
    data = {"label": label, "start": list(frames).index(start), "frames": pictures}
    return frames[start].enlivened("frame-slider", data)
