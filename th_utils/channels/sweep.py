"""Set a channel's coordinates at END to many points and see where heads look and what the model answers.

Everything here re-runs only the last token of prompts that were run once (`rerun_last`). One setting of one
prompt costs one token through the layers after the channel: about 1/100 of a prompt of 50 tokens in the default model.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import qmc
from torch import Tensor

from .._guards import indices, numbers, same_model
from ..models import parts
from ..runs.metrics import logits
from ..runs.record import Run, within
from ..runs.run import rerun_last
from ..weights.heads import Head, check_head
from .channel import Channel


def traverse(
    model, base: Run, channel: Channel, points, heads: Sequence[Head], positions: Int[Tensor, "batch items"]
) -> Float[Tensor, "points heads batch items"]:
    """Measure the attention of `heads` on `positions` with the channel set to every point in turn.

    Layers after the last of `heads` are not computed. Cost: points × prompts last tokens.
    Raises `ValueError` for heads that are not after the channel's first layer, points that are not
    [points, components], and positions that are not one row per prompt up to its END.
    """
    same_model(channel=channel, run=base)
    points = numbers("points", points, {"points": None, "components": len(channel)})
    positions, size = within(base, positions), parts.shape(model)
    heads = [check_head(head, size.layers, size.heads) for head in heads]
    first = min(channel.heads)[0]
    early = [head for head in heads if head[0] <= first]
    if early or not heads:
        raise ValueError(f"heads must lie after the channel's first layer {first}: got {early or 'none'}")
    stop = max(layer for layer, _ in heads) + 1
    seen = []
    for point in points:
        pattern = rerun_last(model, base, channel.set(point), stop=stop).at().pattern
        seen.append(torch.stack([pattern[head].gather(1, positions) for head in heads]))
    return torch.stack(seen)


def best_settings(
    model, base: Run, channel: Channel, ids: Int[Tensor, "batch n"], index: Int[Tensor, " batch"], limit: float,
    n_points: int = 64, rounds: Sequence[int] = (16,), seed: int = 0,
) -> Float[Tensor, "n k"]:  # fmt: skip
    """Search for every index the point that makes the model choose it most often: an oracle's table, one row per index.

    First `n_points` spread evenly over the box from -`limit` to `limit` (a Sobol sequence: a power of two), then for
    every round that many normal steps from the best point so far, of size limit/4, limit/8 and so on. A point is judged
    by the share of right choices among `ids`, plus a tenth of the answer's mean log-probability, which breaks ties.
    Raises `ValueError` when an index has no prompt or there are others, or for a box that is empty.
    """
    same_model(channel=channel, run=base)
    ids = indices("ids", ids, parts.shape(model).vocab, {"batch": len(base), "n": None})
    n_items, k = ids.shape[1], len(channel)
    index = indices("index", index, n_items, {"batch": len(base)}).to(base.end.device)
    if missing := sorted(set(range(n_items)) - set(index.tolist())):
        raise ValueError(f"every index 0-{n_items - 1} needs a prompt to choose on; there is none for {missing}")
    if not limit > 0:
        raise ValueError(f"limit must be above 0, got {limit}")

    def judge(values: Tensor) -> Float[Tensor, " n"]:
        out = logits(model, rerun_last(model, base, channel.set(values)), ids)
        right = (out.argmax(-1) == index) + 0.1 * out.log_softmax(-1).gather(1, index[:, None])[:, 0]
        return torch.stack([right[index == i].mean() for i in range(n_items)])

    spread = torch.tensor(qmc.Sobol(k, rng=np.random.default_rng(seed)).random(n_points), dtype=torch.float32)
    points = (2 * spread - 1) * limit
    scores = torch.stack([judge(point) for point in points])
    top, best = scores.max(0).values, points[scores.argmax(0)]
    generator = torch.Generator().manual_seed(seed)
    for depth, n in enumerate(rounds):
        around = best.clone()
        for _ in range(n):
            step = torch.randn(n_items, k, generator=generator) * limit / 4 / 2**depth
            trial = (around + step).clamp(-limit, limit)
            score = judge(trial[index])
            better = score > top
            top, best = torch.where(better, score, top), torch.where(better[:, None], trial, best)
    return best
