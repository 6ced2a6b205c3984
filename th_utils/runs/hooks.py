"""Hooks: what a reader's functions see and change while the model runs.

Interventions are TransformerLens hooks, `(name, function(value, hook))` with TransformerLens' own names. Hook points
honoured here are those in `POINTS`, as `blocks.<layer>.<point>`. A function that returns None leaves the value as it
is. A hook written for TransformerLens works here: `hook.name` and `hook.layer()` are there. Runs go in batches, and a
hook that treats prompts differently asks `rows_of(hook)` which of them it sees; under TransformerLens that is all.
"""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from .._guards import version
from ..models.forward import Call

POINTS = ("hook_resid_pre", "attn.hook_q", "attn.hook_pattern", "attn.hook_z", "hook_attn_out", "hook_mlp_out")
Hook = tuple[str, Callable]


@dataclass(frozen=True)
class Site:
    """Where a hook is called: the stand-in for TransformerLens' hook point, with the prompts of the batch at hand."""

    name: str
    rows: slice

    def layer(self) -> int:
        return layer_of(self.name)


def layer_of(name: str) -> int:
    """Return the layer of a hook point by its name: −1 for embeddings, out of reach for what all layers share."""
    if name.startswith("blocks."):
        return int(name.split(".")[1])
    return -1 if name.startswith(("embed", "pos_embed")) else sys.maxsize


def rows_of(hook) -> slice:
    """Tell which prompts a hook function sees, from its second argument: all of them under TransformerLens."""
    return getattr(hook, "rows", slice(None))


def by_name(hooks: Sequence[Hook], n_layers: int) -> dict[str, list[Callable]]:
    """Group hooks by name; `ValueError` for a point that is not in `POINTS` or a layer outside the model."""
    found: dict[str, list[Callable]] = {}
    for name, function in hooks:
        match = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
        if not match or match[2] not in POINTS or int(match[1]) >= n_layers:
            raise ValueError(f"no hook point {name!r} here: expected blocks.<0-{n_layers - 1}>.<one of {POINTS}>")
        found.setdefault(name, []).append(function)
    return found


def calls(hooks: dict[str, list[Callable]], hooked: set[str], rows: slice = slice(None), turned=None) -> list[Call]:
    """Make of hooks, grouped by name, what a pass calls; `hooked` gathers the points where one changed a value.

    In a pass over `turned` prompts (`turning.Turned`) hooks see attention patterns in the prompts' own columns.
    """

    def call(name: str, functions: list[Callable]) -> Callable:
        moved = turned is not None and name.endswith("pattern")

        def called(value: Tensor) -> Tensor | None:
            value, changed = turned.back(value) if moved else value, False
            for function in functions:
                before = version(value)
                out = function(value, Site(name, rows))
                written = value.is_inference() or version(value) != before  # nobody counts in inference mode
                if out is not None and (out.shape, out.dtype) != (value.shape, value.dtype):
                    kinds = [f"{[*x.shape]} {x.dtype}".replace("torch.", "") for x in (out, value)]
                    raise ValueError(f"hook {name} returned {kinds[0]}, expected {kinds[1]}")
                changed |= written or not (out is None or out is value)  # it did more than look
                value = value if out is None else out
            if changed:
                hooked.add(name)
            if moved:  # a copy, also for writes that torch does not count (`.data`)
                return turned.there(value)
            return value if changed else None

        return called

    return [(layer_of(name), name.split(".", 2)[2], call(name, functions)) for name, functions in hooks.items()]
