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

from ..._guards import fit, fit_model, numbers
from ...channels.channel import Channel
from ...channels.reach import position_codes
from ...classes import check_classes
from ...models import parts
from ...runs.metrics import logit_difference
from ...runs.patching import patch_input
from ...runs.run import Run, rerun_last
from ...tasks import Prompts
from ...tasks.prompts import token_strings
from ...weights.heads import HeadWeights, check_head, label
from ..figure import COLOURS, View, finish, new

DIGITS = 6  # significant, of the shipped numbers: attention is right to far better than 1e-3
AGREE = 1e-3  # the page's arithmetic must agree with the model's to this, in attention, before it is shown
GRID = 13  # settings at which the whole model is run


@torch.no_grad()
def reading(model, weights: HeadWeights, base: Run, prompts: Prompts, target: Channel, head: tuple[int, int]) -> dict:
    """What one head's attention from END, and its pull on the answer, depend on: tensors over [batch, seq].

    `b` scores, `beta` the part of the query's bias, `kappa` [batch, seq, k], `pull` what looking at a token adds to
    logit(answer) − logit(distractor), `cross` [batch, k] and `square` [batch, k, k] of the norm (see the module).
    Positions after END are −inf in `b`. Raises `ValueError` for a head that is not after the whole channel.
    """
    fit(base, prompts)
    fit_model(weights, model)
    layer, index = check_head(head, *parts.heads_shape(model))
    last = max(layer for layer, _ in target.heads)
    if layer <= last:
        raise ValueError(f"head {label(head)} must be in a layer after the channel's last, {last}")
    device = base.end.device
    seq = torch.arange(base.tokens.shape[1], device=device)
    told = seq <= base.end[:, None]
    directions = target.directions.to(device)
    b, kappa = position_codes(model, base, head, directions, torch.where(told, seq, 0))

    stream, end = base.at(base.resid)[layer], base.at(base.resid)[-1]
    resid, v = parts.centred(model, stream), parts.centred(model, directions)
    scale = parts.norm_scale(model, stream, parts.attention_input(model, layer, stream))
    width = resid.shape[-1] * scale.square()
    kv = index // parts.kv_groups(model)
    bias = parts.head_bias(model, layer, "b_Q")
    beta = torch.zeros_like(b)
    if bias is not None:
        angles = parts.rotary(model, resid, base.end[:, None])
        turned = parts.rotate(bias[index].to(device).expand(len(base), 1, 1, -1), angles)[:, 0, 0]
        beta = torch.einsum("bk,bsk->bs", turned, base.keys[layer][:, :, kv]) / parts.attention_scale(model)
    W_U, _ = parts.unembedding(model)
    final = parts.norm_scale(model, end, parts.final_norm(model, end))
    towards = (W_U[:, prompts.answer.to(W_U.device)] - W_U[:, prompts.distractor.to(W_U.device)]).T.to(device)
    written = torch.einsum("bsk,kd->bsd", base.values[layer][:, :, kv], weights.W_O[layer, index])
    pull = torch.einsum("bsd,bd->bs", written, parts.centred(model, towards)) / final[:, None]
    return {
        "b": b.masked_fill(~told, -torch.inf), "beta": beta, "kappa": kappa, "pull": pull,
        "cross": 2 * resid @ v.T / width[:, None], "square": (v @ v.T)[None] / width[:, None, None],
    }  # fmt: skip


def attention_under(parts: dict, change: Float[Tensor, "batch k"]) -> Float[Tensor, "batch seq"]:
    """The head's attention from END when the channel's coordinates change by `change`: what the page computes."""
    norm = 1 + (parts["cross"] * change).sum(-1) + torch.einsum("bi,bij,bj->b", change, parts["square"], change)
    moved = torch.einsum("bsk,bk->bs", parts["kappa"], change)
    scores = (parts["b"] - parts["beta"] + moved) / norm.clamp_min(1e-6).sqrt()[:, None] + parts["beta"]
    return scores.softmax(-1)


def _check_reading(model, base: Run, target: Channel, head: tuple[int, int], parts: dict, changes: Tensor) -> None:
    """Refuse to show a page that would compute anything else than the head does when its query is patched."""
    exact, _ = patch_input(model, base, head, "q", changes @ target.directions.to(changes))
    pairs = zip(changes, exact, strict=True)
    gap = max(float((attention_under(parts, change) - pattern).abs().max()) for change, pattern in pairs)
    if not gap < AGREE:
        raise RuntimeError(
            f"the page's attention of head {label(head)} is {gap:.1e} from the model's, {AGREE} or more: was the model "
            "loaded with fold=True, and is base a run of it as it is now?"
        )


