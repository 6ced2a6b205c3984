"""One head's attention at one position of every prompt, with one of its inputs changed in many ways.

The model's own attention computes it. The cases stand abreast, as queries of one prompt that are all at the same
position, and the cache decides what they see; of the layer only the head's group is computed. Where a model does not
allow that (ALiBi counts positions in columns, some norms span all heads), which its trial finds out, all heads are
computed, or prompts are repeated: as exact, and slower.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import Cache

from ..models import parts
from ..models.forward import Call, Done, cache, forward, given_mask, projecting, query_input, z_of
from ..weights.heads import Head
from .record import Run
from .turning import Turned

Way = Literal["group", "abreast", "repeated"]


def attend(
    model, clean: Run, head: Head, via: str, streams: Float[Tensor, "n batch d_model"],
    read_at: Int[Tensor, " batch"], source: Int[Tensor, " batch"], way: Way,
) -> tuple[Float[Tensor, "n batch seq"], Float[Tensor, "n batch d_head"]]:  # fmt: skip
    """Compute a head's attention and z at `read_at`, each case with a stream of its own for one input.

    Its queries are made of `streams` at `read_at` (via "q"), or its keys or values at `source` (via "k", "v"). All else
    is as in the clean run.
    """
    (layer, number), groups = head, parts.shape(model).groups
    if way == "repeated" and len(streams) > 1:
        again = torch.arange(len(clean)).repeat(len(streams))
        found = attend(model, clean.select(again), head, via, streams.flatten(0, 1)[None], read_at[again],
                       source[again], way)  # fmt: skip
        return tuple(x[0].unflatten(0, (len(streams), -1)) for x in found)
    heads = slice(number // groups, number // groups + 1) if way == "group" else slice(None)
    turned, n, seq = Turned(clean, read_at), len(streams), clean.tokens.shape[1]
    keys, values = (turned.seen(x[layer][:, :, heads]) for x in (clean.keys, clean.values))
    mask, streams = turned.mask, streams.movedim(0, 1)
    if n > 1:
        mask = _added(model, clean, layer, turned).expand(-1, -1, n, -1)
    if via != "q":
        made = _made(model, clean, layer, via, streams, source, heads)
        column = (source + turned.shift[:, 0])[:, None, None, None]
        if n == 1:
            changed = {"k": keys, "v": values}[via].scatter(2, column.expand_as(made), made)
            keys, values = (changed, values) if via == "k" else (keys, changed)
        else:  # a column of its own for each case; softmax does not mind the order of columns
            low, at = torch.finfo(mask.dtype).min, column.expand(-1, 1, n, 1)
            own = torch.where(torch.eye(n, dtype=torch.bool, device=mask.device), mask.gather(-1, at), low)
            mask = torch.cat([mask.scatter(-1, at, low), own], -1)
            same = (values if via == "k" else keys).gather(2, column.expand_as(made))
            more = (made, same) if via == "k" else (same, made)
            keys, values = (torch.cat(pair, 2) for pair in zip((keys, values), more, strict=True))
    given, at = None, read_at[:, None].expand(-1, n)
    if via == "q":  # the rest of attention, such as a gate, goes on reading the clean stream
        given = query_input(model, layer, clean.tokens.gather(1, at), streams, position_ids=at)
    streams = clean.at(read_at).resid[layer][:, None].expand(-1, n, -1)
    found: dict[str, Tensor] = {}

    def note(name: str, value: Tensor) -> None:
        found[name] = value
        if len(found) == 2:
            raise Done

    number = number % groups if way == "group" else number
    past = cache(len(clean.keys), keys.shape[2] - n, lambda *_: (keys, values))
    with z_of(model, layer, lambda x: note("z", x.unflatten(-1, (-1, keys.shape[-1]))[:, :, number])):
        _pass(model, clean, layer, via, streams, read_at, mask, past, heads, given,
              (layer, "attn.hook_pattern", lambda x: note("pattern", x[:, [number]])))  # fmt: skip
    pattern = found["pattern"]
    if via != "q" and n > 1:
        pattern, own = pattern.split([seq, n], -1)
        pattern = pattern.scatter(-1, column.expand(-1, -1, n, -1), own.diagonal(dim1=-2, dim2=-1)[..., None])
    return turned.back(pattern)[:, 0].transpose(0, 1), found["z"].transpose(0, 1)


def _pass(
    model, clean: Run, layer: int, via: str, streams: Tensor, at: Tensor, mask: Tensor, past: Cache, heads: slice,
    given: Tensor | None = None, *hooks: Call,
) -> None:  # fmt: skip
    """Run one layer on streams [batch, n, d_model] all at `at`; what is not made of them is made once."""
    n = streams.shape[1]
    with projecting(model, layer, via if n > 1 else "qkv", heads, given):
        forward(model, clean.tokens.gather(1, at[:, None].expand(-1, n)), hooks, past, layer, layer + 1, streams,
                position_ids=at[:, None].expand(-1, n), attention_mask=mask)  # fmt: skip


def _made(
    model, clean: Run, layer: int, via: str, streams: Tensor, at: Tensor, heads: slice
) -> Float[Tensor, "batch kv_heads n d_head"]:
    """Compute the keys or values that a layer makes of streams at one position."""

    def stop(*_):
        raise Done

    n, seq = streams.shape[1], clean.tokens.shape[1]
    past = cache(len(clean.keys), seq - n, stop)
    mask = Turned(clean, at).mask if n == 1 else streams.new_zeros(len(at), 1, n, seq)
    _pass(model, clean, layer, via, streams, at, mask, past, heads)
    return past.layers[layer].own["kv".index(via)]


def _added(model, clean: Run, layer: int, turned: Turned) -> Float[Tensor, "batch 1 1 seq"]:
    """Find what the model adds to a layer's scores of a query in the last column: its windows and other masks."""
    at, past = turned.at[:, None], cache(len(clean.keys), len(turned.columns) - 1)
    found = given_mask(model, layer, clean.tokens.gather(1, at), past, position_ids=at, attention_mask=turned.mask)
    mask = turned.mask.bool()[:, None, None] if found is None else found
    mask = torch.where(mask, 0.0, torch.finfo(clean.z.dtype).min) if mask.dtype == torch.bool else mask
    return mask.to(clean.z).expand(len(clean), -1, -1, -1)
