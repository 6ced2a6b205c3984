"""The equations of a transformer block with hooks applied, for any set of query positions.

Interventions are TransformerLens hooks, `(name, function(value, hook))` with TransformerLens' own names. Hook points
honoured here are those in `POINTS`, as `blocks.<layer>.<point>`. A function that returns None leaves the value as it
is. A hook written for TransformerLens works here: `hook.name` and `hook.layer()` are there. Runs go in batches, and a
hook that treats prompts differently asks `rows_of(hook)` which of them it sees; under TransformerLens that is all.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .._guards import version
from ..models import parts

POINTS = ("hook_resid_pre", "attn.hook_q", "attn.hook_pattern", "attn.hook_z", "hook_attn_out", "hook_mlp_out")
Hook = tuple[str, Callable]


@dataclass(frozen=True)
class Site:
    """Where a hook is called: the stand-in for TransformerLens' hook point, with the prompts of the batch at hand."""

    name: str
    rows: slice

    def layer(self) -> int:
        return int(self.name.split(".")[1])


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


def first_layer(hooks: Sequence[Hook], n_layers: int) -> int:
    """Find the first layer that is hooked; the number of layers where there are no hooks."""
    return min((int(name.split(".")[1]) for name in by_name(hooks, n_layers)), default=n_layers)


@dataclass(frozen=True)
class Block:
    """What one block computed: its input, queries, head outputs, attention, rotated keys and values."""

    resid: Tensor
    q: Tensor
    z: Tensor
    pattern: Tensor
    keys: Tensor
    values: Tensor


class Blocks:
    """One model's blocks under hooks, for streams [batch, pos, d_model]; `hooked` gathers the points that changed."""

    def __init__(self, model, hooks: Sequence[Hook], hooked: set[str], rows: slice = slice(None)):
        self.model, self.shape = model, parts.shape(model)
        self.hooks, self.rows, self.hooked = by_name(hooks, self.shape.layers), rows, hooked

    def hook(self, layer: int, point: str, value: Tensor) -> Tensor:
        name = f"blocks.{layer}.{point}"
        for function in self.hooks.get(name, ()):
            before = version(value)
            out = function(value, Site(name, self.rows))
            written = value.is_inference() or version(value) != before  # nobody counts in inference mode
            if written or not (out is None or out is value):  # it did more than look
                self.hooked.add(name)
            if out is not None and out.shape != value.shape:
                raise ValueError(f"hook {name} returned {[*out.shape]}, expected {[*value.shape]}")
            value = value if out is None else out
        return value

    def run(self, layer: int, resid: Tensor, angles, visible: Tensor, cache: tuple | None = None):
        """Compute one block; return its records (a `Block`) and the stream after it.

        `visible`: which keys a query sees, broadcast to [batch, kv_heads, group, pos, seq]. Without `cache` queries see
        the keys of the stream itself; `cache` is (END, keys, values) of a whole prompt, in which the stream's own key
        and value take the place at END.
        """
        # A hook that writes in place must not reach a stored run, of which the stream may be a part.
        resid = self.hook(layer, "hook_resid_pre", resid.clone())
        x = parts.attention_input(self.model, layer, resid)
        q, keys, values = (parts.project(self.model, layer, name, x) for name in "qkv")
        q, keys = self.hook(layer, "attn.hook_q", q), parts.rotate(keys, angles)
        if cache is not None:
            end, *stored = cache
            at = end[:, None, None, None].expand_as(keys)
            keys, values = (old.scatter(1, at, own) for old, own in zip(stored, (keys, values), strict=True))
        grouped = parts.rotate(q, angles).unflatten(2, (-1, self.shape.groups))
        scores = torch.einsum("bphgd,bshd->bhgps", grouped, keys) / parts.attention_scale(self.model)
        pattern = scores.masked_fill(~visible, -torch.inf).softmax(-1).flatten(1, 2)
        pattern = self.hook(layer, "attn.hook_pattern", pattern)
        z = torch.einsum("bhgps,bshd->bphgd", pattern.unflatten(1, (-1, self.shape.groups)), values).flatten(2, 3)
        z = self.hook(layer, "attn.hook_z", z)
        mid = resid + self.hook(layer, "hook_attn_out", parts.attention_output(self.model, layer, z))
        after = mid + self.hook(layer, "hook_mlp_out", parts.mlp_output(self.model, layer, resid, mid))
        return Block(resid, q, z, pattern, keys, values), after
