"""A slider over ready pictures: training checkpoints, layers, settings."""

import base64
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np

from ..figure import View, rounded


def frame_slider(frames: Mapping[str, View], label: str, start: str | None = None, at: Sequence[Real] | None = None,
                 marks: Mapping[str, Real] | None = None) -> View:  # fmt: skip
    """Show pictures that the reader goes through with a slider, by mouse, touch or arrow keys.

    `frames`: what is written beside the slider ("200") -> the picture; `label`: what they run over ("training step").
    Each picture keeps its own alt text. `start` is the one seen first, and alone where scripts do not run: by default
    the last. `at` says where they stand on the slider, by default at equal distances; `marks` are named ticks there.
    Draw all with the same size and scales. Raises `ValueError` for places that do not rise from frame to frame, and for
    marks outside them.
    """
    names, marks = list(frames), dict(marks or {})
    start, places = names[-1] if start is None else start, np.array(range(len(names)) if at is None else at, float)
    if len(places) != len(names) or not (np.diff(places) > 0).all():
        raise ValueError(f"at must rise from frame to frame, {len(names)} in all, got {places.tolist()}")
    if not all(places[0] <= mark <= places[-1] for mark in marks.values()):
        raise ValueError(f"marks must be between {places[0]:g} and {places[-1]:g}, got {marks}")
    data = {"label": label, "start": names.index(start), "marks": [[m, float(x)] for m, x in marks.items()], "frames": [
        {"name": name, "at": place, "alt": view.alt, "png": base64.b64encode(view.png).decode()}
        for (name, view), place in zip(frames.items(), rounded(places), strict=True)]}  # fmt: skip
    return frames[start].enlivened("frame-slider", data)
