"""The palette of the book: one colour per role, in `palette.json` for figures, style sheets and scripts alike.

In the book's figures a hue stands for a role and for nothing else: conditions are told apart by greys, dashes and
marks, and named where they end. `COLOURS`, which colour-blind readers tell apart (Okabe and Ito), are for other pages.
"""

import json
from pathlib import Path

# By role, on light and on dark paper: the right name, the repeated one, heads by their job, what pushes towards and
# against an answer, and what everything is drawn on.
ROLES: dict[str, tuple[str, str]] = {
    role: tuple(pair)
    for role, pair in json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf8")).items()
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY, INK, PALE = "#8a8a8a", "#222222", "#d0d0d0"
INKS, DASHES = (INK, GREY, "#555555"), ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)))  # of conditions
STYLE = {
    "font.size": 10, "axes.titlesize": 11, "axes.titlelocation": "left", "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": False, "legend.frameon": False, "figure.dpi": 110,
    "font.family": "DejaVu Sans",
}  # fmt: skip


def css() -> str:
    """Write the roles as style-sheet variables: `--th-mover` and so on, for light and for dark pages and figures."""
    light, dark = (";".join(f"--th-{role}:{pair[i]}" for role, pair in ROLES.items()) for i in (0, 1))
    dark_page = "html[data-theme=dark]"
    dark_places = f"{dark_page},{dark_page} .th-live,.th-live[data-theme-dark]"
    return f":root,.th-live{{{light}}}\n{dark_places}{{{dark}}}\n"
