"""The glyphs of the book's drawings, as SVG: a stream is a rail, a head a half-filled circle on the rail it writes to.

Every colour is a variable of the page that falls back on light paper, so a drawing inside a page follows its theme.
"""

import html
from numbers import Real

from .palette import ROLES


def colour(role: str) -> str:
    """Return a role's colour: the page's own where it has one, else that for light paper."""
    return f"var(--th-{role},{ROLES[role][0]})"


def words(x: Real, y: Real, text: str, role="ink", size: Real = 14, anchor: str = "middle", bold=False) -> str:
    """Write text at a point of its baseline, with a rim of paper so that lines may pass behind it."""
    return (f"<text x='{x:g}' y='{y:g}' font-size='{size:g}' text-anchor='{anchor}' fill='{colour(role)}' "
            f"font-weight='{700 if bold else 400}' stroke='{colour('paper')}' stroke-width='4' "
            f"stroke-linejoin='round' paint-order='stroke'>{html.escape(text)}</text>")  # fmt: skip


def path(d: str, role: str = "ink", width: Real = 2, dashed: bool = False, opacity: Real = 1, fill: str = "") -> str:
    """Draw a path; `fill` is a role, and an empty one fills nothing."""
    dash = " stroke-dasharray='5 4'" if dashed else ""
    return (f"<path d='{d}' fill='{colour(fill) if fill else 'none'}' stroke='{colour(role)}' stroke-width='{width:g}' "
            f"stroke-opacity='{opacity:g}' stroke-linecap='round' stroke-linejoin='round'{dash}/>")  # fmt: skip


def box(x: Real, y: Real, width: Real, height: Real, role: str, fill="paper", r: Real = 5, rim: Real = 2) -> str:
    """Draw a rectangle with round corners, given by its upper left corner; a circle where `r` is half of its side."""
    return (f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='{r:g}' fill='{colour(fill)}' "
            f"stroke='{colour(role)}' stroke-width='{rim:g}'/>")  # fmt: skip


def head(x: Real, y: Real, role: str, r: Real = 11) -> str:
    """Draw a head: the open lower half reads, the filled upper half writes."""
    upper = path(f"M{x - r:g} {y:g}A{r:g} {r:g} 0 0 1 {x + r:g} {y:g}Z", role, 1, fill=role)
    return box(x - r, y - r, 2 * r, 2 * r, role, r=r) + upper


def token(x: Real, y: Real, text: str, role: str = "ink", double: bool = False, size: Real = 14) -> str:
    """Draw a token as a framed word around a point; the second mention of a name has a double frame."""
    half = 8 + 0.29 * size * max(len(text), 2)
    outer = box(x - half - 3, y - 17, 2 * half + 6, 31, role, r=8, rim=1) if double else ""
    return outer + box(x - half, y - 14, 2 * half, 25, role, rim=1.8) + words(x, y + 4, text, role, size, bold=True)


def svg(parts: str, width: Real, height: Real, least: Real = 0) -> str:
    """Wrap glyphs into an SVG element, shown no wider than it was drawn and no narrower than `least`."""
    style = f"width:100%;min-width:{least:g}px;max-width:{width:g}px;height:auto"
    return f"<svg viewBox='0 0 {width:g} {height:g}' style='{style}'>{parts}</svg>"
