"""The channel playground: turn a channel at the last token of a prompt and watch what real heads then look at.

For every prompt and head the page holds a few numbers per token, and the reader's browser computes the path from the
channel to the queries of these heads and from their outputs to the logits. A change Δ of the coordinates c adds Δ·v to
the stream that the head reads, so with x that stream, centred where the model centres,

    score_t = (b_t − β_t + Δ·κ_t) / √(1 + 2 Δ·(v x) / (d ρ²) + Δᵀ(v vᵀ)Δ / (d ρ²)) + β_t,

with b_t the score of the run, β_t the part that the query's bias makes, κ_t how the score answers to the channel
(`position_codes`), ρ the scale of the norm and d its width. The attention a = softmax(score) adds
Σ_t (a_t − a_t⁰) v_t W_O W_U / ρ_final to the logits. Nothing else reacts; the whole model's answer at the same settings
is computed when the figure is made and drawn beside it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..._guards import numbers, same_model
from ...channels.channel import Channel
from ...channels.reach import plain_attention, position_codes
from ...models import laws, parts, state
from ...runs.metrics import logit_difference
from ...runs.patching import Edge, patch_input
from ...runs.run import Run, rerun_last
from ...tasks.prompts import Prompts, token_strings
from ...weights.heads import Head, check_head, label
from ..figure import View, finish, new, rounded
from ..palette import COLOURS, MARKERS

AGREE = 1e-3  # the page's arithmetic must agree with the model's to this, in attention, before it is shown
GRID = torch.linspace(-1, 1, 13)  # settings at which the whole model is run, in parts of the limit
PER_TOKEN = ("b", "beta", "kappa", "pull")


@torch.no_grad()
def reading(model, base: Run, target: Channel, head: Head) -> dict[str, Tensor]:
    """Compute what one head's attention from END, and its pull on the answer, depend on: tensors over [batch, seq].

    `b` scores, −inf after END, `beta` the part of the query's bias, `kappa` [batch, seq, k], `pull` what looking at a
    token adds to logit(answer) − logit(distractor), `cross` [batch, k] and `square` [batch, k, k] of the norm (see the
    module). Raises `ValueError` for a head that is not after the whole channel.
    """
    size = parts.shape(model)
    layer, index = check_head(head, size.layers, size.heads)
    last = max(layer for layer, _ in target.heads)
    if layer <= last:
        raise ValueError(f"head {label(head)} must be in a layer after the channel's last, {last}")
    positions = torch.arange(base.tokens.shape[1], device=base.end.device)
    valid = positions <= base.end[:, None]
    directions = target.directions.to(base.end.device)
    b, kappa = position_codes(model, base, head, directions, torch.where(valid, positions, 0))

    stream, final = base.at().resid[layer], base.at().resid[-1]
    norm, scale = laws.input_law(model, layer), laws.input_scale(model, layer, stream)
    resid, v = norm.centred(stream), norm.centred(directions)
    width = resid.shape[-1] * scale.square()
    keys, values = (x[layer][:, :, index // size.groups] for x in (base.keys, base.values))
    bias = parts.head_bias(model, layer, "b_Q")
    beta = torch.zeros_like(b)
    if bias is not None:
        angles = laws.rotary(model, resid, base.end[:, None], layer)
        rotated = laws.rotate(bias[index].expand(len(base), 1, 1, -1), angles)[:, 0, 0]
        beta = torch.einsum("bk,bsk->bs", rotated, keys) / laws.attention_scale(model, layer)
    towards, _ = laws.answer_direction(model, base.prompts.answer, base.prompts.distractor)
    gain, _ = laws.write_law(model, layer)
    towards = laws.final_law(model).adjoint(towards) * gain
    written = torch.einsum("bsk,kd->bsd", values, parts.head_matrix(model, layer, "W_O")[index])
    passed = laws.final_scale(model, final) * laws.write_scale(model, layer, base.at().z[layer].transpose(0, 1))
    return {
        "b": b.masked_fill(~valid, -torch.inf), "beta": beta, "kappa": kappa,
        "pull": torch.einsum("bsd,bd->bs", written, towards) / passed[:, None],
        "cross": 2 * resid @ v.T / width[:, None], "square": (v @ v.T)[None] / width[:, None, None],
    }  # fmt: skip


def attention_under(reads: dict[str, Tensor], change: Float[Tensor, "batch k"]) -> Float[Tensor, "batch seq"]:
    """Compute the head's attention from END when the channel's coordinates change by `change`, as the page does."""
    norm = 1 + (reads["cross"] * change).sum(-1) + torch.einsum("bi,bij,bj->b", change, reads["square"], change)
    moved = torch.einsum("bsk,bk->bs", reads["kappa"], change)
    scores = (reads["b"] - reads["beta"] + moved) / norm.clamp_min(1e-6).sqrt()[:, None] + reads["beta"]
    return scores.softmax(-1)


@torch.no_grad()
def channel_playground(model, base: Run, target: Channel, heads: Sequence[Head], title: str, alt: str,
                       limits: Sequence[float] | None = None,
                       names: tuple[str, str] = ("answer", "other")) -> View:  # fmt: skip
    """Show how some heads' attention follows a channel that the reader turns.

    `base` is the run of a few prompts (END is enough), one button each; `heads` are later heads, such as the name
    movers; each component gets a slider from -limit to limit (by default twice the largest coordinate in these
    prompts). `names` is what `answer` and `distractor` of the prompts are called. The picture shows the first prompt
    and head at three settings of the first component, and the whole model's answer to the first four prompts. It stays
    a picture on a model whose attention is not `plain_attention`.
    Raises `RuntimeError` when the page's arithmetic disagrees with the model's by 1e-3 of attention or more, and
    `ValueError` for records of other models, heads not after the channel, and limits below the model's coordinates.
    """
    same_model(model=state.fingerprint(model), channel=target, run=base)
    prompts, natural, heads = base.prompts, target.coordinates(base), list(dict.fromkeys(heads))
    largest = natural.abs().amax(0)
    reach = (2 * largest).clamp_min(1.0) if limits is None else limits
    reach = numbers("limits", reach, {"components": len(target)}, natural)
    if (largest > reach).any():
        raise ValueError(f"limits must reach the model's own coordinates {largest.tolist()}, got {reach.tolist()}")
    live = all(plain_attention(model, base, head) for head in heads)
    reads = [reading(model, base, target, head) for head in heads] if live else []
    changes = torch.stack([-reach - natural, 0 * natural, reach - natural])
    for head, read in zip(heads, reads, strict=live):
        exact = patch_input(model, base, Edge(head, "q"), changes @ target.directions.to(changes)).pattern
        gap = float((torch.stack([attention_under(read, change) for change in changes]) - exact).abs().max())
        if not gap < AGREE:
            raise RuntimeError(f"the page's attention of head {label(head)} is {gap:.1e} from the model's, {AGREE} or "
                               "more: run the model again as it is now")  # fmt: skip
    lead, whole = logit_difference(model, base), _whole_model(model, base, target, natural, reach)
    word = parts.tokenizer(model).decode
    data = {
        "title": title, "alt": " ".join(alt.split()), "components": list(target.names), "limits": rounded(reach),
        "heads": [label(head) for head in heads], "names": list(names), "grid": rounded(GRID),
        "prompts": [
            {"tokens": token_strings(model, prompts.tokens[p, :n]), "marks": _marks(prompts, p),
             "words": [word([int(ids[p])]).strip() for ids in (prompts.answer, prompts.distractor)],
             "natural": rounded(natural[p]), "lead": rounded(lead[p]), "whole": rounded(whole[p]),
             "heads": [{name: rounded(x[p][:n] if name in PER_TOKEN else x[p]) for name, x in read.items()}
                       for read in reads]}
            for p, n in enumerate((prompts.end + 1).tolist())
        ],
    }  # fmt: skip
    first = changes[:, :1, :1] * target.directions[0].to(changes)  # the other components stay as the model left them
    shares = patch_input(model, base.select([0]), Edge(heads[0], "q"), first).pattern[:, 0]
    still = finish(_picture(data, shares.cpu().numpy(), natural, reach), title, alt, colours=64)
    return still.enlivened("channel-playground", data) if live else still


def _whole_model(model, base: Run, target: Channel, natural: Tensor, reach: Tensor) -> Float[Tensor, "batch k grid"]:
    """Compute the whole model's logit difference along each coordinate, the others as the model left them."""
    found = torch.zeros(len(base), len(target), len(GRID))
    for i, limit in enumerate(reach):
        for j, step in enumerate(GRID * float(limit)):
            value = natural.clone()
            value[:, i] = step
            found[:, i, j] = logit_difference(model, rerun_last(model, base, target.set(value)))
    return found


