"""The channel playground: turn a message at the last token of a prompt; see where later heads look and what follows.

Everything shown is the whole model's, run at many settings when the figure is made; the page interpolates in between.
Where the two answers are closer than the interpolation can tell, it says "about even". A thin second line says what
the answer would be if nothing but the queries of the shown heads heard of the change: their outputs move the logits
with the final norm as it was, and nothing else reacts.
"""

import base64
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..._guards import same_model
from ...channels.channel import Channel
from ...models import laws, parts, state
from ...runs.metrics import logit_difference
from ...runs.patching import Edge, patch_input
from ...runs.run import Run, rerun_last
from ...runs.trial import reach
from ...tasks.prompts import Prompts, token_strings
from ...weights.heads import Head, check_head, label
from ..charts import lines
from ..figure import View, rounded

GRID = torch.linspace(-1, 1, 49)  # settings at which the whole model is run, in parts of the limit
LIMIT = 1.3  # of the slider, in parts of the largest coordinate in an unedited prompt
EVEN = 0.1  # logits: closer than this no name is said to be preferred
STEPS = 255  # of a share, in the page


@torch.no_grad()
def channel_playground(model, base: Run, target: Channel, heads: Sequence[Head], title: str, alt: str,
                       others: Run | None = None,
                       ends: tuple[str, str] = ("look at the first", "look at the second")) -> View:  # fmt: skip
    """Show where some heads look, and what the whole model answers, as the reader turns a channel.

    `base` is the run of a few prompts (END is enough), one button each; `heads` are later heads, such as the name
    movers. `others`, a run of many unedited prompts, tells what is natural: where 95% of the prompts lie whose right
    name stands first, and those where it stands second, and beyond what no prompt goes. One component is turned at a
    time. `ends` says what a setting tells the heads, if they turn to the name that stands first (or second) alike in
    all prompts. The picture shows the first prompt, head and component.
    Raises `ValueError` for records of other models and heads not after the channel.
    """
    others, heads = base if others is None else others, list(dict.fromkeys(heads))
    same_model(model=state.fingerprint(model), channel=target, run=base, others=others)
    size, last = parts.shape(model), max(layer for layer, _ in target.heads)
    for head in heads:
        if check_head(head, size.layers, size.heads)[0] <= last:
            raise ValueError(f"head {label(head)} must be in a layer after the channel's last, {last}")
    natural, known = target.coordinates(base), target.coordinates(others)
    known, limits = torch.cat([known, natural]), LIMIT * torch.cat([known, natural]).abs().amax(0).clamp_min(1e-3)
    marks = [_marks(base.prompts, p) for p in range(len(base))]
    first = torch.tensor([a < b for a, b in [_marks(others.prompts, p) for p in range(len(others))] + marks])
    word = parts.tokenizer(model).decode
    prompts = [
        {"tokens": token_strings(model, base.prompts.tokens[p, :n]), "marks": marks[p], "natural": rounded(natural[p]),
         "words": [word([int(ids[p])]).strip() for ids in (base.prompts.answer, base.prompts.distractor)], "curves": []}
        for p, n in enumerate((base.prompts.end + 1).tolist())
    ]  # fmt: skip
    axes, firsts = [], []
    for i, name in enumerate(target.names):
        whole, looks = _whole_model(model, base, target, heads, i, float(limits[i]) * GRID)
        alone = _alone(model, base, target, heads, i, float(limits[i]) * GRID)
        swings = []
        for p, prompt in enumerate(prompts):
            share = looks[:, :, p, : len(prompt["tokens"])]
            bent = (whole[2:, p] + whole[:-2, p]) / 2 - whole[1:-1, p]  # how wrong half as many settings would be
            steps = (share * STEPS).round().to(torch.uint8).cpu().numpy().tobytes()
            prompt["curves"].append({"whole": rounded(whole[:, p]), "alone": rounded(alone[:, p]),
                                     "even": rounded(bent.abs().max().clamp_min(EVEN)),
                                     "looks": base64.b64encode(steps).decode()})  # fmt: skip
            gap = (share[..., min(marks[p])] - share[..., max(marks[p])]).mean(0)
            swings.append(float(gap[-1] - gap[0]))
            firsts.append(share[0])
        usual = [rounded(known[rows, i].quantile(torch.tensor([0.025, 0.5, 0.975]).to(known))) if rows.any() else None
                 for rows in (first, ~first)]  # fmt: skip
        means = all(min(pair) >= 0 for pair in marks) and (min(swings) > 0 or max(swings) < 0)
        axes.append({"name": name, "limit": rounded(limits[i]), "known": rounded(torch.stack(known[:, i].aminmax())),
                     "usual": usual, "ends": list(ends) if means else None, "turned": sum(swings) > 0})  # fmt: skip
    data = {"title": title, "alt": " ".join(alt.split()), "steps": STEPS, "grid": rounded(GRID), "count": len(others),
            "heads": [label(head) for head in heads], "axes": axes, "prompts": prompts}  # fmt: skip
    return _picture(data, firsts[0].cpu(), known[:, 0], first).enlivened("channel-playground", data)


