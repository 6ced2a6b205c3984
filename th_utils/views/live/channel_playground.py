"""The inhibition playground: turn a channel at the last token of a prompt and watch what real heads then look at.

The element needs neither kernel nor network. For every prompt and head the page holds what the head's attention
scores from END depend on, contracted to a few numbers per token, and the reader's browser does the rest: the norm, the
softmax, and what the changed attention adds to the answer. Where scripts do not run the picture is left.

What it computes is the path from the channel to the queries of these heads and from their outputs to the logits: the
change Δ of the coordinates c adds Δ·v to the stream that the head reads, so with x that stream, centred where the model
centres,

    score_t = (b_t − β_t + Δ·κ_t) / √(1 + 2 Δ·(v x) / (d ρ²) + Δᵀ(v vᵀ)Δ / (d ρ²)) + β_t,

with b_t the score of the run, β_t the part that the query's bias makes, κ_t how the score answers to the channel
(`geometry.position_codes`), ρ the scale of the norm and d its width. The attention a = softmax(score) adds
Σ_t (a_t − a_t⁰) v_t W_O W_U / ρ_final to the logits. Nothing else reacts; what the whole model does at the same
settings is computed when the figure is made and drawn beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..._guards import numbers, same_model
from ...channels.channel import Channel
from ...channels.reach import position_codes
from ...models import parts
from ...runs.metrics import logit_difference
from ...runs.patching import Edge, patch_input
from ...runs.run import Run, rerun_last
from ...tasks.prompts import Prompts, token_strings
from ...weights.heads import Head, check_head, label
from ..figure import COLOURS, View, finish, new

DIGITS = 6  # significant, of the shipped numbers: attention is right to far better than 1e-3
AGREE = 1e-3  # the page's arithmetic must agree with the model's to this, in attention, before it is shown
GRID = 13  # settings at which the whole model is run


@torch.no_grad()
def reading(model, base: Run, target: Channel, head: Head) -> dict[str, Tensor]:
    """Compute what one head's attention from END, and its pull on the answer, depend on: tensors over [batch, seq].

    `b` scores, `beta` the part of the query's bias, `kappa` [batch, seq, k], `pull` what looking at a token adds to
    logit(answer) − logit(distractor), `cross` [batch, k] and `square` [batch, k, k] of the norm (see the module).
    Positions after END are −inf in `b`. Raises `ValueError` for a head that is not after the whole channel.
    """
    size = parts.shape(model)
    layer, index = check_head(head, size.layers, size.heads)
    last = max(layer for layer, _ in target.heads)
    if layer <= last:
        raise ValueError(f"head {label(head)} must be in a layer after the channel's last, {last}")
    seq = torch.arange(base.tokens.shape[1], device=base.end.device)
    told = seq <= base.end[:, None]
    directions = target.directions.to(base.end.device)
    b, kappa = position_codes(model, base, head, directions, torch.where(told, seq, 0))

    stream, final = base.at().resid[layer], base.at().resid[-1]
    resid, v = parts.centred(model, stream), parts.centred(model, directions)
    scale = parts.norm_scale(model, stream, parts.attention_input(model, layer, stream))
    width = resid.shape[-1] * scale.square()
    kv = index // size.groups
    bias = parts.head_bias(model, layer, "b_Q")
    beta = torch.zeros_like(b)
    if bias is not None:
        angles = parts.rotary(model, resid, base.end[:, None])
        rotated = parts.rotate(bias[index].expand(len(base), 1, 1, -1), angles)[:, 0, 0]
        beta = torch.einsum("bk,bsk->bs", rotated, base.keys[layer][:, :, kv]) / parts.attention_scale(model)
    towards, _ = parts.answer_direction(model, base.prompts.answer, base.prompts.distractor)
    written = torch.einsum("bsk,kd->bsd", base.values[layer][:, :, kv], parts.head_matrix(model, layer, "W_O")[index])
    scale_final = parts.norm_scale(model, final, parts.final_norm(model, final))
    pull = torch.einsum("bsd,bd->bs", written, towards) / scale_final[:, None]
    return {
        "b": b.masked_fill(~told, -torch.inf), "beta": beta, "kappa": kappa, "pull": pull,
        "cross": 2 * resid @ v.T / width[:, None], "square": (v @ v.T)[None] / width[:, None, None],
    }  # fmt: skip


def attention_under(reads: dict[str, Tensor], change: Float[Tensor, "batch k"]) -> Float[Tensor, "batch seq"]:
    """Compute the head's attention from END when the channel's coordinates change by `change`, as the page does."""
    norm = 1 + (reads["cross"] * change).sum(-1) + torch.einsum("bi,bij,bj->b", change, reads["square"], change)
    moved = torch.einsum("bsk,bk->bs", reads["kappa"], change)
    scores = (reads["b"] - reads["beta"] + moved) / norm.clamp_min(1e-6).sqrt()[:, None] + reads["beta"]
    return scores.softmax(-1)


def _check_reading(model, base: Run, target: Channel, head: Head, reads: dict[str, Tensor], changes: Tensor) -> None:
    """Refuse to show a page that would compute anything else than the head does when its query is patched."""
    exact = patch_input(model, base, Edge(head, "q"), changes @ target.directions.to(changes)).pattern
    pairs = zip(changes, exact, strict=True)
    gap = max(float((attention_under(reads, change) - pattern).abs().max()) for change, pattern in pairs)
    if not gap < AGREE:
        raise RuntimeError(
            f"the page's attention of head {label(head)} is {gap:.1e} from the model's, {AGREE} or more: was the model "
            "loaded with fold=True, and is base a run of it as it is now?"
        )


@torch.no_grad()
def channel_playground(
    model,
    base: Run,
    target: Channel,
    heads: Sequence[Head],
    title: str,
    alt: str,
    limits: Sequence[float] | None = None,
    names: tuple[str, str] = ("answer", "other"),
) -> View:
    """Draw a figure in which the reader turns a channel of one to three components and some heads' attention follows.

    `base` is the run of a few prompts (END is enough) whose buttons the figure shows; `heads` are later heads, such
    as the name movers; a slider for each component goes from -limit to limit (by default twice the largest coordinate
    in these prompts). `names` is what `answer` and `distractor` of the prompts are called. The picture shows the first
    prompt and head at three settings of the first component.

    Raises `RuntimeError` when the page's arithmetic disagrees with the model's by 1e-3 of attention or more, at the
    limits or between, and `ValueError` for a channel of more than three components or of another model, heads that are
    not after it or none, more than 8 prompts, and limits that do not reach the model's own coordinates.
    """
    same_model(model=parts.fingerprint(model), channel=target, run=base)
    if not 1 <= len(target) <= 3 or not heads or not 1 <= len(base) <= 8:
        raise ValueError(
            f"need 1-3 components, at least one head and a run of 1-8 prompts, got {len(target)} components, "
            f"{len(heads)} heads and a run of {len(base)}"
        )
    prompts, natural = base.prompts, target.coordinates(base)
    largest = natural.abs().amax(0)
    limits = (2 * largest).clamp_min(1.0) if limits is None else limits
    reach = numbers("limits", limits, {"components": len(target)}, natural)
    if (largest > reach).any():
        raise ValueError(f"limits must reach the model's own coordinates {largest.tolist()}, got {reach.tolist()}")
    reads = {head: reading(model, base, target, head) for head in heads}
    ends = torch.stack([-reach - natural, 0 * natural, reach - natural])
    for head in heads:
        _check_reading(model, base, target, head, reads[head], ends)
    grid = torch.linspace(-1, 1, GRID)
    lead = logit_difference(model, base)
    whole = []  # the whole model's answer along each coordinate, the others as the model left them
    for i in range(len(target)):
        for step in grid * float(reach[i]):
            value = natural.clone()
            value[:, i] = step
            whole.append(logit_difference(model, rerun_last(model, base, target.set(value))))
    whole = torch.stack(whole, 1).unflatten(1, (len(target), GRID))
    word = parts.tokenizer(model).decode
    data = {
        "title": title,
        "alt": " ".join(alt.split()),
        "components": list(target.names),
        "limits": _short(reach),
        "heads": [label(head) for head in heads],
        "names": list(names),
        "grid": _short(grid),
        "prompts": [
            {"tokens": token_strings(model, prompts.tokens[p, : n]), "marks": _marks(prompts, p),
             "words": [word([int(ids[p])]).strip() for ids in (prompts.answer, prompts.distractor)],
             "natural": _short(natural[p]), "lead": _short(lead[p]), "whole": _short(whole[p]),
             "heads": [{name: _short(x[p][:n] if name in ("b", "beta", "kappa", "pull") else x[p])
                        for name, x in reads[head].items()} for head in heads]}
            for p, n in enumerate((prompts.end + 1).tolist())
        ],
    }  # fmt: skip
    picture = _picture(data, reads[heads[0]], natural, reach)
    return finish(picture, title, alt, colours=64).enlivened("channel-playground", data)


def _marks(prompts: Prompts, p: int) -> list[int]:
    """Where the answer and the distractor were first named, for the page to underline; −1 where they were not."""
    row = prompts.tokens[p, : int(prompts.end[p]) + 1]
    found = [(row == ids[p]).nonzero().flatten().tolist() for ids in (prompts.answer, prompts.distractor)]
    return [places[0] if places else -1 for places in found]


def _short(values: Tensor):
    """Nested lists of numbers with `DIGITS` significant digits."""
    if values.ndim:
        return [_short(x) for x in values]
    return float(f"{values:.{DIGITS}g}")


def _picture(data: dict, reads: dict, natural: Tensor, reach: Tensor):
    tokens = data["prompts"][0]["tokens"]
    change = torch.zeros(3, len(data["components"])).to(natural)
    change[:, 0] = torch.stack([-reach[0] - natural[0, 0], 0 * reach[0], reach[0] - natural[0, 0]])
    one = {name: x[:1].expand(3, *x.shape[1:]) for name, x in reads.items()}
    matrix = attention_under(one, change)[:, : len(tokens)].cpu().numpy()
    figure, (upper, lower) = new(7.2, 4.6, rows=2)
    image = upper.imshow(matrix, aspect="auto", cmap="Blues", vmin=0, vmax=1)
    values = [f"{-reach[0]:.0f}", f"{natural[0, 0]:.0f} (the model's)", f"{reach[0]:.0f}"]
    upper.set_yticks(range(3), [f"{data['components'][0]} = {v}" for v in values], fontsize=8)
    upper.set_xticks(range(len(tokens)), tokens, rotation=60, ha="right", fontsize=8)
    figure.colorbar(image, ax=upper, label=f"attention of {data['heads'][0]}", shrink=0.9)
    x = [g * float(reach[0]) for g in data["grid"]]
    for i, one in enumerate(data["prompts"][:4]):
        name = f"{one['words'][0]} or {one['words'][1]}"
        lower.plot(x, one["whole"][0], color=COLOURS[i], marker="os^D"[i], ms=3, lw=1, label=name)
    lower.axhline(0, color="black", lw=0.6)
    lower.set(xlabel=f"coordinate {data['components'][0]}", ylabel=f"logit {data['names'][0]} − {data['names'][1]}")
    lower.legend(fontsize=8, title="whole model", title_fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0),
                 frameon=False)  # fmt: skip
    return figure


