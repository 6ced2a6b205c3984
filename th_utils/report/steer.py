"""Measure what a channel does: to the movers and the answer in IOI, and to longer lists (see `measure`)."""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

import th_utils as th

from ..channels.channel import make
from ..models import parts
from ..tasks import laundry_list
from ..tasks.prompts import Prompts
from .measure import Settings, abba, average, gap, halves, heads_of, plain, ratio

FACTORS = (1, 0, -1, -3)  # how far a coordinate stays from the middle of the two orders: natural, none, mirrored, far
LOST = 0.1  # share of the gap, at the low end of the interval, that a component must take with it to matter
TRIED = 8  # so many components are tried, the best ranked first


def channel(model, settings: Settings, found: dict) -> dict:
    """Find the channel by weights and by data on one half, turn it on the other; control: random directions."""
    weights, (movers, inhibitors) = th.head_weights(model), heads_of(found)
    choose, base = (th.run(model, prompts) for prompts in halves(model, settings))
    mean = th.component_scores(weights, "Q", movers).values.nanmean(-1)
    parts_ = sorted(((*h, k) for h in inhibitors for k in range(weights.d_head)), key=lambda c: -float(mean[c]))
    tried, channels, refused = [], {}, []
    for part in parts_[:TRIED]:
        one = th.channel(weights, [part])
        after = th.rerun_last(model, choose, one.scale(0.0))
        lost = ratio(gap(choose, movers) - gap(after, movers), gap(choose, movers))
        tried.append({"component": part, "score": float(mean[part]), "lost": lost})
        if lost["low"] > LOST:
            channels["weights"] = one
            break
    rows, differ = abba(choose.prompts), []
    for head in inhibitors:
        try:
            th.channel_from(weights, [head], choose.select(rows), choose.select(~rows))
            differ.append(head)
        except ValueError as error:
            refused.append(str(error))
    if differ:
        channels["data"] = th.channel_from(weights, differ, choose.select(rows), choose.select(~rows))
    measured = {how: _turned(model, settings, choose, base, one, movers) for how, one in channels.items()}
    return {"n": len(base), "tried": tried, "left_out": refused, "needed": LOST, "channels": measured}


def _turned(model, settings: Settings, choose, base, one: th.Channel, movers: Sequence) -> dict:
    """Move the coordinates away from their middle, and random directions of the same heads by the same steps."""
    weights, rows, known = th.head_weights(model), abba(choose.prompts), one.coordinates(choose)
    c, middle = one.coordinates(base), (known[rows].mean(0) + known[~rows].mean(0)) / 2
    controls = [th.random_channel(weights, one, settings.seed + i) for i in range(settings.directions)]
    listeners = [mover for mover in movers if mover[0] > min(one.heads)[0]]

    def read(hooks: list) -> tuple[torch.Tensor, torch.Tensor]:
        run = th.rerun_last(model, base, hooks)
        return gap(run, listeners), th.logit_difference(model, run)

    doses = []
    for factor in FACTORS:
        step = (factor - 1) * (c - middle)
        gaps, ld = read(one.set(c + step))
        turned = [read(control.set(control.coordinates(base) + step)) for control in controls]
        others = [torch.stack(x).mean(0) for x in zip(*turned, strict=True)]
        doses.append({
            "factor": factor, "gap": average(gaps), "logit_difference": average(ld),
            "accuracy": plain(th.stats.share(ld > 0), len(ld)),
            "control": {name: average(x) for name, x in zip(("gap", "logit_difference"), others, strict=True)},
        })  # fmt: skip
    order = [plain(th.stats.bootstrap(_area, x, abba(base.prompts)), len(base)) for x in c.T]
    cosines = [weights.ov.write[head] @ v for head, v in zip(one.heads, one.directions, strict=True)]
    nearest = [{"component": (*head, int(x.abs().argmax())), "cosine": float(x.abs().max())}
               for head, x in zip(one.heads, cosines, strict=True)]  # fmt: skip
    return {"heads": one.heads, "names": one.names, "listeners": listeners, "doses": doses, "tells_order": order,
            "nearest": nearest, "directions": len(controls), "directions_at": one.directions.tolist()}  # fmt: skip


