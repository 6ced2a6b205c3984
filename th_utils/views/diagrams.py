"""The map of a circuit: a rail per token, a floor per layer, and the heads where they write."""

import html
from base64 import b64encode
from collections.abc import Mapping, Sequence

import numpy as np

from ..weights.heads import Head, label
from . import glyphs as g

# Colour by role, and the letter that tells those apart who have one colour.
JOBS = {
    "name mover": ("mover", ""), "negative name mover": ("suppressor", " −"), "S-inhibition": ("message", ""),
    "subject suppressor": ("suppressor", " S"), "induction": ("noticer", " I"), "duplicate token": ("noticer", " D"),
    "previous token": ("noticer", " P"),
}  # fmt: skip
TOKENS = {"IO": "io", "S1": "s", "S2": "s"}
# Where heads stand on a rail, in steps to the right: those who tell are left of those who are told.
SIDES = {"message": (-1, -2, -3, -4), "mover": (0, 1, 2, 3), "suppressor": (1, 2, 3)}
SLOT, RADIUS = 66, 9.5  # from head to head on one floor, with room for a name


class Drawing:
    """A figure drawn as SVG, which follows the theme of the page; `alt` is for those who cannot see it."""

    def __init__(self, title: str, alt: str, svg: str, legend: Mapping[str, str]):
        self.title, self.alt, self.svg = title, " ".join(alt.split()), svg
        self.legend = " · ".join(f"<b style='color:{g.colour(role)}'>{text}</b>" for text, role in legend.items())

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        style = f"background:{g.colour('paper')};color:{g.colour('ink')};padding:8px;max-width:720px"
        names = f'role="img" aria-label="{html.escape(self.alt)}"'
        # An image for those who take out SVG, and this style, as JupyterLab does until a notebook is trusted.
        alone = b64encode(self.svg.replace("<svg", "<svg xmlns='http://www.w3.org/2000/svg'", 1).encode()).decode()
        image = f'<img alt="{html.escape(self.alt)}" src="data:image/svg+xml;base64,{alone}"/>'
        still = f"{image}<style>.th-drawing svg + img {{display: none}}</style>"
        picture = f'<div {names} tabindex="0" style="overflow-x:auto">{self.svg}{still}</div>'
        page = f"<div class='th-drawing' style='{style}'><strong>{html.escape(self.title)}</strong>{picture}"
        return {"text/html": f"{page}<small>{self.legend}</small></div>", "text/plain": f"Figure: {self.alt}"}


