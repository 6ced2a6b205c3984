"""Sentences and tables made by code: prose that names a head or a number must have computed it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .weights.heads import label


class _Sentence:
    """Markdown made by code, so that prose never quotes a number or a head that was not computed here."""

    def __init__(self, text: str):
        self.text = text

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        # Without its marks for readers that show no Markdown, among them sentences quoted on another page.
        # Outside code and formulas the beginning of an HTML element, of a token for instance, is text.
        parts = re.split(r"(`[^`]*`|\$[^$\n]*\$)", self.text)
        parts[::2] = [re.sub(r"<(?=[A-Za-z/!?])", "&lt;", part) for part in parts[::2]]
        return {"text/markdown": "".join(parts), "text/plain": re.sub(r"\*+(?=\S)|(?<=\S)\*+|`", "", self.text)}


def say(text: str, name: str | None = None) -> None:
    """Display a sentence with computed numbers as Markdown.

    With `name`, other pages of the book can quote it (MyST-NB's `glue:text`), as `View.show` does for figures; they
    show it as plain text, so it should hold no formulas, links or tables.
    """
    from IPython.display import display

    display(_Sentence(" ".join(text.split())), metadata=glued(name))


def glued(name: str | None) -> dict:
    """The display metadata by which MyST-NB's `glue` finds an output under a name."""
    if name is not None and not (isinstance(name, str) and name.strip()):
        raise ValueError(f"name must be a word or words by which other pages quote this, got {name!r}")
    return {} if name is None else {"scrapbook": {"name": name, "mime_prefix": ""}}


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Display a Markdown table with computed entries; every row needs one entry per column."""
    from IPython.display import display

    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"every row needs {len(columns)} entries ({', '.join(columns)}), got {[len(r) for r in rows]}")
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in [columns, ["---"] * len(columns), *rows]]
    display(_Sentence("\n".join("| " + " | ".join(row) + " |" for row in cells)))


def heads(names: Sequence[tuple[int, ...]]) -> str:
    """Heads or components as they are written in prose: `23.0, 23.1 and 23.2`, or "none"."""
    words = [label(name) for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words) or "none"
