"""The equations of a transformer block with hooks applied, for any set of query positions.

Interventions are TransformerLens hooks, `(name, function(value, hook))`, and the names are TransformerLens' own:
the same list works in `model.run_with_hooks` and here. Hook points honoured here are those in `POINTS`, as
`blocks.<layer>.<point>`. A function that returns None leaves the value as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models import parts

POINTS = ("hook_resid_pre", "attn.hook_q", "attn.hook_pattern", "attn.hook_z", "hook_attn_out", "hook_mlp_out")
Hook = tuple[str, Callable]


@dataclass(frozen=True)
class Batch:
    """What a hook gets here in place of TransformerLens' hook point: which prompts it sees."""

    rows: slice


def by_name(hooks: Sequence[Hook], n_layers: int) -> dict[tuple[int, str], list[Callable]]:
    """The hooks by (layer, point); `ValueError` for a point that is not in `POINTS` or a layer outside the model."""
    found: dict[tuple[int, str], list[Callable]] = {}
    for name, function in hooks:
        match = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
        if not match or match[2] not in POINTS or int(match[1]) >= n_layers:
            raise ValueError(f"no hook point {name!r} here: expected blocks.<0-{n_layers - 1}>.<one of {POINTS}>")
        found.setdefault((int(match[1]), match[2]), []).append(function)
    return found


class Blocks:
    """One model's blocks under hooks; the streams are [batch, pos, d_model] and may be any positions of the prompts."""

    def __init__(self, model, hooks: Sequence[Hook], rows: slice = slice(None)):
        self.model, self.hooks = model, by_name(hooks, model.cfg.n_layers)
        self.batch = Batch(rows)
        self.groups = parts.kv_groups(model)

    def hook(self, layer: int, point: str, value: Tensor) -> Tensor:
        if point == "hook_resid_pre":
            value = value.clone()  # may be part of a stored run, which a hook that writes in place must not reach
        for function in self.hooks.get((layer, point), ()):
            out = function(value, self.batch)
            if out is not None and out.shape != value.shape:
                raise ValueError(f"hook blocks.{layer}.{point} returned {[*out.shape]}, expected {[*value.shape]}")
            value = value if out is None else out
        return value

    def qkv(self, layer: int, resid: Tensor, angles) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries before rotation (for the cache), rotated queries, rotated keys, values."""
        x = parts.attention_input(self.model, layer, resid)
        q, k, v = (parts.project(self.model, layer, name, x) for name in "qkv")
        q = self.hook(layer, "attn.hook_q", q)
        return q, parts.rotate(q, angles), parts.rotate(k, angles), v

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        """[batch, kv_heads, group, pos, seq]; query heads of a group share one key head."""
        grouped = q.unflatten(2, (-1, self.groups))
        return torch.einsum("bphgd,bshd->bhgps", grouped, k) / parts.attention_scale(self.model)

    def rest(self, layer: int, resid: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Finish a block from its head outputs: (z after hooks, residual stream after the block)."""
        z = self.hook(layer, "attn.hook_z", z)
        out = self.hook(layer, "hook_attn_out", parts.attention_output(self.model, layer, z))
        mid = resid + out
        return z, mid + self.hook(layer, "hook_mlp_out", parts.mlp_output(self.model, layer, resid, mid))
