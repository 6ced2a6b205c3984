"""What can be done with a model, found by trying it once: nothing is known by a model's name.

Runs call the model's own forward, so they are right wherever TransformerLens is. What remains to be found out is
whether all layers are made of heads, what attention adds to the stream, which hooks act, whether going on from stored
keys and values gives what a whole run does, and whether cases of patching may stand abreast.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import pandas as pd
import torch
from torch import Tensor

from ..models import laws, parts, state
from ..models.forward import Call
from ..tasks.prompts import Prompts
from ..weights.heads import Head
from .attend import Way, attend
from .hooks import by_name, calls
from .passes import last, whole
from .record import Run

_REACH: WeakKeyDictionary = WeakKeyDictionary()  # model -> its reach
_NORMALISED: WeakKeyDictionary = WeakKeyDictionary()  # model -> layer -> whether it normalises queries


@dataclass(frozen=True)
class Reach:
    """`patterns`: a hook can change attention probabilities. `way`: how cases of patching are computed, None: not."""

    patterns: bool
    way: Way | None


@torch.no_grad()
def reach(model) -> Reach:
    """Try a model, the first time; `ValueError` with the reason for one that cannot be run rightly."""
    if model in _REACH:
        return _REACH[model]
    try:
        with state.unhooked(model):
            found = _try(model)
    except Exception as error:  # whatever a model of another kind fails with is the reason
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        fix = "TransformerLens' own run_with_hooks() and run_with_cache() do not need that"
        raise ValueError(f"{parts.kind(model)} cannot be run here: {said:.300}; {fix}") from error
    if found.way and not state.edits(model):  # what was found in a passing state is not kept
        _REACH[model] = found
    return found


def _try(model) -> Reach:
    parts.require_heads(model)
    prompts, layers = _samples(model), parts.shape(model).layers
    rows = torch.arange(len(prompts), device=prompts.end.device)

    def own(tokens: Tensor) -> Tensor:
        return model(tokens)[rows, prompts.end].log_softmax(-1)

    writes, mlps, again = [], [], []
    look = {"hook_attn_out": lambda x: writes.append(x), "hook_mlp_out": lambda x: mlps.append(x.clone())}
    base = _whole(model, prompts, [(i, *call) for i in range(layers) for call in look.items()])
    behind = torch.arange(prompts.tokens.shape[1], device=rows.device) > prompts.end[:, None]
    other = torch.where(behind, prompts.tokens.flip(-1), prompts.tokens)
    ours = laws.unembed(model, laws.final_norm(model, base.at().resid[-1])).log_softmax(-1)
    if _gap(ours, own(other)) > laws.CLOSE:
        if _gap(ours, own(prompts.tokens)) > laws.CLOSE:
            raise ValueError("its logits do not follow from the stream that its blocks leave")
        raise ValueError("what follows a token changes what it says")
    for layer, written in enumerate(writes):
        ours = laws.attention_write(model, layer, base.z[layer])
        if _gap(ours, written) > laws.CLOSE * max(1.0, float(written.abs().max())):
            raise ValueError(f"attention of layer {layer} writes more than z W_O, b_O, a norm and a multiplier")

    def more(x: Tensor) -> Tensor:
        again.append(x * 1.5)
        return again[-1]

    more_of = [(i, "hook_attn_out", more) for i in range(layers)]
    moved = _whole(model, prompts, more_of + [(i, "hook_mlp_out", lambda _, i=i: mlps[i]) for i in range(layers)])
    for layer, (was, now) in enumerate(zip(base.resid.diff(dim=0), moved.resid.diff(dim=0), strict=True)):
        if _gap(now - was, again[layer] - writes[layer]) > laws.CLOSE * max(1.0, float(now.abs().max())):
            raise ValueError(f"layer {layer} does more than add what attention and MLP write to the stream")
    acts, middle, plain = {}, layers // 2, base.at().resid[-1]
    for point, change in {
        "attn.hook_z": lambda x, _: x.flip(-1) * 1.5,
        "attn.hook_q": lambda x, _: x.flip(-1) * 1.5,
        "attn.hook_pattern": lambda x, _: x.square(),
    }.items():
        name = f"blocks.{middle}.{point}"
        once, named = (by_name([(name, function)], layers) for function in (
            _at_end(change, point, rows, prompts.end), change))  # fmt: skip
        full = whole(model, prompts.tokens, prompts.end[:, None], calls(once, set()), middle,
                     stream=base.resid[middle])  # fmt: skip
        short = last(model, base, lambda turned, n=named: calls(n, set(), turned=turned), middle, layers)
        (end, again), size = (found["resid"][-1][:, 0] for found in (full, short)), max(1.0, float(plain.abs().max()))
        if (apart := _gap(end, again)) > laws.CLOSE * size:
            raise ValueError(f"going on from stored keys and values gives another stream (by {apart:.1g}): {point}")
        acts[point] = _gap(end, plain) > 1e-5 * size
        if not (acts[point] or point.endswith("pattern")):
            raise ValueError(f"a hook at {point} does not change what it says")
    return Reach(acts["attn.hook_pattern"], _way(model, base))


@torch.no_grad()
def normalises_queries(model, layer: int) -> bool:
    """Tell whether a layer's attention stays as it is when all its queries are halved."""
    known = _NORMALISED.setdefault(model, {})
    if layer not in known:
        with state.unhooked(model):
            base, named = _whole(model, _samples(model), []), {f"blocks.{layer}.attn.hook_q": [lambda q, _: q / 2]}
            half = last(model, base, lambda turned: calls(named, set(), turned=turned), layer, layer + 1)
        known[layer] = _gap(half["pattern"][0], base.end_only()["pattern"][layer]) < laws.CLOSE
    return known[layer]


