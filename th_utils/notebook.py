"""What notebooks say and check: sentences and tables made by code, claims that must hold, exercises to solve.

Prose that names a head or a number must have computed it. A claim is enforced on the default model and reported on
others: what is true of SmolLM2 need not be true of GPT-2. An identity (sums, invariances) holds for every model and is
always enforced.
"""

import math
import re
from collections.abc import Sequence
from inspect import cleandoc
from string import Formatter

import numpy as np

from .models.loading import is_default
from .models.registry import DEFAULT, find_card
from .stats import Estimate, array
from .weights.heads import label


class _Markdown:
    """Markdown made by code."""

    def __init__(self, text: str):
        self.text = text

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        # Without its marks for readers that show no Markdown, among them sentences quoted on another page.
        # Outside code and formulas the beginning of an HTML element, of a token for instance, is text.
        parts = re.split(r"(`[^`]*`|\$[^$\n]*\$)", self.text)
        parts[::2] = [re.sub(r"<(?=[A-Za-z/!?])", "&lt;", part) for part in parts[::2]]
        return {"text/markdown": "".join(parts), "text/plain": re.sub(r"\*+(?=\S)|(?<=\S)\*+|`", "", self.text)}


class _Facts(Formatter):
    """Fill a template; heads and components are written by their labels."""

    def format_field(self, value, spec: str) -> str:
        if isinstance(value, Estimate):
            return format(value, spec)
        if isinstance(value, list | tuple) and all(isinstance(one, tuple) for one in value):
            return heads(value)
        if isinstance(value, tuple):
            return label(value)
        return super().format_field(value, spec)


def read(text: str, *, holds=None, otherwise: str | None = None, name: str | None = None, **facts) -> None:
    """Display a reading: a Markdown template with `{facts}` filled in, and nothing else to compute.

    A tuple is written as a head or component ("20.0"), a list of them as a list of heads; other facts take format specs
    (`{gain:+.1f}`). Under a `name` other pages quote it as plain text (MyST-NB's `glue:text`). `holds`: whether it is
    true; on the default model a false reading raises `ClaimFailed`, on another the template `otherwise` is shown, or
    that it is not so, with the facts.
    """
    fill = _Facts()
    filled = fill.format(cleandoc(text), **facts)
    if holds is not None and not _true(holds):
        if find_card().name == DEFAULT:
            raise ClaimFailed(f"this reading does not hold here: {filled}")
        specs = {fact: ".4g" if isinstance(value, float) else "" for fact, value in facts.items()}
        values = ", ".join(f"{fact} {fill.format_field(facts[fact], spec)}" for fact, spec in specs.items())
        filled = f"*Not so on this model.* {values}" if otherwise is None else fill.format(cleandoc(otherwise), **facts)
    _show(filled, name)


def _show(text: str, name: str | None = None) -> None:
    from IPython.display import display

    display(_Markdown(text), metadata=glued(name))


def glued(name: str | None) -> dict:
    """Make the display metadata by which MyST-NB's `glue` finds an output under a name."""
    return {} if name is None else {"scrapbook": {"name": name, "mime_prefix": ""}}


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Display a Markdown table with computed entries; every row needs one entry per column."""
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"every row needs {len(columns)} entries ({', '.join(columns)}), got {[len(r) for r in rows]}")
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in [columns, ["---"] * len(columns), *rows]]
    _show("\n".join("| " + " | ".join(row) + " |" for row in cells))


def heads(names: Sequence[tuple[int, ...]]) -> str:
    """Write heads or components as in prose: `23.0, 23.1 and 23.2`, or "none"."""
    words = [label(name) for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words) or "none"


def _true(holds) -> bool:
    """Return a truth value as a bool; `TypeError` for what is true whatever was measured: lists, numbers, NaN."""
    if "bool" not in str(getattr(holds, "dtype", type(holds))) or array(holds).ndim:
        raise TypeError(f"need true or false, got {holds!r:.80}: use .all() or a comparison")
    return bool(holds)


class ClaimFailed(AssertionError):
    """A claim that the book makes about the default model does not hold in this run."""


def claim(model, text: str, holds, value=None) -> None:
    """State a measured claim: print it with its value, and raise `ClaimFailed` when it fails on the default model.

    `text` is the claim, as a sentence; `value` is printed beside it: a number with four digits, anything
    else (a `stats.Estimate`, a sentence) as it is.
    """
    shown = "" if value is None else f" ({value:.4g})" if isinstance(value, float) else f" ({value})"
    if _true(holds):
        print(f"✓ {text}{shown}")
    elif is_default(model):
        raise ClaimFailed(f"{text}{shown}: does not hold here")
    else:
        print(f"– not on this model: {text}{shown}")


def identity(text: str, left, right, tolerance: float = 1e-4) -> None:
    """Check that two numbers, lists or tensors agree to `tolerance` (relative to the largest entry), on any model.

    Raises `ClaimFailed` when they do not or hold NaN or infinite numbers, `ValueError` for different shapes (axes of
    length 1 aside).
    """
    a, b = (np.squeeze(array(value)) for value in (left, right))
    if a.shape != b.shape or not a.size:
        raise ValueError(f"{text}: cannot compare shape {a.shape} with {b.shape}")
    gap = np.abs(a - b).max(initial=0.0)
    scale = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0), 1e-12)
    if not gap <= tolerance * scale or not np.isfinite(scale):  # NaN is no agreement
        raise ClaimFailed(f"{text}: largest gap {gap:.3g} against a scale of {scale:.3g}")
    print(f"✓ {text} (largest gap {gap / scale:.0e} of the scale)")


def exercise(name: str, answer, expected, tolerance: float = 1e-3, hint: str = "") -> None:
    """Check an answer to an exercise; `...` or None (the stub) fails with a hint, so an unsolved exercise is seen.

    Raises `ClaimFailed` naming the exercise, what was given, and the hint.
    """
    if answer is None or answer is ...:
        raise ClaimFailed(f"{name}: still the stub. {hint}".strip())
    try:
        if isinstance(expected, int | float):
            least = 1e-6 if expected else tolerance
            ok = math.isclose(float(answer), float(expected), rel_tol=tolerance, abs_tol=least)
        elif hasattr(expected, "shape"):
            given, wanted = array(answer), array(expected)
            scale = np.abs(wanted).max(initial=0.0) or 1.0
            ok = given.shape == wanted.shape and np.abs(given - wanted).max(initial=0.0) <= tolerance * scale + 1e-6
        else:
            ok = bool(answer == expected)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: torch, of tensors that are no one number
        raise ClaimFailed(f"{name}: cannot compare your {type(answer).__name__}: {error}. {hint}".strip()) from error
    if not ok:
        raise ClaimFailed(f"{name}: not yet, got {answer!r}. {hint}".strip())
    print(f"✓ {name}")
