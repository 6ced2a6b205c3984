"""Estimates with their intervals: thin names over scipy, so that every claim can carry one."""

import re
from collections.abc import Callable
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
        spec = re.sub("(?=[0-9.,_#a-zA-Z%])", "z", spec, count=1)  # "z", after the sign: no minus before a rounded zero
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
    if all(np.ptp(one) == 0 for one in arrays):
        return Estimate.of(value) if arrays[0].size > 1 else Estimate(value, np.nan, np.nan)  # one tells no interval
    simple = len(arrays) == 1 and statistic is np.mean
    interval = stats.bootstrap(
        arrays, statistic, paired=len(arrays) > 1, vectorized=simple, confidence_level=level,
        n_resamples=n_resamples, method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    if not np.isfinite(interval).all():
        raise ValueError("the statistic has no value in some resamples: take more samples or another statistic")
    return Estimate(value, float(interval.low), float(interval.high))


def _flat(name: str, values) -> np.ndarray:
    flat = array(values).ravel()
    if not flat.size or not np.isfinite(flat).all():
        bad = int((~np.isfinite(flat)).sum())
        raise ValueError(f"{name} must be finite numbers, at least one: {bad} of {flat.size} are NaN or infinite")
    return flat