def _whole(model, prompts: Prompts, hooks: list[Call]) -> Run:
    return Run(prompts, "all", None, **whole(model, prompts.tokens, None, hooks))


def _at_end(change: Callable, point: str, rows: Tensor, end: Tensor) -> Callable:
    """Make a hook of whole runs that acts at END alone."""

    def at_end(value: Tensor, hook) -> Tensor:
        value = value.clone()
        there = value.movedim(2 if point.endswith("pattern") else 1, 1)  # a view
        there[rows, end] = change(there[rows, end], hook)
        return value

    return at_end


def _way(model, base: Run) -> Way | None:
    """Find the fastest way in which cases of patching give what whole prompts do one by one; None if there is none."""
    size, source = parts.shape(model), base.end.clamp_max(1)
    head = (size.layers - 1, size.heads - 1)
    stream = base.at().resid[head[0]]
    streams = stream + torch.stack([stream * s for s in (0.0, -0.3, 0.5)]).flip(-1)
    truth = {via: [_patched(model, base, head, via, one, source) for one in streams] for via in "qkv"}

    def right(way: Way) -> bool:
        for via, cases in truth.items():
            ours = attend(model, base, head, via, streams, base.end, source, way)
            for one, other in zip(ours, map(torch.stack, zip(*cases, strict=True)), strict=True):
                if one.shape != other.shape or _gap(one, other) > laws.CLOSE * float(other.abs().max()):
                    return False
        return True

    for way in ("group", "abreast", "repeated"):
        with suppress(Exception):  # a decoder may not take masks or heads of this shape
            if right(way):
                return way
    return None


def _patched(model, base: Run, head: Head, via: str, stream: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """Compute a head's attention and z at END with a stream of its own for one input, by passes of whole prompts."""
    (layer, number), at, seen = head, base.end if via == "q" else source, []
    rows, changed = torch.arange(len(base), device=at.device), base.resid[layer].clone()
    changed[rows, at] = stream

    def give(x: Tensor) -> Tensor:
        x = x.clone()
        x[rows, at] = seen[0]
        return x

    for read, function in ((changed, lambda x: seen.append(x[rows, at].clone())), (base.resid[layer], give)):
        call = (layer, f"attn.hook_{via}", function)
        found = whole(model, base.tokens, base.end[:, None], [call], layer, layer + 1, read)
    return found["pattern"][0][:, number, 0], found["z"][0][:, 0, number]


def _samples(model, seq: int = 9) -> Prompts:
    """Make three prompts of random tokens, of different lengths, padded on the right."""
    size, device = parts.shape(model), parts.device_of(model)
    seq = min(seq, size.context)
    end = torch.tensor([seq - 1, seq // 2, max(seq - 3, 0)])
    tokens = torch.randint(0, size.vocab, (len(end), seq), generator=torch.Generator().manual_seed(0))
    table = pd.DataFrame({"i": range(len(end))})
    return Prompts(tokens, tokens[:, 0], tokens[:, 0], {"END": end}, ("",) * len(end), table).to(device)


def _gap(one: Tensor, other: Tensor) -> float:
    found = float((one - other).abs().max())
    return found if found == found else torch.inf  # NaN is no agreement
