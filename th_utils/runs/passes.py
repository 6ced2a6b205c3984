"""The two passes that runs are made of: whole prompts, and one more token at END that sees stored keys and values."""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from ..models import parts
from ..models.forward import OUTPUT, Call, Done, cache, forward
from .record import Run
from .turning import Turned

# What a `Run` stores: the hook point, and the axis of the query position there.
RECORDS = {"resid": ("hook_resid_pre", 1), "q": ("attn.hook_q", 1), "z": ("attn.hook_z", 1),
           "pattern": ("attn.hook_pattern", 2)}  # fmt: skip


def whole(
    model, tokens: Tensor, held: Tensor | None, hooks: list[Call], start: int = 0, stop: int | None = None,
    stream: Tensor | None = None, keep: int | None = None, caches: int = 0,
) -> dict:  # fmt: skip
    """Run whole prompts, layers `start` (on `stream`) to before `stop`; return its records at `held`, None: all."""
    rows, layers, kept = torch.arange(len(tokens), device=tokens.device)[:, None], parts.shape(model).layers, []
    stop = layers if stop is None else stop

    def stored(x: Tensor, axis: int) -> Tensor:
        every = held is None or axis == 2 and held.shape[1] > 1  # attention is kept from END alone, or from everywhere
        return x if every else x.movedim(axis, 1)[rows, held].movedim(1, axis)

    found, record = _recorder(start, stop, stored)
    if keep is not None:
        record.append((keep, "hook_resid_pre", lambda x: kept.append(x.clone())))
    past = cache(layers)
    forward(model, tokens, hooks + record, past, start, stop, stream)
    found = {name: torch.stack(values) for name, values in found.items()} | _caches(past, start, stop)
    for name in ("keys", "values"):
        found[name] = tuple(x[:, :0].clone() if i < caches else x for i, x in enumerate(found[name], start))
    return found | ({"kept": kept[0]} if kept else {})


def last(model, base: Run, hooks: Callable[[Turned], list[Call]], start: int, stop: int) -> dict:
    """Run one more token at END from layer `start` to before `stop`; return its records, without keys and values."""
    turned, end, stream = Turned(base, base.end), base.end[:, None], base.at().resid[start][:, None]
    found, record = _recorder(start, stop, lambda x, axis: turned.back(x) if axis == 2 else x)
    forward(model, base.tokens.gather(1, end), hooks(turned) + record, turned.cache(), start, stop, stream,
            position_ids=end, attention_mask=turned.mask)  # fmt: skip
    return {name: torch.stack(values) for name, values in found.items()}


def cached(model, tokens: Tensor, layer: int, stream: Tensor) -> tuple[Tensor, Tensor]:
    """Return the keys and values, [batch, seq, kv_heads, d_head], that a layer makes of a stream at all positions."""

    def enough(*_):
        raise Done

    past = cache(parts.shape(model).layers, see=enough)
    forward(model, tokens, (), past, layer, layer + 1, stream)
    return tuple(x[0] for x in _caches(past, layer, layer + 1).values())


def _recorder(start: int, stop: int, stored: Callable[[Tensor, int], Tensor]) -> tuple[dict[str, list], list[Call]]:
    """Make lists that a pass fills, layer by layer, and the hooks that do it."""
    found: dict[str, list[Tensor]] = {name: [] for name in RECORDS}

    def note(name: str, axis: int) -> Callable:
        return lambda value: found[name].append(stored(value, axis))

    hooks = [(i, point, note(name, axis)) for i in range(start, stop) for name, (point, axis) in RECORDS.items()]
    return found, [*hooks, (stop - 1, OUTPUT, note("resid", 1))]


def _caches(past: Cache, start: int, stop: int) -> dict[str, tuple[Tensor, ...]]:
    """Return a pass's own keys and values by layer, [batch, pos, kv_heads, d_head]."""
    pairs = [seen.own for seen in past.layers[start:stop]]
    if missing := [layer for layer, own in enumerate(pairs, start) if own is None]:
        raise ValueError(f"layer {missing[0]} of this model keeps no keys and values of its own, which runs need")
    return {name: tuple(pair[i].transpose(1, 2) for pair in pairs) for i, name in enumerate(("keys", "values"))}
