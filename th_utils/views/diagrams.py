"""Diagrams: heads as nodes and what they pass to each other as arrows."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..weights.heads import label
from .figure import View, finish, new
from .palette import COLOURS


def circuit(columns: Mapping[str, Sequence[tuple[int, int]]], edges: Sequence[tuple], title: str, alt: str) -> View:
    """Draw a circuit as a graph: one column per role, one node per head, edges `(sender, receiver, strength)`.

    Line width grows with the absolute strength; blue edges help the answer, orange ones work against it. A node
    may also be a string such as "logits". Raises `ValueError` for a strength that is not finite.
    """
    if not all(np.isfinite(strength) for *_, strength in edges):
        raise ValueError(f"edges must be (sender, receiver, finite strength), got {edges}")
    tallest = max(len(nodes) for nodes in columns.values())
    figure, (axis,) = new(9.0, 1.2 + 0.55 * tallest)
    places = {}
    for x, (role, nodes) in enumerate(columns.items()):
        axis.text(x, 0.75, role, ha="center", va="bottom", fontsize=9, fontweight="bold")
        for i, node in enumerate(nodes):
            places[node] = x, y = x, -i - (tallest - len(nodes)) / 2
            name = node if isinstance(node, str) else label(node)
            box = {"boxstyle": "round,pad=0.35", "fc": "white", "ec": "black"}
            axis.text(x, y, name, ha="center", va="center", fontsize=10, zorder=3, bbox=box)
    largest = max([abs(strength) for *_, strength in edges] + [1e-9])
    for sender, receiver, strength in edges:
        (x0, y0), (x1, y1) = places[sender], places[receiver]
        axis.annotate("", (x1 - 0.16, y1), (x0 + 0.16, y0), zorder=1, arrowprops={
            "arrowstyle": "-|>", "lw": 0.6 + 4 * abs(strength) / largest, "alpha": 0.75,
            "color": COLOURS[0] if strength >= 0 else COLOURS[1], "connectionstyle": "arc3,rad=0.04"})  # fmt: skip
    axis.set(xlim=(-0.5, len(columns) - 0.5), ylim=(min(y for _, y in places.values()) - 0.7, 1.3))
    axis.axis("off")
    return finish(figure, title, alt)
