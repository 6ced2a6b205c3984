"""Checks in the notebooks: claims that must hold on the default model, and exercises that must be solved.

On another model than the default one the same claim is reported, not enforced: what is true of SmolLM2 need not be
true of GPT-2. A claim about an identity (sums, invariances) holds for every model and is always enforced.
"""

from __future__ import annotations

import math

import numpy as np

from ._guards import real
from .classes import check_classes
from .models.loading import is_default
from .stats import array


class ClaimFailed(AssertionError):
    """A claim that the book makes about the default model does not hold in this run."""


def claim(model, text: str, holds, value=None) -> None:
    """State a measured claim: prints it with its value, and raises `ClaimFailed` when it fails on the default model.

    `text` says what would be false if it failed; `value` is printed beside it: a number with four digits, anything
    else (a `stats.Estimate`, a sentence) as it is.
    """
    shown = "" if value is None else f" ({value:.4g})" if isinstance(value, float) else f" ({value})"
    if bool(holds):
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
    tolerance = real("tolerance", tolerance, least=0)
    a, b = (np.squeeze(array(value)) for value in (left, right))
    if a.shape != b.shape:
        raise ValueError(f"{text}: cannot compare shape {a.shape} with {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ClaimFailed(f"{text}: NaN or infinite numbers")
    gap = np.abs(a - b).max(initial=0.0)
    scale = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0), 1e-12)
    if gap > tolerance * scale:
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
            ok = math.isclose(float(answer), float(expected), rel_tol=tolerance, abs_tol=tolerance)
        elif hasattr(expected, "shape"):
            given, wanted = array(answer), array(expected)
            ok = given.shape == wanted.shape and np.abs(given - wanted).max(initial=0.0) <= tolerance
        else:
            ok = bool(answer == expected)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: torch, of tensors that are no one number
        raise ClaimFailed(f"{name}: cannot compare your {type(answer).__name__}: {error}. {hint}".strip()) from error
    if not ok:
        raise ClaimFailed(f"{name}: not yet, got {answer!r}. {hint}".strip())
    print(f"✓ {name}")


check_classes(globals())