def floors(rails: Mapping[str, str], heads: Mapping[str, Sequence[Head]], roles: Mapping[str, Sequence[Head]],
           layers: Sequence[int], title: str, alt: str, looks: Sequence[tuple[Head, str, float]] = (),
           edges: Sequence[tuple[Head, Head, float | None]] = (), answer: str = "") -> Drawing:  # fmt: skip
    """Draw heads on the rail of the token where they write, on the floor of their layer, coloured by role.

    `rails`: place -> token, from left to right; `heads`: place -> heads. `looks`: (head, place, attention), as arcs to
    the rail that is looked at, as wide as the attention. `edges`: (sender, receiver, share), all in one unit: solid
    towards, dashed against, in three widths, with numbers on the five largest; thin for a share of None. `answer`
    stands on top of the last rail. Raises `ValueError` for a number that is not finite, and for a head without a rail.
    """
    shares = [share for *_, share in edges if share is not None]
    if not np.isfinite([*shares, *(share for *_, share in looks)]).all():
        raise ValueError(f"attention and shares must be finite, got {[*looks, *edges]}")
    missing = {h for a, b, _ in (*looks, *edges) for h in (a, b)} - {*rails, *sum(map(list, heads.values()), [])}
    if missing:
        raise ValueError(f"{missing} stand on no rail; the heads are {heads}, the rails {[*rails]}")
    job = {h: next((JOBS[role] for role in JOBS if h in roles.get(role, ())), ("other", ""))
           for row in heads.values() for h in row}  # fmt: skip
    step, top = min(max(420 / len(layers), 12), 34), 48 if answer else 26
    foot, slots, columns, right = top + step * len(layers), {}, {}, 40.0
    for place in rails:
        row = sorted(heads.get(place, ()))
        for h in row:
            sides = SIDES.get(job[h][0], ()) if len({job[other][0] for other in row}) > 1 else ()
            apart = (3.2 if job[h][0] == "message" else 1.9) * RADIUS / step  # or those who tell hide each other
            near = {slots[other] for other in row if other in slots and h[0] - other[0] < apart}
            slots[h] = next(s for s in (*(sides or (0, 1, -1, 2)), *range(4, 999)) if s not in near)
        low, high = (end([0, *(slots[h] for h in row)]) for end in (min, max))
        room = max(4.2 * len(rails[place]) + 11, 23)
        columns[place] = right + max(RADIUS + 10 - low * SLOT + 30 * (low < 0), room)
        right = columns[place] + max((high * SLOT + SLOT) * bool(row), room)
    height = {layer: foot - step * (n + 0.5) for n, layer in enumerate(layers)}
    rail_of = {h: columns[place] for place in rails for h in heads.get(place, ())}
    at = {h: (x + slots[h] * SLOT, height[h[0]]) for h, x in rail_of.items()}
    ground = "".join(g.path(f"M34 {y:g}H{right:g}", "line", 0.6, opacity=0.7) for y in height.values())
    for n in layers[:: max(1, round(60 / step))]:
        ground += g.words(26, height[n] + 4, str(n), "other", 12, "end")
    ground += g.words(4, top - 6, "layer", "other", 12, "start")
    marks = g.token(columns[[*rails][-1]], 20, answer, "io", size=15) if answer else ""
    for place, x in columns.items():
        role = TOKENS.get(place, "ink")
        ground += g.path(f"M{x:g} {foot + 8:g}V{top - 8:g}", role, 2.5, opacity=0.45)
        marks += g.token(x, foot + 24, rails[place], role, place == "S2", 15) + g.words(x, foot + 56, place, role, 13)
    for h, place, share in sorted(looks, key=lambda arc: -arc[2]):
        (x, y), start, deep = at[h], columns[place], at[h][1] + min(34, 2.2 * step)
        part = 0.3 * (x - start)
        arc = f"M{start:g} {y:g}C{start + part:.1f} {deep:.1f} {x - part:.1f} {deep:.1f} {x:g} {y + RADIUS:g}"
        ground += g.path(arc, job[h][0], 0.8 + 7 * share, opacity=0.65)
        ground += g.box(start - 2.5, y - 2.5, 5, 5, job[h][0], job[h][0], 2.5, 1)
    numbered = sorted(map(abs, shares))[-5:]
    for sender, receiver, share in sorted(edges, key=lambda edge: edge[2] is not None):
        (x0, y0), (x1, y1), one_rail = at[sender], at[receiver], rail_of[sender] == rail_of[receiver]
        bulge = -46 * (one_rail and x0 == x1)  # past the heads between them
        a, b = (x0 + bulge, y1 + (0.4 if one_rail else 0.25) * (y0 - y1)), (
            x1 + bulge if one_rail else x1 + 0.2 * (x0 - x1), y1 + (0.6 if one_rail else 0.5) * (y0 - y1))  # fmt: skip
        width = 1 if share is None else 1 + 1.9 * min(2, int(3 * abs(share) / (numbered[-1] or 1)))
        curve = f"M{x0:g} {y0 - RADIUS:g}C{a[0]:.1f} {a[1]:.1f} {b[0]:.1f} {b[1]:.1f} {x1:g} {y1 + RADIUS:g}"
        ground += g.path(curve, "suppressor" if share is None else job[sender][0], width, (share or 0) < 0, 0.8)
        if share is not None and abs(share) >= numbered[0]:
            ends = zip(at[sender], a, b, at[receiver], strict=True)
            x, y = (0.03 * p + 0.17 * q + 0.43 * r + 0.37 * s for p, q, r, s in ends)
            marks += g.words(x, y + 4, f"{share:.2f}".replace("-", "−"), job[sender][0], 12.5, bold=True)
    for h, (x, y) in at.items():
        side, end = (-1, "end") if slots[h] < 0 else (1, "start")
        ground += g.path(f"M{rail_of[h]:g} {y:g}H{x:g}", job[h][0], 1, opacity=0.6)
        marks += g.head(x, y, job[h][0], RADIUS)
        marks += g.words(x + side * (RADIUS + 3), y + 5, label(h) + job[h][1], job[h][0], 13, end, True)
    seen = {
        role + (sign and f" ({sign[1:]})"): tint for role, (tint, sign) in JOBS.items() if (tint, sign) in job.values()
    }
    return Drawing(title, alt, g.svg(ground + marks, right + 6, foot + 64, min(0.8 * right, 640)), seen)
