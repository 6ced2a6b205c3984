"""Intervals and ranking measures: thin names over scipy, so that every claim in the book can carry one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats

from ._guards import real, whole


class Estimate(NamedTuple):
    """A value with its confidence interval; prints as `0.71 [0.66, 0.76]`."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        spec = spec or ".2f"
        sign, rest = (spec[0], spec[1:]) if spec[0] in "+- " else ("", spec)
        spec = f"{sign}z{rest}"  # "z": no minus sign before a rounded zero
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self)


def array(values, name: str = "values") -> np.ndarray:
    """Real numbers as float64, from a tensor of any kind on any device or anything numpy reads."""
    if hasattr(values, "detach"):
        if values.is_meta:
            raise ValueError(f"{name}: the device meta holds no numbers")
        values = values.detach().cpu()
        values = (values if values.is_complex() else values.double()).numpy()  # double: numpy has no bfloat16
    if np.iscomplexobj(values):
        raise ValueError(f"{name} must be real numbers, got complex ones")
    return np.asarray(values, dtype=float)


def _values(values, name: str = "values") -> np.ndarray:
    flat = array(values, name).ravel()
    if flat.size == 0:
        raise ValueError(f"{name} must hold at least one number, got no numbers")
    bad = int((~np.isfinite(flat)).sum())
    if bad:
        raise ValueError(f"{name} must be finite numbers, {bad} of {flat.size} are NaN or infinite")
    return flat


def _pair(first, second, names: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    one, other = (_values(values, name) for values, name in zip((first, second), names, strict=True))
    if one.size != other.size:
        raise ValueError(f"{names[0]} and {names[1]} differ in length: {one.size} and {other.size}")
    return one, other


def mean(values, level: float = 0.95, n_resamples: int = 2000, seed: int = 0) -> Estimate:
    """Mean with a bootstrap interval over prompts (percentile, seeded)."""
    numbers, n_resamples = _values(values), whole("n_resamples", n_resamples)
    level = real("level", level, above=0, below=1)
    if numbers.size == 1 or np.ptp(numbers) == 0:
        return Estimate(numbers[0], numbers[0], numbers[0])
    interval = stats.bootstrap(
        (numbers,), np.mean, confidence_level=level, n_resamples=n_resamples, method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Estimate(numbers.mean(), interval.low, interval.high)


def share(hits, level: float = 0.95) -> Estimate:
    """Share of true values with Wilson's interval, which stays sensible near 0 and 1."""
    numbers, level = _values(hits, "hits"), real("level", level, above=0, below=1)
    if not np.isin(numbers, (0.0, 1.0)).all():
        raise ValueError("hits must be true/false or 0/1: use mean() for other numbers")
    test = stats.binomtest(int(numbers.sum()), numbers.size)
    interval = test.proportion_ci(level, method="wilson")
    return Estimate(numbers.mean(), interval.low, interval.high)


def bootstrap(statistic: Callable, *samples, level: float = 0.95, n_resamples: int = 1000, seed: int = 0) -> Estimate:
    """Percentile bootstrap of `statistic(*samples)`, resampling the samples together (paired by position)."""
    arrays, n_resamples = [_values(s) for s in samples], whole("n_resamples", n_resamples)
    level = real("level", level, above=0, below=1)
    if len({a.size for a in arrays}) != 1:
        raise ValueError(
            f"samples must have equal lengths (they are resampled together), got {[a.size for a in arrays]}"
        )
    rng = np.random.default_rng(seed)
    draws = rng.integers(arrays[0].size, size=(n_resamples, arrays[0].size))
    values = [statistic(*(a[d] for a in arrays)) for d in draws]
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(statistic(*arrays)), float(low), float(high))


def rank_correlation(x, y) -> float:
    """Spearman's ρ; NaN when one side is constant."""
    x, y = _pair(x, y, ("x", "y"))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(stats.spearmanr(x, y).statistic)


def auroc(scores, positives) -> float:
    """Area under the ROC curve: the chance that a random positive scores above a random negative (ties count half)."""
    scores, positives = _pair(scores, positives, ("scores", "positives"))
    positives = positives.astype(bool)
    if positives.all() or not positives.any():
        raise ValueError("need at least one positive and one negative to rank")
    ranks = stats.rankdata(scores)
    n_positive, n_negative = positives.sum(), (~positives).sum()
    return float((ranks[positives].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def precision_at(scores, positives, k: int) -> float:
    """Share of true positives among the k highest scores."""
    scores, positives = _pair(scores, positives, ("scores", "positives"))
    k = whole("k", k, 1, scores.size)
    return float(positives[np.argsort(-scores, kind="stable")[:k]].mean())


class Logistic(NamedTuple):
    """A fitted logistic regression: a coefficient per predictor (per standard deviation), log-likelihood in nats."""

    coefficients: dict[str, Estimate]
    log_likelihood: float


def logistic(predictors: Mapping[str, object], hits, level: float = 0.95) -> Logistic:
    """Log-odds of a hit as a linear function of predictors, each standardised to mean 0 and sd 1 (scikit-learn).

    A faint ridge (1e-3 per coefficient) keeps separable data finite; intervals are Wald's, from the inverse of the
    penalised information. An intercept is fitted and left out. A coefficient of 0.7 doubles the odds per standard
    deviation. A constant predictor gets 0.
    Raises `ValueError` for no predictors, other lengths, outcomes other than 0 and 1, or all alike.
    """
    from sklearn.linear_model import LogisticRegression  # a second to import, and only wanted here
    from sklearn.metrics import log_loss

    y = _values(hits, "hits")
    if set(np.unique(y)) != {0.0, 1.0} or not len(predictors):
        raise ValueError("hits must be true/false or 0/1, some of each, and there must be at least one predictor")
    level = real("level", level, above=0, below=1)
    columns = [_pair(values, y, (name, "hits"))[0] for name, values in predictors.items()]
    x = np.column_stack([(c - c.mean()) / (c.std() if np.ptp(c) else 1.0) for c in columns])
    ridge = 1e-3
    fit = LogisticRegression(C=1 / ridge, tol=1e-8, max_iter=1000).fit(x, y)
    p = fit.predict_proba(x)[:, 1]
    design = np.column_stack([np.ones(len(y)), x])
    information = (design.T * (p * (1 - p))) @ design + ridge * np.eye(design.shape[1])
    reach = stats.norm.ppf(0.5 + level / 2) * np.sqrt(np.diag(np.linalg.inv(information)))[1:]
    estimates = [Estimate(w, w - r, w + r) for w, r in zip(fit.coef_[0], reach, strict=True)]
    return Logistic(dict(zip(predictors, estimates, strict=True)), -len(y) * log_loss(y, p))
