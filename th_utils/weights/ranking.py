"""How well do weights predict measurements? Where one score stands among all, and ranking measures with intervals.

Both kinds of composition scores work here: whole heads `[layers, heads, readers]` and components `[layers, heads,
components, readers]`, NaN where the writer is not in an earlier layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import stats
from .._guards import numbers, real, whole
from .heads import check_head


@dataclass(frozen=True)
class Standing:
    """Where a head's best score stands among the scores of all earlier writers of one reader.

    `part`: (layer, head) or (layer, head, component); `rank` 1 is the highest of `of`; `z` is in standard deviations
    of all these scores; `outlier`: above their 99.9% quantile (for whole heads: the highest one).
    """

    part: tuple[int, ...]
    score: float
    rank: int
    of: int
    z: float
    outlier: bool

    def __str__(self) -> str:
        return f"{self.rank} of {self.of:,}"


def standing(scores: Tensor, head: tuple[int, int], reader: int = 0) -> Standing:
    """The rank of a head (of its best component) among all writers for one column of `scores`.

    Raises `ValueError` when the head is not in an earlier layer than the reader.
    """
    scores = numbers("scores", scores, nan=True)
    if scores.ndim not in (3, 4):
        raise ValueError(f"scores must be numbers [layers, heads, (components,) readers], got {list(scores.shape)}")
    column = scores[..., whole("reader", reader, 0, scores.shape[-1] - 1)]
    head = check_head(head, *column.shape[:2])
    values = column[head]
    if not torch.isfinite(values).all():
        raise ValueError(
            f"no score for writer {tuple(head)}: it is not in an earlier layer than reader number {reader}"
        )
    score = values.max()
    part = (*head, int(values.argmax())) if values.ndim else tuple(head)
    others = column[torch.isfinite(column)]
    sd = others.std(correction=0).clamp_min(torch.finfo(others.dtype).tiny)
    rank = int((others > score).sum()) + 1
    return Standing(
        part,
        float(score),
        rank,
        others.numel(),
        float((score - others.mean()) / sd),
        rank <= max(1, others.numel() // 1000),
    )


@dataclass(frozen=True)
class Power:
    """How well a score ranks pairs by their measured effect (see `predictive_power`).

    `chance`: 95% quantile of the AUROC when whole writers are exchanged at random; an AUROC below it is no evidence.
    """

    rank_correlation: stats.Estimate
    auroc: stats.Estimate
    precision: stats.Estimate
    chance: float
    positives: int
    pairs: int


def predictive_power(
    scores: Tensor,
    effects: Tensor,
    threshold: float,
    n_resamples: int = 200,
    seed: int = 0,
) -> Power | None:
    """Rank correlation of `scores` with the size of `effects`, and how well they find those above `threshold`.

    Precision is taken at k = the number of such pairs, so that 1 is possible; chance is positives / pairs. One strong
    writer is strong for several readers, so pairs are not independent: the bootstrap draws *writers*, and the control
    exchanges writers as a whole. Pairs with NaN on either side are left out. None when no pair, or every pair,
    is above the threshold: there is nothing to rank. `scores`, `effects`: `[..., readers]`, one shape.
    Raises `ValueError` for unequal shapes.
    """
    if scores.shape != effects.shape:
        raise ValueError(f"scores {tuple(scores.shape)} and effects {tuple(effects.shape)} must have one shape")
    n_resamples, threshold = whole("n_resamples", n_resamples), real("threshold", threshold)
    scores, effects = numbers("scores", scores, nan=True), numbers("effects", effects, nan=True)
    x, y = (t.detach().cpu().double().reshape(-1, t.shape[-1]).numpy() for t in (scores, effects.abs()))
    usable = (np.isfinite(x) & np.isfinite(y)).any(1)
    x, y = x[usable], y[usable]

    def measures(rows_x: np.ndarray, rows_y: np.ndarray, all_three: bool = True) -> list[float]:
        pairs = np.isfinite(rows_x) & np.isfinite(rows_y)
        a, b = rows_x[pairs], rows_y[pairs]
        positive = b > threshold
        k = int(positive.sum())
        if k in (0, a.size) or np.ptp(a) == 0:
            return [np.nan] * 3
        auroc = stats.auroc(a, positive)
        return (
            [stats.rank_correlation(a, b), auroc, stats.precision_at(a, positive, k)] if all_three else [np.nan, auroc]
        )

    values = measures(x, y)
    if np.isnan(values).any():
        return None
    rng = np.random.default_rng(seed)
    draws = [rng.integers(len(x), size=len(x)) for _ in range(n_resamples)]
    low, high = np.nanquantile([measures(x[d], y[d]) for d in draws], [0.025, 0.975], axis=0)
    exchanged = [measures(x[rng.permutation(len(x))], y, False)[1] for _ in range(n_resamples)]
    estimates = [stats.Estimate(*map(float, triple)) for triple in zip(values, low, high, strict=True)]
    both = np.isfinite(x) & np.isfinite(y)
    chance = float(np.nanquantile(exchanged, 0.95))
    return Power(*estimates, chance, int((y[both] > threshold).sum()), int(both.sum()))
