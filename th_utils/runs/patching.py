"""Path patching: what one head's output does to one later head, or to the logits, along the direct path alone.

The clean run has the prompts as they are, the new run the same prompts corrupted. Patching the edge from a sender to a
receiver's query (key, value) means: let the receiver's query (key, value) be computed as if the sender had written its
*new* output, everything else clean (Wang et al. 2022; Goldowsky-Dill et al. 2023).

`patch_edges` is exact and needs no forward pass: the sender's change is added to the receiver's own input, for all
senders at once. Nothing in between reacts, neither heads nor MLPs. `path_patch` is the full form: other heads are
frozen to their clean outputs, MLPs between sender and receiver are computed again. With `freeze_mlps=True` both
agree; the difference between the two is what the MLPs in between pass on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .._guards import numbers
from ..models import laws, parts, state
from ..weights.heads import Head, check_head, label
from .attend import attend
from .hooks import Hook
from .record import Run, Spot, Where, require_current, require_pair
from .run import rerun_last
from .trial import reach


@dataclass(frozen=True)
class Edge:
    """One input of one head: its query, key or value.

    `receiver`: (layer, head). `via`: "q", "k" or "v". `read_at`: the position it looks from, `source`: the position
    whose key or value is meant; both a name of the prompts or indices [batch], END by default.
    Raises `ValueError` for another `via`, and for a key or value without `source`.
    """

    receiver: Head
    via: Literal["q", "k", "v"] = "q"
    read_at: Where = None
    source: Where = None

    def __post_init__(self):
        if self.via not in ("q", "k", "v"):
            raise ValueError(f"via must be 'q', 'k' or 'v' (which input of the receiver is patched), got {self.via!r}")
        if self.via != "q" and self.source is None:
            raise ValueError(f"via={self.via!r} needs source=: the position whose key or value is patched")

    def changed_at(self, run: Run) -> Spot:
        """Look at the position whose stream this input reads."""
        return run.at(self.read_at if self.via == "q" else self.source)


class Effects(NamedTuple):
    """A receiver's attention `[n, batch, seq]` and output z `[n, batch, d_head]` under n changes, and clean.

    `senders` names the heads whose edges were patched, one per change.
    """

    senders: tuple[Head, ...]
    pattern: Float[Tensor, "n batch seq"]
    z: Float[Tensor, "n batch d_head"]
    clean_pattern: Float[Tensor, "batch seq"]
    clean_z: Float[Tensor, "batch d_head"]


@torch.no_grad()
def patch_edges(
    model, clean: Run, new: Run | Tensor, edge: Edge, senders: Sequence[Head] | None = None, chunk: int = 64
) -> Effects:
    """Patch one edge into a receiver per sender; return the receiver's attention and output for each.

    `new` is the corrupted run (or replacement z, shaped and placed as `clean.z`). With `via="q"` the sender changes at
    `read_at` and alters the query; with "k" or "v" it changes at `source` and alters the key or value there. Senders
    default to all earlier heads. Exact: the change of what attention of the sender's layer writes is added to the
    receiver's own input, nothing else reacts. Raises `ValueError` for a sender that is not earlier, runs of
    another model or of prompts that do not match, and runs that keep END only where other positions are needed.
    """
    n_layers, n_heads, *_ = parts.shape(model)
    layer, head = check_head(edge.receiver, n_layers, n_heads)
    earlier = [(sender, h) for sender in range(layer) for h in range(n_heads)]
    senders = earlier if senders is None else [check_head(s, n_layers, n_heads) for s in senders]
    late = [label(s) for s in senders if s[0] >= layer]
    if late or not senders:
        raise ValueError(f"senders must lie in layers before receiver {layer}.{head}, got {', '.join(late) or 'none'}")
    state.require_ready(model)
    changed = edge.changed_at(clean)
    old, new = changed.z, _replaced(clean, new).at(changed.position).z
    changes = torch.empty(len(senders), len(clean), parts.shape(model).d_model).to(old)
    for lower in {lower for lower, _ in senders}:
        cases = [i for i, sender in enumerate(senders) if sender[0] == lower]
        heads = [senders[i][1] for i in cases]
        changes[cases] = laws.write_changes(model, lower, old[lower], heads, new[lower, heads])
    return patch_input(model, clean, edge, changes, chunk)._replace(senders=tuple(senders))


def _replaced(clean: Run, new: Run | Tensor) -> Run:
    """Return a run that holds the new head outputs."""
    if isinstance(new, Run):
        require_pair(clean, new)
        if any("_O" in weights for _, weights, _ in clean.edits ^ new.edits):
            raise ValueError("new was run under other edits of W_O or b_O than clean, which its z does not show")
        return new
    axes = dict(zip(("layers", "batch", "pos", "heads", "d_head"), clean.z.shape, strict=True))
    return replace(clean, z=numbers("new", new, axes, clean.z))


@torch.no_grad()
def patch_input(model, clean: Run, edge: Edge, changes: Float[Tensor, "n batch d_model"], chunk: int = 64) -> Effects:
    """Add vectors to the stream that one input of a receiver reads; return the receiver's attention and output.

    The general form of `patch_edges`: `changes[i]` is added to the residual stream before the receiver's layer, at
    `read_at` for the query ("q"), at `source` for the key or value, and only the receiver sees it.
    Raises `ValueError` as `patch_edges`.
    """
    size = parts.shape(model)
    layer, head = check_head(edge.receiver, size.layers, size.heads)
    streams = [f"blocks.{between}.hook_resid_pre" for between in range(1, layer + 1)]
    require_current(model, clean, [f"blocks.{layer}.attn", *streams])
    if layer >= clean.n_layers or not clean.keys[layer].shape[1]:
        raise ValueError(f"the clean run lacks the receiver's layer {layer}: no re-run, and see run(caches=)")
    changes = numbers("changes", changes, {"n": None, "batch": len(clean), "d_model": size.d_model}, clean.z)
    reader, changed, way = clean.at(edge.read_at), edge.changed_at(clean), reach(model).way
    if way is None:
        raise ValueError(f"{parts.kind(model)}: what one input of a head does cannot be computed: use rerun_last")
    if edge.via != "q" and (late := int((changed.position > reader.position).sum())):
        raise ValueError(f"source must not come after read_at, which cannot see it: it does in {late} of {len(clean)}")
    found = []
    for part in changes.split(chunk):
        streams = changed.resid[layer] + part
        found.append(attend(model, clean, (layer, head), edge.via, streams, reader.position, changed.position, way))
    patterns, outputs = (torch.cat(case) for case in zip(*found, strict=True))
    return Effects((), patterns, outputs, reader.pattern[layer, head], reader.z[layer, head])


@torch.no_grad()
def path_patch(
    model, clean: Run, new: Run | Tensor, senders: Sequence[Head], receivers: Sequence[Head] = (),
    freeze_mlps: bool = False,
) -> Run:  # fmt: skip
    """Patch the paths at END from `senders` (together) to the queries of `receivers`, or to the logits: the full form.

    First pass: senders give their new output, all other heads their clean one, MLPs are computed again (unless
    `freeze_mlps`). With no receivers this pass is the result: the direct effect on the logits. Otherwise the
    receivers' queries of this pass are put into a second, free run. Returns that run (positions "end").
    Raises `ValueError` for no senders, a receiver that no sender comes before, or runs that do not match.
    """
    n_layers, n_heads, *_ = parts.shape(model)
    senders, receivers = ([check_head(h, n_layers, n_heads) for h in some] for some in (senders, receivers))
    if not senders:
        raise ValueError("senders must hold at least one head")
    for layer, head in receivers:
        if layer <= min(senders)[0]:
            raise ValueError(f"senders must lie in layers before receiver {layer}.{head}, got {senders}")
    first = rerun_last(model, clean, frozen_heads(model, clean, new, senders, freeze_mlps))
    if not receivers:
        return first

    def put(q: Tensor, hook) -> Tensor:
        q, chosen = q.clone(), [head for layer, head in receivers if layer == hook.layer()]
        q[:, :, chosen] = first.q[hook.layer()][:, :, chosen]
        return q

    return rerun_last(model, clean, [(f"blocks.{layer}.attn.hook_q", put) for layer in {head[0] for head in receivers}])


def frozen_heads(model, clean: Run, new: Run | Tensor, senders: Sequence[Head], freeze_mlps: bool) -> list[Hook]:
    """Make hooks for `rerun_last`: every head gives its clean output at END, the senders their new one."""
    old, new = clean.end_only()["z"], _replaced(clean, new).end_only()["z"]
    layers, writes = range(min(senders)[0], clean.n_layers), {}
    if freeze_mlps:  # what they write in the clean run
        look = [(f"blocks.{i}.hook_mlp_out", lambda x, hook: writes.update({hook.layer(): x.clone()})) for i in layers]
        rerun_last(model, clean, look)

    def heads(_, hook) -> Tensor:
        z, chosen = old[hook.layer()].clone(), [head for layer, head in senders if layer == hook.layer()]
        z[:, :, chosen] = new[hook.layer()][:, :, chosen]
        return z

    hooks = [(f"blocks.{layer}.attn.hook_z", heads) for layer in layers]
    return hooks + [(f"blocks.{layer}.hook_mlp_out", lambda _, hook: writes[hook.layer()]) for layer in writes]
