"""Checks of what was given, in one place: a `ValueError` that names the argument, what was expected and what came.

Negative indices, bools where a number is due, fractions, and tensors of another shape or kind are refused rather than
made to fit: in tensor code they give numbers that look right. For heads see `weights.check_head`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import index

import numpy as np
import torch
from torch import Tensor


def whole(name: str, value, low: int = 1, high: int | None = None) -> int:
    """A whole number from `low` to `high`; no bool, no fraction, no text."""
    wanted = f"at least {low}" if high is None else f"{low}-{high}"
    try:
        found = index(value)
    except TypeError:
        found = None
    if found is None or isinstance(value, bool | np.bool_) or not low <= found <= (found if high is None else high):
        raise ValueError(f"{name} must be a whole number, {wanted}, got {value!r}")
    return found


def real(name: str, value, *, above=-math.inf, below=math.inf, least=-math.inf) -> float:
    """A finite number, `least` or more, and above and below the bounds."""
    try:
        found = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: torch, of complex tensors and several numbers
        found = math.nan
    if not (math.isfinite(found) and above < found < below and found >= least):
        bounds = {"above": above, "below": below, "at least": least}
        wanted = ", ".join(f"{word} {bound:g}" for word, bound in bounds.items() if math.isfinite(bound))
        raise ValueError(f"{name} must be a finite number{', ' * bool(wanted)}{wanted}, got {value!r}")
    return found


def numbers(name: str, values, like: Tensor | None = None, *, nan: bool = False, **shape: int | None) -> Tensor:
    """Finite real numbers as a tensor of this shape (None: any length but 0), of the kind and on the device of `like`.

    With `nan` they may be NaN or infinite, where that has a meaning.
    """
    found = _tensor(name, values, shape)
    if found.is_complex() or found.is_meta:
        raise ValueError(f"{name} must be real numbers, got {_told(found)}")
    if not nan and not all_finite(found):
        raise ValueError(f"{name} must be finite numbers, {int((~found.isfinite()).sum())} are NaN or infinite")
    if like is not None:
        return found.to(like)
    return found if found.dtype == torch.float64 else found.float()


def all_finite(values: Tensor) -> bool:
    """Whether no number is NaN or infinite, without a copy of the size of `values`: NaN is kept by the extremes."""
    return not values.numel() or bool(torch.isfinite(torch.stack(values.aminmax())).all())


def indices(name: str, values, high: int, **shape: int | None) -> Tensor:
    """Whole numbers from 0 to below `high` as a tensor of this shape (None: any length but 0)."""
    found = _tensor(name, values, shape)
    if found.is_meta or found.dtype == torch.bool or found.is_floating_point() or found.is_complex():
        raise ValueError(f"{name} must be integers, got {_told(found)}")
    if found.numel() and not 0 <= int(found.min()) <= int(found.max()) < high:
        raise ValueError(f"{name} must lie between 0 and {high - 1}, got {int(found.min())} to {int(found.max())}")
    return found.long()


def chosen_rows(name: str, rows, n: int) -> Tensor:
    """Indices of some of `n` rows, negative ones from the end, from indices or a mask; none is a choice, too."""
    if isinstance(rows, Tensor) and rows.is_meta:
        raise ValueError(f"{name} must be indices or a mask, got {_told(rows)}")
    # Copied: what pandas hands out is read-only, which torch warns about.
    found = torch.atleast_1d(rows.cpu() if isinstance(rows, Tensor) else torch.tensor(np.array(rows)))
    found = found if found.numel() else torch.zeros(0, dtype=torch.long)
    if found.dtype == torch.bool and found.shape != (n,):
        raise ValueError(f"{name}: a mask needs one entry for each of the {n} prompts, got {tuple(found.shape)}")
    if found.ndim != 1 or found.is_floating_point() or found.is_complex():
        raise ValueError(f"{name} must choose among {n} prompts by indices or a mask, got {_told(found)}")
    if found.dtype != torch.bool and not ((found >= -n) & (found < n)).all():
        raise ValueError(f"{name} must choose among {n} prompts, got {found.tolist()}")
    return torch.arange(n)[found]


def _tensor(name: str, values, shape: dict[str, int | None]) -> Tensor:
    try:
        found = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be a tensor or list of numbers, got {values!r}") from error
    right = len(found.shape) == len(shape) and all(
        n > 0 if wanted is None else n == wanted for n, wanted in zip(found.shape, shape.values(), strict=True)
    )
    if shape and not right:
        wanted = ", ".join(axis if n is None else f"{axis}={n}" for axis, n in shape.items())
        raise ValueError(f"{name} must be [{wanted}], got {_told(found)}")
    return found


def _told(values: Tensor) -> str:
    return f"{str(values.dtype).removeprefix('torch.')} {list(values.shape)} on {values.device}"


def some(name: str, given: Mapping):
    """The items of a mapping that must hold at least one."""
    if not given:
        raise ValueError(f"{name} is empty: give at least one")
    return given.items()


def fit(result, prompts) -> None:
    """Refuse a run and prompts that are not of one number and length, or none: one would be repeated in silence."""
    if not len(prompts) or result.tokens.shape != prompts.tokens.shape:
        raise ValueError(
            f"need a run of these prompts, at least one: the run has tokens {list(result.tokens.shape)}, the prompts "
            f"{list(prompts.tokens.shape)}"
        )


def fit_model(weights, model) -> None:
    """Refuse the weights of another model than `model`."""
    cfg = model.cfg
    given = (weights.n_layers, weights.n_heads, weights.d_model, weights.d_head)
    wanted = (cfg.n_layers, cfg.n_heads, cfg.d_model, cfg.d_head)
    if given != wanted:
        raise ValueError(f"weights have [layers, heads, d_model, d_head] = {list(given)}, the model {list(wanted)}")


def fit_run(weights, result, complete: bool = True) -> None:
    """Refuse a run of another model than the weights' or (unless not `complete`) one that was stopped early."""
    layers, heads, d_head = result.z.shape[0], *result.z.shape[-2:]
    if (heads, d_head) != (weights.n_heads, weights.d_head) or layers > weights.n_layers:
        raise ValueError(
            f"the run has layers, heads and d_head {[layers, heads, d_head]}, the weights "
            f"{[weights.n_layers, weights.n_heads, weights.d_head]}: they are of two models"
        )
    if complete and layers < weights.n_layers:
        raise ValueError(f"this run stops before layer {layers}: run all {weights.n_layers} layers")