def _area(x: np.ndarray, labels: np.ndarray) -> float:
    area = roc_auc_score(labels, x)
    return max(area, 1 - area)


def lists(model, settings: Settings, found: dict) -> dict:
    """Measure the Laundry List by length and by place, and steer it with the channel, beside random directions."""
    pools = laundry_list.pools(model, 2, settings.seed, frames=("buy",))
    lengths = {}
    for n in settings.lengths:
        prompts = laundry_list.generate(model, settings.lists, n, settings.seed + n, items=pools[1])
        run = th.run(model, prompts, caches=parts.shape(model).layers)
        right, index = _right(model, run), _index(prompts)
        places = [plain(th.stats.share(right[index == i]), int((index == i).sum())) for i in range(n)]
        lengths[str(n)] = {"accuracy": plain(th.stats.share(right), len(right)), "chance": 1 / n, "places": places,
                           "top1": plain(th.stats.share(th.top1(model, run)), len(right))}  # fmt: skip
    channels = found["channel"].get("channels", {})  # none where that section was refused
    steering = {how: _steering(model, settings, one, pools) for how, one in channels.items()}
    return {"n": settings.lists, "lengths": lengths, "steering": steering}


def _steering(model, settings: Settings, chosen: dict, pools: list) -> dict:
    """Search the best setting for every place on one pool of nouns, set it on the other: right place, wrong place."""
    weights, n = th.head_weights(model), settings.steered
    one = make(weights, [tuple(h) for h in chosen["heads"]], chosen["names"], torch.tensor(chosen["directions_at"]))
    first, count = min(one.heads)[0], max(settings.lists // 2, 2 * n)

    def lists_of(count: int, n: int, half: int):
        prompts = laundry_list.generate(model, count, n, settings.seed + 20 + n + half, items=pools[half])
        return th.run(model, prompts, caches=first)

    limit = 4 * float(one.coordinates(lists_of(count, 2, 0)).std(0).max())
    search, test = lists_of(count, n, 0), lists_of(settings.lists, n, 1)
    index = _index(test.prompts)
    wrong = (index + torch.randint(1, n, index.shape, generator=torch.Generator().manual_seed(settings.seed))) % n

    def steer(channel: th.Channel) -> list[torch.Tensor]:
        ids = laundry_list.candidates(model, search.prompts)
        table = th.best_settings(model, search, channel, ids, _index(search.prompts), limit, 16, (8,))
        return [_right(model, th.rerun_last(model, test, channel.set(table[at]))) for at in (index, wrong)]

    (right, missed), before = steer(one), _right(model, test)
    noise = [steer(th.random_channel(weights, one, settings.seed + 50 + i)) for i in range(settings.directions)]
    contrasts = [float(a.float().mean() - b.float().mean()) for a, b in noise]
    return {
        "names": one.names, "items": n, "limit": limit, "n": len(test),
        "unsteered": plain(th.stats.share(before), len(test)), "steered": plain(th.stats.share(right), len(test)),
        "gain": average(right.float() - before.float()), "contrast": average(right.float() - missed.float()),
        "control": {"wrong place": plain(th.stats.share(missed), len(test)), "contrasts": contrasts,
                    "steered": [float(a.float().mean()) for a, _ in noise]},
    }  # fmt: skip


def _index(prompts: Prompts) -> torch.Tensor:
    return torch.tensor(prompts.table.answer_index.to_numpy())


def _right(model, run: th.Run) -> torch.Tensor:
    """Tell where the model prefers the right item to all others of its list."""
    ids = laundry_list.candidates(model, run.prompts)
    return th.logits(model, run, ids).argmax(-1) == _index(run.prompts)
