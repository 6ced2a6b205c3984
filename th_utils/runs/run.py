"""Running the model on plain tensors: one cached pass, then re-running only the last token.

An intervention at the last position of a prompt cannot change any earlier position in a causal model. So the keys and
values of the prompt are kept, and only the last token is computed again, from the first layer that changes. The
result equals a full run up to float error and costs one token instead of all.

Interventions are TransformerLens hooks (see `blocks`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from .._guards import all_finite, chosen_rows, indices, whole
from ..classes import check_classes
from ..models import parts
from ..tasks import Prompts
from .engine import Blocks, Hook, by_name


@dataclass(frozen=True)
class Run:
    """One cached pass. `positions` is "end" or "all"; with "end" the query axis `pos` has length 1.

    `keys`, `values`: per layer `[batch, seq, kv_heads, d_head]`, keys rotated; always for the whole prompt.
    `resid`: [layers + 1, batch, pos, d_model], the residual stream before each layer and after the last.
    `q`, `z`: [layers, batch, pos, heads, d_head], queries before rotation and head outputs before W_O.
    `pattern`: [layers, batch, heads, pos, seq], attention probabilities.
    `kept`: (layer, [batch, seq, d_model]), the stream at all positions before one layer, for `rerun`; or None.
    """

    tokens: Int[Tensor, "batch seq"]
    end: Int[Tensor, " batch"]
    positions: str
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    resid: Float[Tensor, "layers_1 batch pos d_model"]
    q: Float[Tensor, "layers batch pos heads d_head"]
    z: Float[Tensor, "layers batch pos heads d_head"]
    pattern: Float[Tensor, "layers batch heads pos seq"]
    kept: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.end)

    def at(self, stored: Tensor, position: Int[Tensor, " batch"] | None = None, axis: int = 2) -> Tensor:
        """One position per prompt of `resid`, `q`, `z` (axis 2) or `pattern` (axis 3), END by default."""
        if self.positions == "end":
            if position is not None and not torch.equal(position, self.end):
                raise ValueError("this run keeps END only: call run(..., positions='all') to look at other positions")
            return stored.select(axis, 0)
        index = self.end
        if position is not None:
            index = indices("position", position, self.tokens.shape[1], batch=len(self)).to(index.device)
        moved = stored.movedim(axis, 2)
        return moved[:, torch.arange(len(self), device=stored.device), index]


def run(
    model,
    prompts: Prompts,
    positions: str = "end",
    hooks: Sequence[Hook] = (),
    batch_size: int = 16,
    keep: int | None = None,
    caches: int = 0,
) -> Run:
    """One pass over whole prompts, keeping what later computations need (see `Run`).

    `positions="end"` stores the last position of each prompt, "all" every position (about
    `layers·batch·seq·(3·d_model + heads·seq)` numbers). `hooks` act at every position and see one batch at a time;
    their second argument has the batch's prompts as `.rows`. `keep` is the layer from which `rerun` shall be able
    to go on. Keys and values, most of a run's memory, are stored from the layer `caches` on: enough for `rerun_last`
    from there. Nothing is unembedded: use `logits(model, run)`.
    Raises `ValueError` for prompts that are none, too long for the model or padded on the left, other values of
    `positions`, unknown hook points, a layer outside the model, and when the stream becomes NaN or infinite.
    """
    if positions not in ("end", "all"):
        raise ValueError(f"positions must be 'end' or 'all', got {positions!r}")
    keep = None if keep is None else whole("keep", keep, 0, model.cfg.n_layers - 1)
    caches = whole("caches", caches, 0, model.cfg.n_layers)  # the last: none at all
    _check_tokens(model, prompts)
    device = parts.device_of(model)
    tokens, end = prompts.tokens.to(device), prompts.end.to(device)

    def part(rows: slice) -> Run:
        return _run_batch(model, tokens[rows], end[rows], positions, Blocks(model, hooks, rows), keep, caches=caches)

    result = _in_batches(part, len(prompts), batch_size)
    if broken := [layer for layer, stream in enumerate(result.resid) if not all_finite(stream)]:
        raise ValueError(f"NaN or infinite stream before layer {broken[0]}: see weights and hooks")
    return result


def _check_tokens(model, prompts: Prompts) -> None:
    """Refuse tokens that the model cannot read, or would read wrongly without a word."""
    tokens, context, vocabulary = prompts.tokens, model.cfg.n_ctx, model.cfg.d_vocab
    if tokens.is_meta:
        raise ValueError("prompts are on the device meta, which holds no numbers")
    if tokens.shape[1] > context:
        raise ValueError(f"prompts have up to {tokens.shape[1]} tokens, this model's context is {context}: cut them")
    if len(prompts) and not 0 <= int(tokens.min()) <= int(tokens.max()) < vocabulary:
        raise ValueError(f"prompts must have tokens 0-{vocabulary - 1}, got {tokens.min()} to {tokens.max()}")
    pad, bos = model.tokenizer.pad_token_id, model.tokenizer.bos_token_id
    # A first token may be padding only as the beginning-of-sequence token, which some tokenizers pad with.
    if pad is not None and tokens.shape[1] > 1:
        left = (tokens[:, 0] == pad) & ((tokens[:, 1] == pad) | (pad != bos)) & (prompts.end > 0)
        if left.any():
            raise ValueError(f"prompts must be padded on the right: {left.sum()} of {len(prompts)} begin with padding")


def rerun(model, base: Run, hooks: Sequence[Hook] = (), batch_size: int = 16) -> Run:
    """Run all positions again from the layer that `base` was kept at (`run(..., keep=layer)` or `kept_at`).

    The result stores the positions that `base` does. For edits of the weights (`edits.edited`) or hooks that act at
    every position, in that layer and later: exact, and saves the layers before. Gradients flow to what the hooks
    put in. Raises `ValueError` when `base` kept no layer or has no prompts, or a hook is before that layer.
    """
    if base.kept is None:
        raise ValueError("this run kept no layer to go on from: call run(..., keep=layer)")
    early = [layer for layer, _ in by_name(hooks, model.cfg.n_layers) if layer < base.kept[0]]
    if early:
        raise ValueError(f"hooks of layers {early} are before layer {base.kept[0]}, where the run was kept")

    def part(index: slice) -> Run:
        old = rows(base, index)
        return _run_batch(model, old.tokens, old.end, base.positions, Blocks(model, hooks, index), old.kept[0], old)

    return _in_batches(part, len(base), batch_size)


def kept_at(base: Run, layer: int) -> Run:
    """A run of END only that `rerun` can take up at any `layer`, from one that holds all positions.

    One full pass then serves interventions from every layer on. A hook on this layer's `hook_resid_pre` in that pass
    is already in the kept stream, unlike with `run(keep=)`: do not give it to `rerun` again.
    Raises `ValueError` for a run without `positions="all"` and a layer that it does not hold.
    """
    if base.positions != "all":
        raise ValueError(f"base must be a run with positions='all', got {base.positions!r}")
    layer = whole("layer", layer, 0, len(base.resid) - 2)
    axes = {"resid": 2, "q": 2, "z": 2, "pattern": 3}
    ends = {name: base.at(getattr(base, name), axis=axis).unsqueeze(axis) for name, axis in axes.items()}
    return replace(base, positions="end", kept=(layer, base.resid[layer]), **ends)


def _in_batches(part: Callable[[slice], Run], n: int, batch_size: int) -> Run:
    if not n:
        raise ValueError("there are no prompts to run: was everything filtered out?")
    batch_size = whole("batch_size", batch_size)
    batches = [slice(i, i + batch_size) for i in range(0, n, batch_size)]
    # Shown only where it takes long, on stderr, which the book leaves out.
    parts = [part(rows) for rows in tqdm(batches, desc="prompts", delay=5, leave=False)]
    if len(parts) == 1:
        return parts[0]
    fields = [vars(part) for part in parts]  # emptied field by field: nothing large is held twice for long
    kept = fields[0]["kept"] and (fields[0]["kept"][0], torch.cat([f.pop("kept")[1] for f in fields]))
    return Run(
        torch.cat([f["tokens"] for f in fields]), torch.cat([f["end"] for f in fields]), fields[0]["positions"],
        tuple(torch.cat(layer) for layer in zip(*(f.pop("keys") for f in fields), strict=True)),
        tuple(torch.cat(layer) for layer in zip(*(f.pop("values") for f in fields), strict=True)),
        *(torch.cat([f.pop(name) for f in fields], dim=1) for name in ("resid", "q", "z", "pattern")), kept,
    )  # fmt: skip


def _run_batch(
    model, tokens: Tensor, end: Tensor, positions: str, layers: Blocks, keep: int | None, old: Run | None = None,
    caches: int = 0,
) -> Run:  # fmt: skip
    """One batch, from the embedding or, with `old`, from the layer it was kept at."""
    batch, seq = tokens.shape

    def stored(x: Tensor, axis: int = 1) -> Tensor:
        if positions == "all":
            return x
        return x.movedim(axis, 1)[torch.arange(batch, device=x.device), end].unsqueeze(axis)

    start, resid = (0, parts.embed(model, tokens)) if old is None else old.kept
    kept = None
    where = torch.arange(seq, device=tokens.device).expand(batch, seq)
    angles = parts.rotary(model, resid, where)
    causal = torch.ones(seq, seq, dtype=torch.bool, device=tokens.device).tril()
    new: dict[str, list[Tensor]] = {name: [] for name in ("keys", "values", "resid", "q", "z", "pattern")}
    if old is not None:
        new = {name: list(getattr(old, name)[:start]) for name in new}
    for layer in range(start, model.cfg.n_layers):
        if layer == keep:
            kept = (layer, resid)
        resid = layers.hook(layer, "hook_resid_pre", resid)
        q, q_rotated, k, v = layers.qkv(layer, resid, angles)
        scores = layers.scores(q_rotated, k).masked_fill(~causal, -torch.inf)
        pattern = layers.hook(layer, "attn.hook_pattern", scores.softmax(-1).flatten(1, 2))
        grouped = pattern.unflatten(1, (-1, layers.groups))
        z = torch.einsum("bhgps,bshd->bphgd", grouped, v).flatten(2, 3)
        z, after = layers.rest(layer, resid, z)
        if layer < caches:
            k, v = (x[:, :0].clone() for x in (k, v))
        for name, value in (("keys", k), ("values", v), ("resid", stored(resid)), ("q", stored(q)), ("z", stored(z)),
                            ("pattern", stored(pattern, 2))):  # fmt: skip
            new[name].append(value)
        resid = after
    new["resid"].append(stored(resid))
    stacked = {name: torch.stack(new.pop(name)) for name in ("resid", "q", "z", "pattern")}
    return Run(tokens, end, positions, tuple(new["keys"]), tuple(new["values"]), **stacked, kept=kept)


def rows(base: Run, index: Sequence[int] | Tensor | slice) -> Run:
    """The same run for some of its prompts (an index may repeat: one prompt, many interventions)."""
    if not isinstance(index, slice):
        index = chosen_rows("index", index, len(base))
    return Run(
        base.tokens[index], base.end[index], base.positions, tuple(k[index] for k in base.keys),
        tuple(v[index] for v in base.values), *(getattr(base, n)[:, index] for n in ("resid", "q", "z", "pattern")),
        base.kept and (base.kept[0], base.kept[1][index]),
    )  # fmt: skip


def rerun_last(model, base: Run, hooks: Sequence[Hook] = (), start: int | None = None, stop: int | None = None) -> Run:
    """Re-run only the last token of every prompt under `hooks`; a `Run` with positions "end".

    `hooks` see tensors with a position axis of length 1 (END). `start` is the first layer computed again, by
    default the first one hooked; it may be given when the weights were edited, and then every layer before it must be
    untouched. The stored keys and values must still be right: an edit of the weights that acts at earlier
    positions needs `run`. `stop` ends before that layer (later layers are left out of the result). The result shares
    `keys` and `values` with `base`: their last column is the base's. Gradients flow to what the hooks put in.
    """
    layers = Blocks(model, hooks)
    n_layers = model.cfg.n_layers
    first = min((layer for layer, _ in layers.hooks), default=n_layers)
    start = first if start is None else whole("start", start, 0, first)
    stop = n_layers if stop is None else whole("stop", stop, start, n_layers)
    if start >= len(base.resid) or any(keys.shape[1] == 0 for keys in base.keys[start:stop]):
        raise ValueError(f"base does not hold all that layers {start} to {stop} need: see stop= and run(caches=)")
    resid = base.at(base.resid)[start].unsqueeze(1)
    where = base.end[:, None]
    angles = parts.rotary(model, resid, where)
    # Scores of the last token against itself replace the cached column; later (padded) columns stay hidden.
    column = where[:, None, None, :, None]
    hidden = (torch.arange(base.tokens.shape[1], device=resid.device) > where)[:, None, None, None, :]
    batch = torch.arange(len(base), device=resid.device)
    new: dict[str, list[Tensor]] = {"resid": [], "q": [], "z": [], "pattern": []}
    for layer in range(start, stop):
        resid = layers.hook(layer, "hook_resid_pre", resid)
        q, q_rotated, k, v = layers.qkv(layer, resid, angles)
        scores = layers.scores(q_rotated, base.keys[layer])
        own = layers.scores(q_rotated, k)
        scores = scores.scatter(-1, column.expand_as(own), own).masked_fill(hidden, -torch.inf)
        pattern = layers.hook(layer, "attn.hook_pattern", scores.softmax(-1).flatten(1, 2))
        grouped = pattern.unflatten(1, (-1, layers.groups))
        z = torch.einsum("bhgps,bshd->bphgd", grouped, base.values[layer])
        change = (v[:, 0] - base.values[layer][batch, base.end])[:, None, :, None, :]
        to_self = grouped.gather(-1, column.expand_as(own)).permute(0, 3, 1, 2, 4)
        z, after = layers.rest(layer, resid, (z + to_self * change).flatten(2, 3))
        for name, value in (("resid", resid), ("q", q), ("z", z), ("pattern", pattern)):
            new[name].append(value)
        resid = after
    new["resid"].append(resid)

    def splice(name: str, axis: int = 2) -> Tensor:
        stored = base.at(getattr(base, name), axis=axis).unsqueeze(axis)
        return torch.cat([stored[:start], torch.stack(new[name])]) if new[name] else stored[:start]

    return Run(
        base.tokens, base.end, "end", base.keys, base.values,
        splice("resid"), splice("q"), splice("z"), splice("pattern", 3),
    )  # fmt: skip


check_classes(globals())
