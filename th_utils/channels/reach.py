"""Which positions of a list can a few numbers select? A reader's scores as affine functions of coordinates.

Fix a prompt and the scale of the reader's normalisation. When the coordinates of some stream directions change by `a`,
the reader's score for position i becomes `b_i + a·κ_i`: each position is a point κ_i, its code. A position can be
selected iff some `a` puts it above all others, which for large `a` means that κ_i is a corner of the points' convex
hull. Corners of a line are its two ends. On a circle all points are corners, with margins that shrink as 1/N². This
is our own derivation; chapter 04 tests it on a real head.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linprog
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import mutual_info_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from torch import Tensor

from .._guards import numbers, real, whole
from ..classes import check_classes
from ..models import parts
from ..runs.metrics import spots
from ..runs.run import Run
from ..stats import array
from ..weights.heads import check_head


@torch.no_grad()
def position_codes(
    model,
    base: Run,
    reader: tuple[int, int],
    directions: Float[Tensor, "k d_model"],
    positions: Int[Tensor, "batch items"],
) -> tuple[Float[Tensor, "batch items"], Float[Tensor, "batch items k"]]:
    """The reader's scores b from END to some positions, and how each score answers to each direction, κ.

    `b_i = q·k_i / √d_head` as in the run; `κ_i = (R v W_Q)·k_i / (s √d_head)` with the run's own rotated keys, the
    rotation R at END and the scale s of the reader's normalisation at END. Adding `a` (in units of the residual
    stream) along the directions gives scores `b_i + a·κ_i` as long as s stays, and nothing in between reacts.
    Raises `ValueError` for a model loaded with `fold=False`, a head outside the model, directions of another width, and
    positions that are not one row per prompt of integers up to its END.
    """
    layer, head = check_head(reader, *parts.heads_shape(model))
    if layer >= len(base.z):
        raise ValueError(f"base stops before the reader's layer {layer}")
    positions, resid = spots(base, positions), base.at(base.resid)[layer]
    directions = numbers("directions", directions, like=resid, k=None, d_model=resid.shape[-1])
    if base.keys[layer].shape[1] == 0:
        raise ValueError(f"base has no keys of the reader's layer {layer}: see run(caches=)")
    scale = parts.norm_scale(model, resid, parts.attention_input(model, layer, resid))
    asked = parts.centred(model, directions) @ parts.head_matrix(model, layer, "W_Q")[head].to(directions)
    angles = parts.rotary(model, resid, base.end[:, None])
    batch = torch.arange(len(base), device=resid.device)[:, None]
    keys = base.keys[layer][batch, positions, head // parts.kv_groups(model)]

    def turned(queries: Tensor) -> Tensor:
        return parts.rotate(queries.unsqueeze(2), angles)[:, :, 0]

    root = parts.attention_scale(model)
    query = turned(base.at(base.q)[layer, :, None, head])
    scores = torch.einsum("bk,bik->bi", query[:, 0], keys) / root
    codes = [torch.einsum("bvk,bik->biv", turned(part.expand(len(base), -1, -1)), keys) for part in asked.split(256)]
    return scores, torch.cat(codes, -1) / (scale[:, None, None] * root)


def margins(points, offsets=None, limit: float | None = None) -> np.ndarray:
    """For every point the largest lead over its strongest rival that any `a` from -`limit` to `limit` can give it.

    `points`: [items, k]; `offsets`: [items], zeros by default. The lead of i is the minimum over j of
    (b_i + a·κ_i) − (b_j + a·κ_j), maximised by a linear programme; positive means "can be selected". Without a limit
    the lead may be infinite and is cut at 1.
    Raises `ValueError` for fewer than two points, offsets of another length, infinite numbers or a limit that is not
    positive.
    """
    codes = array(points, "points")
    base = np.zeros(len(codes)) if offsets is None else array(offsets, "offsets")
    if codes.ndim != 2 or len(codes) < 2 or base.shape != (len(codes),):
        raise ValueError(f"need points [items >= 2, k] and one offset each, got {codes.shape} and {base.shape}")
    if not (np.isfinite(codes).all() and np.isfinite(base).all()):
        raise ValueError("points and offsets must be finite numbers")
    limit = None if limit is None else real("limit (None for no limit)", limit, above=0)
    k = codes.shape[1]
    bounds = [(None, None) if limit is None else (-limit, limit)] * k + [(None, 1.0 if limit is None else None)]
    best = []
    for i in range(len(codes)):
        others = np.delete(np.arange(len(codes)), i)
        matrix = np.column_stack([codes[others] - codes[i], np.ones(len(others))])
        solution = linprog(np.append(np.zeros(k), -1.0), matrix, base[i] - base[others], bounds=bounds)
        if solution.status != 0:
            raise RuntimeError(f"the linear programme of point {i} was not solved: {solution.message}")
        best.append(solution.x[-1])
    return np.array(best)


def reachable(points, offsets=None, limit: float | None = None, tolerance: float = 1e-7) -> np.ndarray:
    """Which points some `a` can select, [items] true or false: those with a positive best margin (see `margins`)."""
    return margins(points, offsets, limit) > real("tolerance", tolerance, least=0)


def decode(points, labels, folds: int = 10, seed: int = 0) -> np.ndarray:
    """Labels predicted from points by cross-validated linear discriminant analysis, [n] (scikit-learn).

    The covariance is shrunk as Ledoit and Wolf do: little for a few coordinates, much for as many as samples. Every
    label is predicted by a fit that has not seen it.
    Raises `ValueError` for labels of another length or of one class, points that are not finite, or more `folds` than
    the smallest class has samples.
    """
    x, y = array(points, "points"), np.asarray(labels)
    if x.ndim != 2 or y.shape != (len(x),) or not np.isfinite(x).all():
        raise ValueError(f"need finite points [n, d] and n labels, got {x.shape} and {y.shape}")
    sizes = np.unique(y, return_counts=True)[1]
    if len(sizes) < 2:
        raise ValueError(f"labels must be of at least two classes, got {len(sizes)}")
    folds = whole("folds (at most the size of the smallest class)", folds, 2, int(sizes.min()))
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return cross_val_predict(LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"), x, y, cv=parts)


def information(labels, predicted) -> float:
    """Mutual information between two labellings in bits, from their joint counts (biased upwards for few samples).

    Raises `ValueError` for none, or labellings of different lengths.
    """
    one, other = np.asarray(labels), np.asarray(predicted)
    if not one.size or one.shape != other.shape:
        raise ValueError(f"labels and predicted are of inconsistent length or empty: {one.shape} and {other.shape}")
    return float(mutual_info_score(one, other) / np.log(2))


check_classes(globals())
