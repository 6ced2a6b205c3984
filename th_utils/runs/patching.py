"""Path patching: what one head's output does to one later head, or to the logits, along the direct path alone.

The clean run has the prompts as they are, the new run the same prompts corrupted. Patching the edge from a sender to a
receiver's query (key, value) means: let the receiver's query (key, value) be computed as if the sender had written its
*new* output, everything else clean (Wang et al. 2022; Goldowsky-Dill et al. 2023).

`patch_edges` is exact and needs no forward pass: the sender's change is added to the receiver's own input, for all
senders at once. Nothing in between reacts, neither heads nor MLPs. `path_patch` is the full form: other heads are
frozen to their clean outputs, MLPs between sender and receiver are computed again. With `freeze_mlps=True` both
agree; the difference between the two is what the MLPs in between pass on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .._guards import fit_model, indices, numbers, whole
from ..classes import check_classes
from ..models import parts
from ..weights.heads import HeadWeights, check_head
from .run import Run, rerun_last

Ablation = Literal["zero", "mean", "resample"]


def head_outputs(weights: HeadWeights, z: Float[Tensor, "layers batch pos heads d_head"]) -> Tensor:
    """What every head adds to the residual stream, z W_O: [layers, batch, pos, heads, d_model] (b_O left out)."""
    heads, d_head = weights.n_heads, weights.d_head
    z = numbers("z", z, like=weights.W_O, layers=None, batch=None, pos=None, heads=heads, d_head=d_head)
    if len(z) > weights.n_layers:
        raise ValueError(f"z has {len(z)} layers, the weights have {weights.n_layers}")
    return torch.einsum("lbphk,lhkd->lbphd", z, weights.W_O[: len(z)])


def ablated(clean: Run, new: Run | None, kind: Ablation = "resample", groups: Iterable | None = None) -> Tensor:
    """Replacement head outputs `z` for an ablation, shaped as `clean.z`.

    "zero": nothing; "resample": the outputs of `new` (same positions, corrupted prompts); "mean": the mean of `new`
    over the batch, or within `groups` (one label per prompt, for instance its template and order).
    A mean over a run of all positions needs prompts of one length, or groups that have (position 12 of a shorter
    prompt is padding); positions mean the same in all prompts of a group only if their template is the same.
    Raises `ValueError` for an unknown kind, a missing `new`, runs of different shapes, or mixed lengths.
    """
    if kind == "zero":
        return torch.zeros_like(clean.z)
    if kind not in ("mean", "resample"):
        raise ValueError(f"unknown ablation {kind!r}: expected 'zero', 'mean' or 'resample'")
    if new is None or new.z.shape != clean.z.shape:
        raise ValueError(f"{kind} ablation needs a new run shaped as the clean one {tuple(clean.z.shape)}")
    if kind == "resample":
        return new.z
    out = torch.empty_like(new.z)
    labels = [0] * len(new) if groups is None else groups.tolist() if hasattr(groups, "tolist") else list(groups)
    if len(labels) != len(new):
        raise ValueError(f"groups needs one label for each of the {len(new)} prompts, got {len(labels)}")
    for value in set(labels):
        members = [i for i, other in enumerate(labels) if other == value]
        if new.positions == "all" and len(set(new.end[members].tolist())) > 1:
            raise ValueError(
                "mean ablation at all positions mixes prompts of different lengths: give groups= (template and order, "
                "for instance), or use runs with positions='end'"
            )
        out[:, members] = new.z[:, members].mean(1, keepdim=True)
    return out


def _replacement(clean: Run, new: Run | Tensor) -> Tensor:
    new_z = new.z if isinstance(new, Run) else new
    if new_z.shape != clean.z.shape or not len(clean):
        raise ValueError(f"clean and new runs differ in shape: {tuple(clean.z.shape)} and {tuple(new_z.shape)}")
    return numbers("new", new_z, like=clean.z)


def _sender_changes(
    weights: HeadWeights, clean: Run, new_z: Tensor, senders: list[tuple[int, int]], position: Tensor | None
) -> Float[Tensor, "senders batch d_model"]:
    """(z_new − z_clean) W_O of every sender at one position per prompt."""
    layers, heads = (torch.tensor(axis, device=clean.z.device) for axis in zip(*senders, strict=True))
    change = clean.at(new_z, position) - clean.at(clean.z, position)
    return torch.einsum("sbk,skd->sbd", change[layers, :, heads], weights.W_O[layers, heads])


def earlier_heads(weights: HeadWeights, receiver: tuple[int, int]) -> list[tuple[int, int]]:
    """All heads in layers before the receiver's."""
    layer, _ = weights.check_head(receiver)
    return [head for head in weights.heads if head[0] < layer]


