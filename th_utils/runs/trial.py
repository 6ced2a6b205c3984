"""What can be done with a model, found by trying it once: nothing is known by a model's name.

Runs call the model's own forward, so they are right wherever TransformerLens is. What remains to be found out is
whether all layers are made of heads, what attention adds to the stream, which hooks act, whether going on from stored
keys and values gives what a whole run does, and whether cases of patching may stand abreast.
"""

from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import pandas as pd
import torch
from torch import Tensor

from ..models import laws, parts, state
from ..models.forward import Call
from ..tasks.prompts import Prompts
from .attend import Way, attend
from .hooks import by_name, calls
from .passes import last, whole
from .record import Run

_REACH: WeakKeyDictionary = WeakKeyDictionary()  # model -> its reach, or the reason why it has none


@dataclass(frozen=True)
class Reach:
    """`patterns`: a hook can change attention probabilities. `way`: how cases of patching are computed together."""

    patterns: bool
    way: Way


@torch.no_grad()
def reach(model) -> Reach:
    """Try a model, the first time; `ValueError` with the reason for one that cannot be run rightly."""
    if model not in _REACH:
        try:
            with state.unhooked(model):
                _REACH[model] = _try(model)
        except Exception as error:  # whatever a model of another kind fails with is the reason
            _REACH[model] = f"{parts.kind(model)} cannot be run here: {str(error) or type(error).__name__}"
    if isinstance(found := _REACH[model], str):
        raise ValueError(found)
    return found


def _try(model) -> Reach:
    parts.require_heads(model)
    prompts, layers = _samples(model), parts.shape(model).layers
    rows = torch.arange(len(prompts), device=prompts.end.device)

    def own(hooks: list[Call]) -> Run:
        found = whole(model, prompts.tokens, prompts.end, hooks, "all")
        return Run(prompts, "all", None, **found)

    def log_p(run: Run) -> Tensor:
        return laws.unembed(model, laws.final_norm(model, run.at().resid[-1])).log_softmax(-1)

    writes: list[Tensor] = []
    base = own([(i, "hook_attn_out", lambda x: writes.append(x)) for i in range(layers)])
    if _gap(log_p(base), model(prompts.tokens)[rows, prompts.end].log_softmax(-1)) > laws.CLOSE:
        raise ValueError("its logits do not follow from the stream that its blocks leave")
    for layer, written in enumerate(writes):
        ours = laws.attention_write(model, layer, base.z[layer])
        if _gap(ours, written) > laws.CLOSE * max(1.0, float(written.abs().max())):
            raise ValueError(f"attention of layer {layer} adds more than z W_O, b_O, a norm and a multiplier")
    acts = {}
    for point, change in {
        "attn.hook_z": lambda x, _: x.flip(-1) * 1.5,
        "attn.hook_q": lambda x, _: x.flip(-1) * 1.5,
        "attn.hook_pattern": lambda x, _: x.square(),
    }.items():
        name = f"blocks.{layers // 2}.{point}"
        full = own(calls(by_name([(name, _at_end(change, point, rows, prompts.end))], layers), set()))
        named = by_name([(name, change)], layers)
        short = last(model, base, lambda turned, n=named: calls(n, set(), turned=turned), layers // 2, layers)
        end = laws.unembed(model, laws.final_norm(model, short["resid"][-1][:, 0])).log_softmax(-1)
        acts[point] = _gap(log_p(full), log_p(base)) > 0
        if (apart := _gap(log_p(full), end)) > laws.CLOSE:
            raise ValueError(f"going on from stored keys and values gives other log p (by {apart:.1g}) under {point}")
    if not acts["attn.hook_z"]:
        raise ValueError("a hook at attn.hook_z does not change what it says")
    return Reach(acts["attn.hook_pattern"], _way(model, base))


def _at_end(change: Callable, point: str, rows: Tensor, end: Tensor) -> Callable:
    """Make a hook of whole runs that acts at END alone."""

    def at_end(value: Tensor, hook) -> Tensor:
        value = value.clone()
        there = value.movedim(2 if point.endswith("pattern") else 1, 1)  # a view
        there[rows, end] = change(there[rows, end], hook)
        return value

    return at_end


def _way(model, base: Run) -> Way:
    """Find the fastest way in which cases of patching give what they do one by one."""
    size, source = parts.shape(model), base.end.clamp_max(1)
    head = (size.layers - 1, size.heads - 1)
    stream = base.at().resid[head[0]]
    streams = stream + torch.stack([stream * s for s in (0.0, -0.3, 0.5)]).flip(-1)

    def right(way: Way) -> bool:
        for via in "qkv":
            for one, other in zip(*(attend(model, base, head, via, streams, base.end, source, w)
                                    for w in (way, "repeated")), strict=True):  # fmt: skip
                if one.shape != other.shape or _gap(one, other) > laws.CLOSE * float(other.abs().max()):
                    return False
        return True

    for way in ("group", "abreast"):
        try:
            if right(way):
                return way
        except Exception:  # a decoder may not take masks or heads of this shape
            continue
    return "repeated"


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
