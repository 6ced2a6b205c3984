"""What the tests of bad input draw from: per kind of argument, values to refuse and other spellings of good ones."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import torch

NAN, INF = math.nan, math.inf


@dataclasses.dataclass(frozen=True)
class Arg:
    """A good value of one argument, bad ones by name, other spellings of the good one, words that name it."""

    value: object
    bad: dict = dataclasses.field(default_factory=dict)
    same: dict = dataclasses.field(default_factory=dict)
    words: tuple[str, ...] = ()


def as_is(value) -> Arg:
    return Arg(value)


def whole(value: int, low: int = 1, high: int | None = None, none: bool = False) -> Arg:
    """A count or an index from `low` to `high`."""
    bad = {
        "bool": True,
        "fraction": value + 0.5,
        "nan": NAN,
        "text": str(value),
        "below": low - 1,
        "tensor": torch.ones(2),
    }
    bad |= {} if high is None else {"above": high + 1, "far above": 10**9}
    bad |= {} if none else {"none": None}
    return Arg(value, bad, {"numpy": np.int64(value)})


def real(value: float, low: float | None = None, high: float | None = None, inf: bool = False, none=False) -> Arg:
    """A number, above `low` and below `high` where they are given."""
    bad = {"nan": NAN, "text": "much", "complex": 1j, "list": [value, value]}
    bad |= {} if inf else {"inf": INF, "minus inf": -INF}
    bad |= {} if low is None else {"low": low, "below": low - 1.0}
    bad |= {} if high is None else {"high": high, "above": high + 1.0}
    bad |= {} if none else {"none": None}
    return Arg(value, bad, {"numpy": np.float64(value), "tensor": torch.tensor(value, dtype=torch.float64)})


def choice(value: str, *words: str) -> Arg:
    """One of a few words."""
    return Arg(value, {"other": "nonsense", "empty": "", "number": 3, "none": None, "list": [value]}, {}, words)


def _heads_off(layers: int, heads: int) -> dict:
    return {
        "negative layer": (-1, 0), "negative head": (0, -1), "late layer": (layers, 0), "late head": (0, heads),
        "far": (10**9, 0), "fraction": (1.5, 0), "bools": (True, False), "text": "21", "one": (1,), "three": (1, 0, 0),
        "none": None, "nan": (NAN, 0), "number": 1,
    }  # fmt: skip


def head(value: tuple[int, int], shape: tuple[int, int] = (4, 4)) -> Arg:
    """A (layer, head) of a tiny model."""
    same = {"list": list(value), "numpy": tuple(np.array(value)), "tensor": torch.tensor(value)}
    return Arg(value, _heads_off(*shape), same, ("head", "writer"))


def heads(value: list[tuple[int, int]], empty: bool = False, shape=(4, 4)) -> Arg:
    """A list of heads; `empty` says that none is a good value."""
    bad = {name: [*value, one] for name, one in _heads_off(*shape).items()}
    bad |= {} if empty else {"empty": []}
    return Arg(value, bad, {"tuple": tuple(value), "lists": [list(one) for one in value]}, ("head",))


def component(value: tuple[int, int, int]) -> Arg:
    """A (layer, head, component) of a tiny model."""
    bad = {
        "negative": (0, 0, -1), "late": (0, 0, 8), "late head": (0, 4, 0), "negative layer": (-1, 0, 0), "two": (0, 0),
        "fraction": (0, 0, 0.5), "bool": (0, 0, True), "none": None, "text": "000",
    }  # fmt: skip
    return Arg(value, bad, {"list": list(value)}, ("component", "head"))


def _shapes(x: torch.Tensor, free: tuple[int, ...] | None) -> dict:
    """Other shapes; axes in `free` may have any length but 0, and None leaves all shapes out."""
    if free is None:
        return {}
    found = {"no axis": x[0], "more axes": x[None, None, None], "scalar": x.flatten()[0], "empty": x[:0]}
    for axis in set(range(x.ndim)) - set(free):
        if x.shape[axis] > 1:
            found[f"short axis {axis}"] = x.narrow(axis, 0, x.shape[axis] - 1)
    return found


def floats(x, nan=False, free: tuple[int, ...] | None = (), words=(), inf=False, ravel=False, leading=False) -> Arg:
    """A tensor of numbers. `nan`, `inf`: these have a meaning; `ravel`, `leading`: in any shape, after any axes."""
    x = torch.as_tensor(x)
    bad = _shapes(x, free)
    if ravel or leading:
        del bad["more axes"]
    for name, value, means in (("nan", NAN, nan), ("inf", INF, inf)):
        spoilt = x.flatten().clone()
        spoilt[-1] = value
        if not means:
            bad[name] = spoilt.view(x.shape)
    bad |= {"complex": x + 1j, "meta": x.to("meta")}
    turned = x.mT.contiguous().mT if x.ndim > 1 else x
    return Arg(x, bad, {"double": x.double(), "turned": turned}, words)


def index(x: torch.Tensor, high: int, words: tuple[str, ...] = (), free: tuple[int, ...] | None = ()) -> Arg:
    """A tensor of indices below `high`."""
    bad = _shapes(x, free)
    bad |= {"negative": x - high, "late": x + high, "fraction": x + 0.5, "bool": x.bool(), "nan": x + NAN,
            "meta": x.to("meta")}  # fmt: skip
    if free is None and x.bool().numel() == 2:
        bad["more axes"] = x[None]
    return Arg(x, bad, {"int32": x.int()}, words)


def flag(value: bool) -> Arg:
    return Arg(value)


def records(good, **bad) -> Arg:
    """A record (prompts, run, weights, …) and others that do not fit."""
    return Arg(
        good, bad, {}, ("prompts", "run", "positions", "weights", "layer", "clean", "base", "ov", "component", "batch")
    )


def outcome(function: Callable, arguments: dict):
    """What a call gives, as plain arrays, so that two calls can be compared."""
    return plain(function(**arguments))


def plain(value):
    """Nested tuples of float arrays and texts."""
    if isinstance(value, torch.Tensor):
        return value.detach().double().cpu().numpy()
    if isinstance(value, np.ndarray | np.number | float | int | bool):
        return np.asarray(value, dtype=float) if np.asarray(value).dtype.kind in "fiub" else str(value)
    if hasattr(value, "png"):
        return len(value.png) > 0
    if hasattr(value, "to_numpy"):
        return tuple(map(plain, value.to_numpy().ravel()))
    if dataclasses.is_dataclass(value):
        return tuple(plain(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, dict):
        return tuple((str(key), plain(one)) for key, one in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(plain, value))
    return str(value)


def agree(one, other) -> bool:
    """Whether two outcomes are the same to 1e-4 of their scale, NaN where the other has NaN."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        scale = float(np.abs(one[np.isfinite(one)]).max(initial=1.0))
        return one.shape == other.shape and np.allclose(one, other, rtol=1e-4, atol=1e-4 * scale, equal_nan=True)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(agree, one, other))
    return one == other


def text(value: str) -> Arg:
    """Words to show: any will do."""
    return Arg(value)