@torch.no_grad()
def patch_edges(
    model,
    weights: HeadWeights,
    clean: Run,
    new: Run | Tensor,
    receiver: tuple[int, int],
    via: Literal["q", "k", "v"],
    senders: Sequence[tuple[int, int]] | None = None,
    read_at: Int[Tensor, " batch"] | None = None,
    source: Int[Tensor, " batch"] | None = None,
    chunk: int = 64,
) -> tuple[list[tuple[int, int]], Float[Tensor, "senders batch seq"], Float[Tensor, "senders batch d_head"]]:
    """The receiver's attention and output at `read_at` when one sender's output is replaced, per sender.

    `new` is the corrupted run (or replacement `z` from `ablated`). `read_at` is the receiver's query position, END by
    default. With `via="q"` the sender changes at `read_at` and alters the query; with "k" or "v" it changes at
    `source` (one position per prompt) and alters the key or value there. Senders default to all earlier heads.
    Exact: the sender's change is added to the receiver's own normalised-and-projected input, nothing else reacts.

    Returns (senders, patterns `[senders, batch, seq]`, outputs z `[senders, batch, d_head]`); compare them with the
    clean rows `clean.at(clean.pattern, read_at, axis=3)[layer, :, head]` and
    `clean.at(clean.z, read_at)[layer, :, head]`.
    Raises `ValueError` for an unknown `via`, a missing `source`, a sender that is not earlier, or runs that keep END
    only where other positions are needed.
    """
    fit_model(weights, model)
    layer, head = weights.check_head(receiver)
    senders = earlier_heads(weights, receiver) if senders is None else [weights.check_head(s) for s in senders]
    late = [s for s in senders if s[0] >= layer]
    if late or not senders:
        raise ValueError(f"senders must lie in layers before receiver {layer}.{head}, got {late or 'none'}")
    new_z = _replacement(clean, new)
    name, at = ("read_at", read_at) if via == "q" else ("source", source)
    at = None if at is None else indices(name, at, clean.tokens.shape[1], batch=len(clean)).to(clean.end.device)
    changes = _sender_changes(weights, clean, new_z, senders, at)
    return senders, *patch_input(model, clean, receiver, via, changes, read_at, source, chunk)


@torch.no_grad()
def patch_input(
    model,
    clean: Run,
    receiver: tuple[int, int],
    via: Literal["q", "k", "v"],
    changes: Float[Tensor, "n batch d_model"],
    read_at: Int[Tensor, " batch"] | None = None,
    source: Int[Tensor, " batch"] | None = None,
    chunk: int = 64,
) -> tuple[Float[Tensor, "n batch seq"], Float[Tensor, "n batch d_head"]]:
    """A receiver's attention and output z at `read_at` when vectors are added to the stream one of its inputs reads.

    The general form of `patch_edges`: `changes[i]` is added to the residual stream before the receiver's layer, at
    `read_at` for the query ("q"), at `source` for the key or value, and only the receiver sees it.
    """
    layer, head = check_head(receiver, *parts.heads_shape(model))
    if via not in ("q", "k", "v"):
        raise ValueError(f"via must be 'q', 'k' or 'v' (which input of the receiver is patched), got {via!r}")
    if via != "q" and source is None:
        raise ValueError(f"via={via!r} needs source=: the position whose {'key' if via == 'k' else 'value'} is patched")
    seq = clean.tokens.shape[1]
    read_at = clean.end if read_at is None else indices("read_at", read_at, seq, batch=len(clean)).to(clean.end.device)
    if layer >= len(clean.z):
        raise ValueError(f"the clean run stops before the receiver's layer {layer}")
    changes = numbers("changes", changes, like=clean.z, n=None, batch=len(clean), d_model=model.cfg.d_model)
    chunk = whole("chunk", chunk)
    batch = torch.arange(len(clean), device=clean.end.device)
    kv_head = head // parts.kv_groups(model)
    keys, values = clean.keys[layer][:, :, kv_head], clean.values[layer][:, :, kv_head]
    resid = clean.at(clean.resid, read_at)[layer]
    query_angles = parts.rotary(model, resid, read_at[:, None])
    query = _project(model, layer, "q", resid[:, None], query_angles, head)[:, 0]
    scale = parts.attention_scale(model)
    hidden = torch.arange(keys.shape[1], device=keys.device) > read_at[:, None]
    pattern_clean = clean.at(clean.pattern, read_at, axis=3)[layer, :, head]
    if via == "q":
        stream, angles = resid, query_angles
    else:
        source = indices("source", source, seq, batch=len(clean)).to(clean.end.device)
        stream = clean.at(clean.resid, source)[layer]
        angles = parts.rotary(model, stream, source[:, None]) if via == "k" else None
        scores_clean = torch.einsum("bk,btk->bt", query, keys) / scale
        z_clean = torch.einsum("bt,btk->bk", pattern_clean, values)

    patterns, outputs = [], []
    for part in changes.split(chunk):
        changed = (stream + part).transpose(0, 1)
        projected = _project(model, layer, via, changed, angles, head if via == "q" else kv_head)
        if via == "v":
            pattern = pattern_clean.expand(len(part), -1, -1)
            moved = (projected - values[batch, source][:, None]).transpose(0, 1)
            z = z_clean + pattern_clean[batch, source][:, None] * moved
        else:
            if via == "q":
                scores = torch.einsum("bsk,btk->sbt", projected, keys) / scale
            else:
                scores = scores_clean.expand(len(part), -1, -1).clone()
                scores[:, batch, source] = torch.einsum("bk,bsk->sb", query, projected) / scale
            pattern = scores.masked_fill(hidden, -torch.inf).softmax(-1)
            z = torch.einsum("sbt,btk->sbk", pattern, values)
        patterns.append(pattern)
        outputs.append(z)
    return torch.cat(patterns), torch.cat(outputs)


