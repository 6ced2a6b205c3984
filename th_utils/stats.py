"""Estimates with their intervals: thin names over scipy and scikit-learn, so that every claim can carry one."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats


class Estimate(NamedTuple):
    """A value with its confidence interval; prints as `0.71 [0.66, 0.76]`."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, number) -> "Estimate":
        """Return an estimate as it is, and a plain number as an estimate without width."""
        return number if isinstance(number, Estimate) else cls(float(number), float(number), float(number))

    def __format__(self, spec: str) -> str:
        spec = spec or ".2f"
        sign, rest = (spec[0], spec[1:]) if spec[0] in "+- " else ("", spec)
        spec = f"{sign}z{rest}"  # "z": no minus sign before a rounded zero
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self)


def array(values) -> np.ndarray:
    """Convert real numbers to float64, from a tensor of any kind on any device or anything numpy reads."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values if values.is_complex() else values.double()).numpy()  # double: numpy has no bfloat16
    if np.iscomplexobj(values):
        raise ValueError("need real numbers, got complex ones")
    return np.asarray(values, dtype=float)


def mean(values, level: float = 0.95, n_resamples: int = 2000, seed: int = 0) -> Estimate:
    """Estimate a mean with a bootstrap interval over prompts (percentile, seeded)."""
    return bootstrap(np.mean, values, level=level, n_resamples=n_resamples, seed=seed)


def share(hits, level: float = 0.95) -> Estimate:
    """Estimate the share of true values with Wilson's interval, which stays sensible near 0 and 1."""
    numbers = _flat("hits", hits)
    if not np.isin(numbers, (0.0, 1.0)).all():
        raise ValueError("hits must be true/false or 0/1: use mean() for other numbers")
    interval = stats.binomtest(int(numbers.sum()), numbers.size).proportion_ci(level, method="wilson")
    return Estimate(numbers.mean(), interval.low, interval.high)


def bootstrap(statistic: Callable, *samples, level: float = 0.95, n_resamples: int = 1000, seed: int = 0) -> Estimate:
    """Estimate `statistic(*samples)` with a percentile bootstrap that resamples the samples together (paired).

    Raises `ValueError` for samples of different lengths, empty ones, numbers that are not finite, and another level.
    """
    if not 0 < level < 1:  # scipy would return the extremes
        raise ValueError(f"level must be between 0 and 1, got {level}")
    arrays = [_flat("samples", sample) for sample in samples]
    if len({one.size for one in arrays}) != 1:
        raise ValueError(f"samples are resampled together, their lengths must be equal: {[*map(np.size, arrays)]}")
    value = float(statistic(*arrays))
    if all(one.size == 1 or np.ptp(one) == 0 for one in arrays):
        return Estimate.of(value)
    simple = len(arrays) == 1 and statistic is np.mean
    interval = stats.bootstrap(
        arrays, statistic, paired=len(arrays) > 1, vectorized=simple, confidence_level=level,
        n_resamples=n_resamples, method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Estimate(value, float(interval.low), float(interval.high))


def _flat(name: str, values) -> np.ndarray:
    flat = array(values).ravel()
    if not flat.size or not np.isfinite(flat).all():
        bad = int((~np.isfinite(flat)).sum())
        raise ValueError(f"{name} must be finite numbers, at least one: {bad} of {flat.size} are NaN or infinite")
    return flat


class Logistic(NamedTuple):
    """A fitted logistic regression: a coefficient per predictor (per standard deviation), log-likelihood in nats."""

    coefficients: dict[str, Estimate]
    log_likelihood: float


def logistic(predictors: Mapping[str, object], hits, level: float = 0.95) -> Logistic:
    """Fit the log-odds of a hit as a linear function of predictors, each standardised to mean 0 and sd 1.

    A faint ridge (1e-3 per coefficient) keeps separable data finite; intervals are Wald's, from the inverse of the
    penalised information. An intercept is fitted and left out. A coefficient of 0.7 doubles the odds per standard
    deviation. A constant predictor gets 0. Uses scikit-learn.
    Raises `ValueError` for no predictors, other lengths, outcomes other than 0 and 1, or all alike.
    """
    from sklearn.linear_model import LogisticRegression  # a second to import, and only wanted here
    from sklearn.metrics import log_loss

    y = _flat("hits", hits)
    if set(np.unique(y)) != {0.0, 1.0} or not predictors:
        raise ValueError("hits must be true/false or 0/1, some of each, and there must be at least one predictor")
    columns = [_flat(name, values) for name, values in predictors.items()]
    x = np.column_stack([(c - c.mean()) / (c.std() if np.ptp(c) else 1.0) for c in columns])
    ridge = 1e-3
    fit = LogisticRegression(C=1 / ridge, tol=1e-8, max_iter=1000).fit(x, y)
    p = fit.predict_proba(x)[:, 1]
    design = np.column_stack([np.ones(len(y)), x])
    information = (design.T * (p * (1 - p))) @ design + ridge * np.eye(design.shape[1])
    reach = stats.norm.ppf(0.5 + level / 2) * np.sqrt(np.diag(np.linalg.inv(information)))[1:]
    estimates = [Estimate(w, w - r, w + r) for w, r in zip(fit.coef_[0], reach, strict=True)]
    return Logistic(dict(zip(predictors, estimates, strict=True)), -len(y) * log_loss(y, p))
