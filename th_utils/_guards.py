"""Checks at the doors of the package, and of what would be silently wrong inside it.

A check raises `ValueError` that names the argument, what was expected and what came. Negative indices, fractions where
a count is due, NaN, and tensors of another shape are refused rather than made to fit: in tensor code they give numbers
that look right. What torch or numpy refuse loudly is left to them.
"""

from operator import index

import numpy as np
import pandas as pd
import torch
from torch import Tensor


def refuse_autocast() -> None:
    """Raise inside `torch.autocast`, which rounds to half precision without a word."""
    if any(map(torch.is_autocast_enabled, ("cpu", "cuda"))):
        raise ValueError("autocast is on, which rounds to half precision: leave its block first")


def version(tensor: Tensor) -> int:
    """Count the writes to a tensor in place; torch counts none in inference mode."""
    return 0 if tensor.is_inference() else tensor._version


def whole(name: str, value, low: int = 1, high: int | None = None) -> int:
    """Return a whole number from `low` to `high`; fractions, texts and booleans are refused."""
    try:
        found = None if isinstance(value, bool) else index(value)
    except TypeError:
        found = None
    if found is None or found < low or (high is not None and found > high):
        wanted = f"at least {low}" if high is None else f"{low}-{high}"
        raise ValueError(f"{name} must be a whole number, {wanted}, got {value!r}")
    return found


def numbers(name: str, values, shape: dict[str, int | None] | None = None, like: Tensor | None = None) -> Tensor:
    """Return finite real numbers as a float tensor of this shape, of the kind and on the device of `like`.

    `shape` names the axes and their lengths; None stands for any length but 0.
    """
    refuse_autocast()
    found = _shaped(name, values, shape)
    if found.is_complex() or not all_finite(found):
        raise ValueError(f"{name} must be finite real numbers: NaN, infinite or complex ones in {_described(found)}")
    if like is not None:
        return found.to(like)
    return found if found.dtype == torch.float64 else found.float()


def indices(name: str, values, high: int, shape: dict[str, int | None] | None = None) -> Tensor:
    """Return whole numbers from 0 to below `high` as a tensor of this shape (see `numbers`)."""
    found = _shaped(name, values, shape)
    if found.dtype == torch.bool or found.is_floating_point() or found.is_complex():
        raise ValueError(f"{name} must be integers, got {_described(found)}")
    if found.numel() and not 0 <= int(found.min()) <= int(found.max()) < high:
        raise ValueError(f"{name} must lie between 0 and {high - 1}, got {int(found.min())} to {int(found.max())}")
    return found.long()


def chosen_rows(name: str, rows, n: int) -> Tensor:
    """Return the indices of some of `n` rows, from indices (negative ones count from the end), a mask or a slice."""
    if isinstance(rows, slice):
        return torch.arange(n)[rows]
    if isinstance(rows, pd.Series) and pd.api.types.is_bool_dtype(rows) and list(rows.index) != list(range(n)):
        raise ValueError(f"{name}: a column must have the prompts in their order: its index is not 0-{n - 1}")
    found = rows.cpu() if isinstance(rows, Tensor) else torch.tensor(np.array(rows))  # copied: pandas' are read-only
    found = torch.atleast_1d(found) if found.numel() else torch.zeros(0, dtype=torch.long)
    if found.dtype == torch.bool and found.shape != (n,):
        raise ValueError(f"{name}: a mask needs one entry for each of the {n} prompts, got {tuple(found.shape)}")
    if found.ndim != 1 or found.is_floating_point() or found.dtype == torch.uint8:  # a mask to torch, numbers to numpy
        raise ValueError(f"{name} must choose among {n} prompts by indices or a mask, got {_described(found)}")
    return torch.arange(n)[found]


def all_finite(values: Tensor) -> bool:
    """Tell whether no number is NaN or infinite, without a copy of the size of `values`: extremes keep NaN."""
    return not values.numel() or bool(torch.isfinite(torch.stack(values.aminmax())).all())


def same_model(**records) -> None:
    """Raise unless these records (weights, run, channel, …, or fingerprints) come from one model.

    Records made by hand have no fingerprint and fit everywhere. Two models of one shape would mix without a word.
    """
    refuse_autocast()
    known = {name: getattr(record, "fingerprint", record) for name, record in records.items()}
    known = {name: fingerprint for name, fingerprint in known.items() if fingerprint is not None}
    if len(set(known.values())) > 1:
        named = ", ".join(f"{name} {fingerprint}" for name, fingerprint in known.items())
        raise ValueError(f"{' and '.join(known)} come from different models or an edited one (checksums: {named})")


def _shaped(name: str, values, shape: dict[str, int | None] | None) -> Tensor:
    found = torch.as_tensor(values)
    if shape is not None:
        pairs = zip(found.shape, shape.values(), strict=False)
        if found.ndim != len(shape) or any(n != wanted if wanted is not None else n == 0 for n, wanted in pairs):
            wanted = ", ".join(axis if n is None else f"{axis}={n}" for axis, n in shape.items())
            raise ValueError(f"{name} must be [{wanted}], got {_described(found)}")
    return found


def _described(values: Tensor) -> str:
    return f"{str(values.dtype).removeprefix('torch.')} {list(values.shape)} on {values.device}"