def _project(model, layer: int, name: str, stream: Tensor, angles, head: int) -> Float[Tensor, "batch n d_head"]:
    """Query, key or value of one head from residual streams [batch, n, d_model] that share a position per prompt."""
    matrix = parts.head_matrix(model, layer, f"W_{name.upper()}")[head].to(stream.device)
    x = parts.attention_input(model, layer, stream) @ matrix
    bias = parts.head_bias(model, layer, f"b_{name.upper()}")
    return parts.rotate((x if bias is None else x + bias[head].to(x.device)).unsqueeze(2), angles)[:, :, 0]


def frozen_heads(model, clean: Run, new_z: Tensor, senders: Sequence[tuple[int, int]], freeze_mlps: bool) -> list:
    """Hooks for `rerun_last`: every head gives its clean output at END, the senders their new one."""
    clean_z, patch_z, resid = clean.at(clean.z), clean.at(_replacement(clean, new_z)), clean.at(clean.resid)
    n_layers, n_heads = clean_z.shape[0], clean_z.shape[2]
    senders = [check_head(s, n_layers, n_heads) for s in senders]
    if not senders:
        raise ValueError("senders must hold at least one head")
    hooks = []
    for layer in range(min(layer for layer, _ in senders), n_layers):
        z = clean_z[layer].clone()
        chosen = [head for other, head in senders if other == layer]
        z[:, chosen] = patch_z[layer][:, chosen]
        hooks.append((f"blocks.{layer}.attn.hook_z", lambda _, hook, z=z: z[:, None]))
        if freeze_mlps:
            attn = parts.attention_output(model, layer, clean_z[layer])
            mlp = resid[layer + 1] - resid[layer] - attn
            hooks.append((f"blocks.{layer}.hook_mlp_out", lambda _, hook, mlp=mlp: mlp[:, None]))
    return hooks


@torch.no_grad()
def path_patch(
    model,
    weights: HeadWeights,
    clean: Run,
    new: Run | Tensor,
    senders: Sequence[tuple[int, int]],
    receivers: Sequence[tuple[int, int]] = (),
    freeze_mlps: bool = False,
) -> Run:
    """The full form at END: patch the paths from `senders` (together) to the queries of `receivers`, or to the logits.

    First pass: senders give their new output, all other heads their clean one, MLPs are computed again (unless
    `freeze_mlps`). With no receivers this pass is the result: the direct effect on the logits. Otherwise the
    receivers' queries of this pass are put into a second, free run. Returns that run (positions "end").
    Raises `ValueError` for no senders, a receiver that no sender comes before, or runs of different shapes.
    """
    fit_model(weights, model)
    new_z = _replacement(clean, new)
    receivers = [weights.check_head(r) for r in receivers]
    senders = [weights.check_head(s) for s in senders]
    earliest = min((layer for layer, _ in senders), default=0)
    for layer, head in receivers:
        if layer <= earliest:
            raise ValueError(f"senders must lie in layers before receiver {layer}.{head}, got {list(senders)}")
    first = rerun_last(model, clean, frozen_heads(model, clean, new_z, senders, freeze_mlps))
    if not receivers:
        return first
    hooks = []
    for layer in sorted({layer for layer, _ in receivers}):
        chosen = [head for other, head in receivers if other == layer]

        def replace(q: Tensor, hook, layer=layer, chosen=chosen) -> Tensor:
            q = q.clone()
            q[:, :, chosen] = first.q[layer][:, :, chosen]
            return q

        hooks.append((f"blocks.{layer}.attn.hook_q", replace))
    return rerun_last(model, clean, hooks)


check_classes(globals())