def _whole_model(model, base: Run, target: Channel, heads: Sequence[Head], i: int, values: Float[Tensor, " n"]):
    """Return logit differences [n, batch] and attention [heads, n, batch, seq] as coordinate `i` is set."""
    whole, looks = [], []
    for value in values:
        setting = target.coordinates(base)
        setting[:, i] = value
        run = rerun_last(model, base, target.set(setting))
        whole.append(logit_difference(model, run))
        looks.append(torch.stack([run.at().pattern[head] for head in heads]))
    return torch.stack(whole), torch.stack(looks, 1)


def _alone(model, base: Run, target: Channel, heads: Sequence[Head], i: int, values: Float[Tensor, " n"]) -> Tensor:
    """Return the logit differences [n, batch] if only the queries of these heads heard of it; empty where unknown."""
    if reach(model).way is None:
        return base.z.new_zeros(0, len(base))
    changes = values.to(base.z)[:, None] - target.coordinates(base)[:, i]
    towards, _ = laws.answer_direction(model, base.prompts.answer, base.prompts.distractor)
    towards = laws.final_law(model).adjoint(towards) / laws.final_scale(model, base.at().resid[-1])[:, None]
    total = logit_difference(model, base).expand_as(changes)
    for head in heads:
        found = patch_input(model, base, Edge(head, "q"), changes[..., None] * target.directions[i].to(changes))
        (gain, _), own = laws.write_law(model, head[0]), base.at().z[head[0]].transpose(0, 1)
        pull = (towards * gain) @ parts.head_matrix(model, head[0], "W_O")[head[1]].T
        total = total + ((found.z - found.clean_z) * pull).sum(-1) / laws.write_scale(model, head[0], own)
    return total


def _marks(prompts: Prompts, p: int) -> list[int]:
    """Return where the answer and the distractor were first named; −1 where they were not."""
    row = prompts.tokens[p, : int(prompts.end[p]) + 1].tolist()
    return [row.index(int(ids[p])) if int(ids[p]) in row else -1 for ids in (prompts.answer, prompts.distractor)]


def _picture(data: dict, looks: Float[Tensor, "n seq"], known: Float[Tensor, " batch"], first: Tensor) -> View:
    """Draw attention above and the answer below, over the settings of the first component."""
    axis, prompt, side = data["axes"][0], data["prompts"][0], -1 if data["axes"][0]["turned"] else 1
    (low, high), (right, wrong) = axis["ends"] or ("lower", "higher"), (f"look at {word}" for word in prompt["words"])
    curves = {"the whole model": prompt["curves"][0]["whole"], "these heads alone": prompt["curves"][0]["alone"]}
    answer = {name: curve[::side] for name, curve in curves.items() if curve}
    attention = {name: looks[:, at].tolist()[::side] for name, at in zip((right, wrong), prompt["marks"], strict=True)}
    panels = {f"attention of {data['heads'][0]}": attention, "logit {} − {}".format(*prompt["words"]): answer}
    return lines(
        [axis["limit"] * step for step in data["grid"]][::side], panels, data["title"], data["alt"],
        f"{low}  ←  {axis['name']}  →  {high}", marks={"this prompt": prompt["natural"][0]},
        roles={right: "io", wrong: "s", "these heads alone": "mover", "this prompt": "message"},
        natural={name: known[rows] for name, rows in (("right first", first), ("right second", ~first)) if rows.any()},
    )  # fmt: skip
