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
# Places in a list, dark to light, and what is read on them: a place has one colour in all figures.
PLACES = ("#440154", "#472f7d", "#38588c", "#297a8e", "#1f9a8a", "#3aba76", "#84d44b", "#dfe318")
ON_PLACES = ("#ffffff",) * 4 + ("#000000",) * 4
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
    """Write the roles as style-sheet variables: `--th-mover` and so on, for light and for dark pages and figures.

    `th-light` is light paper on any page.
    """
    light, dark = (";".join(f"--th-{role}:{pair[i]}" for role, pair in ROLES.items()) for i in (0, 1))
    places = ((f"place-{i}", f"on-place-{i}", *pair) for i, pair in enumerate(zip(PLACES, ON_PLACES, strict=True)))
    light += "".join(f";--th-{name}:{colour};--th-{ink}:{on}" for name, ink, colour, on in places)
    dark_page = "html[data-theme=dark]"
    dark_places = f"{dark_page},{dark_page} .th-live,.th-live[data-theme-dark]"
    return f":root,.th-live,.th-light{{{light}}}\n{dark_places}{{{dark}}}\n"
