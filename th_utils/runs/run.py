"""Running the model on plain tensors: one cached pass, then re-running only the last token.

An intervention at the last position of a prompt cannot change any earlier position in a causal model. So the keys and
values of the prompt are kept, and only the last token is computed again, from the first layer that changes. The
result equals a full run up to float error and costs one token instead of all. Interventions are hooks (see `hooks`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from .._guards import all_finite, indices, numbers, whole
from ..models import parts, state
from ..tasks.prompts import Prompts, prefix
from . import passes
from .hooks import Hook, by_name, calls, layer_of
from .record import Run, held_of, require_known_hooks
from .trial import reach


def run(
    model, prompts: Prompts, positions: str | Sequence[str] = "end", hooks: Sequence[Hook] = (), batch_size: int = 16,
    keep: int | None = None, caches: int = 0,
) -> Run:  # fmt: skip
    """Run whole prompts once, keeping what later computations need (see `Run`).

    `positions="end"` stores the last position of each prompt, "all" every position (about
    `layers·batch·seq·(3·d_model + heads·seq)` numbers), names as `("S1+1", "S2")` these and END, and all the attention.
    `hooks` act at every position and see one batch at a time (see `hooks`). `keep` is the layer `rerun` can
    resume from. Keys and values, most of a run of END, are stored from the layer `caches` on: enough for
    `rerun_last` from there. Nothing is unembedded: see `logits`.
    Raises `ValueError` for an empty batch, prompts longer than the context, tokens outside the vocabulary, left
    padding, other values of `positions`, unknown hook points, a layer outside the model, a model in a state in which
    runs would be wrong (see `state.require_ready`), and a stream that becomes NaN or infinite.
    """
    if positions not in ("end", "all"):
        if isinstance(positions, str) or not all(isinstance(name, str) for name in positions):
            raise ValueError(f"positions must be 'end', 'all' or a list of names, got {positions!r:.80}")
        positions = tuple(dict.fromkeys([*positions, "END"]))
        positions = positions if len(positions) < prompts.tokens.shape[1] else "all"  # a shape tells which it is
    hooked = set(state.require_ready(model))
    size, named = parts.shape(model), _named(model, hooks)
    keep = None if keep is None else whole("keep", keep, 0, size.layers - 1)
    caches = whole("caches", caches, 0, size.layers)  # the last: none at all
    _check_tokens(model, prompts)
    prompts = prompts.to(parts.device_of(model))
    held = held_of(prompts, positions)

    def part(rows: slice) -> dict:
        here, at = calls(named, hooked, rows), held if held is None else held[rows]
        return passes.whole(model, prompts.tokens[rows], at, here, keep=keep, caches=caches)

    records = _in_batches(part, len(prompts), batch_size)
    kept = records.pop("kept", None)
    records["kept"] = kept if kept is None else (keep, kept)
    result = Run(prompts, positions, state.fingerprint(model), **records, **_made_under(model, hooked))
    if broken := [layer for layer, stream in enumerate(result.resid) if not all_finite(stream)]:
        raise ValueError(f"NaN or infinite stream before layer {broken[0]}: see weights and hooks")
    return result


def _named(model, hooks: Sequence[Hook]) -> dict[str, list[Callable]]:
    """Return hooks by name, once the model has been tried, with those hooks that it does not obey refused."""
    named = by_name(hooks, parts.shape(model).layers)
    if not reach(model).patterns and (written := [name for name in named if name.endswith("pattern")]):
        raise ValueError(f"{written[0]}: {parts.kind(model)} lets attention be read (Run.pattern), not changed")
    return named


def _made_under(model, hooked: set[str]) -> dict:
    return {"hooked": frozenset(hooked), "edits": state.edits(model)}


def _check_tokens(model, prompts: Prompts) -> None:
    """Refuse tokens that the model cannot read, or would read wrongly without a word."""
    tokens, size, tokenizer = prompts.tokens, parts.shape(model), parts.tokenizer(model)
    if tokens.shape[1] > size.context:
        raise ValueError(f"prompts have {tokens.shape[1]} tokens, this model's context is {size.context}: cut them")
    indices("prompts' tokens", tokens, size.vocab)
    pad, first = tokenizer.pad_token_id, {tokenizer.bos_token_id, *prefix(tokenizer)}
    # A first token may be padding only as what texts begin with, which some tokenizers pad with.
    if pad is not None and tokens.shape[1] > 1:
        left = (tokens[:, 0] == pad) & ((tokens[:, 1] == pad) | (pad not in first)) & (prompts.end > 0)
        if left.any():
            raise ValueError(f"prompts must be padded on the right: {left.sum()} of {len(prompts)} begin with padding")
        last = tokens.gather(1, prompts.end[:, None]) == pad
        if pad not in (*first, tokenizer.eos_token_id) and last.any():
            raise ValueError(f"END must be the last token: in {last.sum()} of {len(prompts)} prompts it is padding")


def _in_batches(part: Callable[[slice], dict], n: int, batch_size: int) -> dict:
    """Join the records of all batches, field by field; each goes to its place at once, so that little is held twice."""
    if not n:
        raise ValueError("there are no prompts to run: was everything filtered out?")
    batches = [slice(i, i + batch_size) for i in range(0, n, whole("batch_size", batch_size))]
    batches[-1] = slice(batches[-1].start, None)  # open: a hook with values for more prompts then has too many
    found: dict = {}
    # Shown only where it takes long, on stderr, which the book leaves out.
    for rows in tqdm(batches, desc="prompts", delay=5, leave=False):
        records = part(rows)
        while records:
            name, new = records.popitem()
            layers, axis = (new, 0) if isinstance(new, tuple) else ((new,), int(name != "kept"))
            if name not in found:
                found[name] = [x.new_empty(*x.shape[:axis], n, *x.shape[axis + 1 :]) for x in layers]
            for joined, x in zip(found[name], layers, strict=True):
                joined[(slice(None),) * axis + (rows,)] = x
    return {name: tuple(x) if name in ("keys", "values") else x[0] for name, x in found.items()}


def _check_base(model, base: Run, start: int, given: bool = True) -> set[str]:
    """Refuse a base in which something acts that a re-run from `start` leaves out; return where hooks act before."""
    require_known_hooks(model, base)
    inside = f"blocks.{start}.hook_resid_pre"  # the stored stream has been through it
    before = {name for name in base.hooked if layer_of(name) < start or name == inside}
    if later := sorted(base.hooked - before):
        raise ValueError(f"the base was run with a hook at {later[0]}, which would be left out: give all hooks at once")
    if early := [layer for layer, *_ in base.edits ^ state.edits(model) if layer < start or not given]:
        raise ValueError(f"layer {min(early)} is edited now or was in the base, not both: run anew, or start there")
    return before


def rerun(
    model, base: Run, hooks: Sequence[Hook] = (), batch_size: int = 16, stop: int | None = None
) -> Run:  # fmt: skip
    """Run all positions again from the layer that `base` was kept at (`run(..., keep=layer)`, `Run.resumable_at`).

    The result stores the positions that `base` does, and keys and values from where `base` begins to. For edits of the
    weights (`edits.edited`) or hooks at every position, in that layer and later: exact, and saves the layers before.
    `stop` ends before that layer, and the result holds no later one. Gradients flow to what the hooks put in.
    Raises `ValueError` when `base` kept no layer or is of another model, or a hook is before that layer.
    """
    if base.kept is None:
        raise ValueError("this run kept no layer to resume from: call run(..., keep=layer)")
    start, stream = base.kept
    hooked, named = _check_base(model, base, start), _named(model, hooks)
    held, layers = held_of(base.prompts, base.positions), parts.shape(model).layers
    stop = layers if stop is None else whole("stop", stop, start + 1, layers)
    caches = next((layer for layer, keys in enumerate(base.keys) if keys.shape[1]), layers)
    if (first := min(map(layer_of, named), default=layers)) < start:
        raise ValueError(f"a hook of layer {first} is before layer {start}, where the run was kept")

    def part(rows: slice) -> dict:
        here, at = calls(named, hooked, rows), held if held is None else held[rows]
        here = [call for call in here if call[0] < stop]
        return passes.whole(model, base.tokens[rows], at, here, start, stop, stream[rows], caches=caches)

    new = {n: _follow(getattr(base, n)[:start], x) for n, x in _in_batches(part, len(base), batch_size).items()}
    return replace(base, **_made_under(model, hooked), **new)


def keys_and_values(
    model, base: Run, layer: int, stream: Float[Tensor, "batch seq d_model"]
) -> tuple[Float[Tensor, "batch seq kv_heads d_head"], Float[Tensor, "batch seq kv_heads d_head"]]:
    """Compute the keys and values that a layer would make of another stream, as `Run.keys` and `Run.values` hold them.

    Raises `ValueError` for runs of another model, and a stream of another shape.
    """
    _check_base(model, base, 0)
    size = parts.shape(model)
    layer = whole("layer", layer, 0, size.layers - 1)
    shape = {"batch": len(base), "seq": base.tokens.shape[1], "d_model": size.d_model}
    return passes.cached(model, base.tokens, layer, numbers("stream", stream, shape, base.z))


def _follow(before, after):
    """The records of early layers, then those of the later ones."""
    return before + after if isinstance(after, tuple) else torch.cat([before, after])


def rerun_last(model, base: Run, hooks: Sequence[Hook] = (), start: int | None = None, stop: int | None = None) -> Run:
    """Re-run only the last token of every prompt under `hooks`; a `Run` with positions "end".

    `hooks` see tensors with a position axis of length 1 (END). `start` is the first layer computed again, by
    default the first one hooked; it may be given when the weights were edited, and then every layer before it must be
    untouched. The stored keys and values must still be right: an edit of the weights that acts at earlier
    positions needs `run`. `stop` ends before that layer; a later re-run can go on there. Keys and values of the layers
    computed again are not stored. Gradients flow to what the hooks put in.
    Raises `ValueError` for a base of another model, and one that does not hold the layers that are needed.
    """
    n_layers = parts.shape(model).layers
    named = _named(model, hooks)
    first = min(map(layer_of, named), default=n_layers)
    given, start = start is not None, first if start is None else whole("start", start, 0, first)
    hooked = _check_base(model, base, start, given)
    stop = n_layers if stop is None else whole("stop", stop, start, n_layers)
    if start >= len(base.resid) or stop > len(base.keys) or any(keys.shape[1] == 0 for keys in base.keys[start:stop]):
        raise ValueError(f"base does not hold all that layers {start} to {stop} need (stop=, run(caches=), a re-run?)")
    named = {name: functions for name, functions in named.items() if layer_of(name) < stop}
    records = {name: x[: start + (name == "resid" and start == stop)] for name, x in base.end_only().items()}
    if start < stop:
        new = passes.last(model, base, lambda turned: calls(named, hooked, turned=turned), start, stop)
        records = {name: _follow(before, new[name]) for name, before in records.items()}
    for name, old in (("keys", base.keys), ("values", base.values)):  # none of the layers computed again
        records[name] = (*old[:start], *(x[:, :0].clone() for x in old[start:stop]), *old[stop:])
    return replace(base, positions="end", kept=None, **_made_under(model, hooked), **records)