def _marks(prompts: Prompts, p: int) -> list[int]:
    """Return where the answer and the distractor were first named, for the page to outline; −1 where they were not."""
    row = prompts.tokens[p, : int(prompts.end[p]) + 1].tolist()
    return [row.index(int(ids[p])) if int(ids[p]) in row else -1 for ids in (prompts.answer, prompts.distractor)]


def _picture(data: dict, shares: np.ndarray, natural: Tensor, reach: Tensor):
    figure, (upper, lower) = new(7.2, 4.6, rows=2)
    first, tokens = data["components"][0], data["prompts"][0]["tokens"]
    image = upper.imshow(shares[:, : len(tokens)], aspect="auto", cmap="Blues", vmin=0, vmax=1)
    values = f"{-reach[0]:.0f}", f"{natural[0, 0]:.0f} (the model's)", f"{reach[0]:.0f}"
    upper.set_yticks(range(3), [f"{first} = {v}" for v in values], fontsize=8)
    upper.set_xticks(range(len(tokens)), tokens, rotation=60, ha="right", fontsize=8)
    figure.colorbar(image, ax=upper, label=f"attention of {data['heads'][0]}", shrink=0.9)
    x = [step * float(reach[0]) for step in data["grid"]]
    for prompt, colour, marker in zip(data["prompts"][:4], COLOURS, MARKERS, strict=False):
        name = " or ".join(prompt["words"])
        lower.plot(x, prompt["whole"][0], color=colour, marker=marker, ms=3, lw=1, label=name)
    lower.axhline(0, color="black", lw=0.6)
    lower.set(xlabel=f"coordinate {first}", ylabel=f"logit {data['names'][0]} − {data['names'][1]}")
    lower.legend(fontsize=8, title="whole model", title_fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0),
                 frameon=False)  # fmt: skip
    return figure