@torch.no_grad()
def channel_playground(
    model,
    weights: HeadWeights,
    base: Run,
    prompts: Prompts,
    target: Channel,
    heads: Sequence[tuple[int, int]],
    title: str,
    alt: str,
    limits: Sequence[float] | None = None,
    names: tuple[str, str] = ("answer", "other"),
) -> View:
    """A figure in which the reader turns a channel of one to three components and some heads' attention follows.

    `base` is the run of a few `prompts` (END is enough) whose buttons the figure shows; `heads` are later heads, such
    as the name movers; a slider for each component goes from -limit to limit (by default twice the largest coordinate
    in these prompts). `names` is what `answer` and `distractor` of the prompts are called. The picture shows the first
    prompt and head at three settings of the first component.

    Raises `RuntimeError` when the page's arithmetic disagrees with the model's by 1e-3 of attention or more, at the
    limits or between, and `ValueError` for a channel of more than three components, heads that are not after it,
    repeated or none, more than 8 prompts, limits that do not reach the model's own coordinates, a run that is not of
    the prompts, and other than two names.
    """
    if not 1 <= len(target) <= 3 or not heads or not 1 <= len(prompts) <= 8 or len(base) != len(prompts):
        raise ValueError(
            f"need 1-3 components, at least one head and 1-8 prompts with their run, got {len(target)} components, "
            f"{len(heads)} heads, {len(prompts)} prompts and a run of {len(base)}"
        )
    if base.tokens.shape != prompts.tokens.shape or not torch.equal(base.tokens.cpu(), prompts.tokens.cpu()):
        raise ValueError("base is a run of other prompts: call run(model, prompts) with the prompts of the figure")
    heads = [check_head(head, *parts.heads_shape(model)) for head in heads]
    if len(set(heads)) != len(heads):
        raise ValueError(f"heads must differ, got {heads}")
    if isinstance(names, str) or len(names) != 2 or not all(isinstance(name, str) for name in names):
        raise ValueError(f"names must be two texts, for the answer and the distractor, got {names!r}")
    natural = target.coordinates(base.at(base.z))
    reach = natural.abs().amax(0).mul(2).clamp_min(1.0) if limits is None else numbers("limits", limits).float()
    if reach.shape != (len(target),) or not (reach > 0).all():
        raise ValueError(f"limits must be {len(target)} positive numbers, one per component, got {limits}")
    if (natural.abs().amax(0) > reach.to(natural)).any():
        most = [round(x, 3) for x in natural.abs().amax(0).tolist()]
        raise ValueError(f"limits must reach the model's own coordinates, up to {most} in size, got {limits}")
    readings = {head: reading(model, weights, base, prompts, target, head) for head in heads}
    ends = torch.stack([-reach.to(natural) - natural, 0 * natural, reach.to(natural) - natural])
    for head in heads:
        _check_reading(model, base, target, head, readings[head], ends)
    grid = torch.linspace(-1, 1, GRID)
    lead = logit_difference(model, base, prompts)
    whole = []  # the whole model's answer along each coordinate, the others as the model left them
    for i in range(len(target)):
        for step in grid * float(reach[i]):
            value = natural.clone()
            value[:, i] = step
            whole.append(logit_difference(model, rerun_last(model, base, target.set(value)), prompts))
    whole = torch.stack(whole, 1).unflatten(1, (len(target), GRID))
    word = model.tokenizer.decode
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
                        for name, x in readings[head].items()} for head in heads]}
            for p, n in enumerate((prompts.end + 1).tolist())
        ],
    }  # fmt: skip
    return finish(_picture(data, readings[heads[0]], natural, reach), title, alt, colours=64).enlivened(
        "channel-playground", data
    )


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


def _picture(data: dict, parts: dict, natural: Tensor, reach: Tensor):
    tokens = data["prompts"][0]["tokens"]
    change = torch.zeros(3, len(data["components"])).to(natural)
    change[:, 0] = torch.stack([-reach[0] - natural[0, 0], 0 * reach[0], reach[0] - natural[0, 0]])
    one = {name: x[:1].expand(3, *x.shape[1:]) for name, x in parts.items()}
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


check_classes(globals())
