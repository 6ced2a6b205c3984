"""Put two reports side by side, number by number, and say where their intervals part."""

import html
from collections.abc import Mapping

from .draw import note, shell, table, written
from .page import headlines


def comparison(first: Mapping, second: Mapping) -> str:
    """Return a page that compares two reports, as read from their JSON."""
    names, rows = [one["model"]["name"] for one in (first, second)], differences(first, second)
    apart = sum(row[-1] == "apart" for row in rows)
    title, told = f"{names[0]} beside {names[1]}", (
        f"Of {len(rows)} numbers {apart} are apart: their 95% intervals do not overlap. Intervals that overlap are no "
        "proof that two models are the same.")  # fmt: skip
    for what in ("settings", "code"):
        if first["key"][what] != second["key"][what]:
            told += f" The two were made with different {what}."
    heading = f"<h1>{html.escape(title)}</h1>"
    return shell(title, heading + note(told, "verdict") + table(["", *names, "intervals"], rows))


def differences(first: Mapping, second: Mapping) -> list[tuple[str, str, str, str]]:
    """List name, both values and a verdict: "equal", "overlap", "apart", "different" (no interval) or "only one"."""
    sides = headlines(first), headlines(second)
    rows = []
    for name in sides[0] | sides[1]:
        a, b = (side.get(name) for side in sides)
        rows.append((name, *("–" if x is None else written(x) for x in (a, b)), _verdict(a, b)))
    return rows


def _verdict(a: object, b: object) -> str:
    if a is None or b is None:
        return "only one"
    if a == b:
        return "equal"
    if not (isinstance(a, Mapping) and isinstance(b, Mapping)):
        return "different"
    return "overlap" if a["low"] <= b["high"] and b["low"] <= a["high"] else "apart"
