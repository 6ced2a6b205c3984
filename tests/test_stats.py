"""Intervals: known values, agreement with scipy, and coverage by simulation."""

import math
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch

from th_utils import stats
from th_utils.stats import Estimate


def covered(interval, truth) -> bool:
    return interval.low <= truth <= interval.high


def test_estimates_print_with_their_interval_and_without_negative_zeros():
    estimate = Estimate(0.7149, 0.66, 0.76)
    assert str(estimate) == "0.71 [0.66, 0.76]" == f"{estimate}" and f"{estimate:.0%}" == "71% [66%, 76%]"
    small = Estimate(-0.001, -0.004, 0.25)
    assert str(small) == "0.00 [0.00, 0.25]" and f"{small:+.1f}" == "+0.0 [+0.0, +0.2]"
    assert f"{small:>6.1f}" == "   0.0 [   0.0,    0.2]" and f"{Estimate(1234.5, 0, 9e3):,.0f}" == "1,234 [0, 9,000]"
    assert Estimate.of(small) is small and Estimate.of(torch.tensor(2.0)) == (2.0, 2.0, 2.0)


def test_array_takes_any_tensor_and_refuses_complex_numbers():
    assert stats.array(torch.ones(2, dtype=torch.bfloat16, requires_grad=True)).dtype == float
    assert stats.array([True, 2]).tolist() == [1.0, 2.0]
    for wrong in ([1j], torch.ones(1, dtype=torch.complex64)):
        with pytest.raises(ValueError, match="complex"):
            stats.array(wrong)


def test_constant_values_have_no_width_single_ones_no_interval_and_higher_levels_are_wider():
    narrow, wide = (stats.mean(torch.linspace(0, 1, 20), level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert stats.mean([3.0] * 5) == (3.0, 3.0, 3.0) and str(stats.mean([3.0])) == "3.00 [nan, nan]"


def test_share_agrees_with_wilsons_formula():
    estimate = stats.share([True] * 7 + [False] * 3)
    z, n, p = 1.959964, 10, 0.7
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert estimate == pytest.approx((0.7, centre - half, centre + half), abs=1e-5)
    none, every = (stats.share(torch.full((20,), hit)) for hit in (False, True))
    assert none.low == pytest.approx(0) and 0.1 < none.high < 0.2
    assert every.high == pytest.approx(1) and 0.8 < every.low < 0.9


def test_intervals_cover_the_truth():
    """95% of 200 and of 400 times, nominally; skewed data lose a little."""
    rng = np.random.default_rng(0)
    assert 176 <= sum(covered(stats.mean(rng.exponential(size=60), n_resamples=300), 1.0) for _ in range(200)) <= 198
    assert 370 <= sum(covered(stats.share(rng.random(40) < 0.15), 0.15) for _ in range(400)) <= 395


def test_bootstrap_agrees_with_scipy_and_follows_its_seed():
    x, y = np.random.default_rng(0).normal(size=(2, 30))
    for statistic, samples in ((np.mean, [x]), (np.median, [x]), (lambda a, b: np.corrcoef(a, b)[0, 1], [x, y])):
        found = stats.bootstrap(statistic, *samples, n_resamples=500, seed=3)
        how = dict(paired=len(samples) == 2, vectorized=False, n_resamples=500, method="percentile")
        theirs = scipy.stats.bootstrap(samples, statistic, rng=np.random.default_rng(3), **how).confidence_interval
        assert found == pytest.approx((statistic(*samples), theirs.low, theirs.high))
        again, other = (stats.bootstrap(statistic, *samples, n_resamples=500, seed=seed) for seed in (3, 4))
        assert again == found != other


def test_bootstrap_keeps_pairs_together():
    """Of y = x + small noise the mean difference is known far better than either mean."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=100) * 10
    y = x + rng.normal(size=100) * 0.1 + 1
    estimate = stats.bootstrap(lambda a, b: (b - a).mean(), x, y)
    assert estimate.value == pytest.approx((y - x).mean())
    assert estimate.high - estimate.low < 0.1 and covered(estimate, 1.0)


@pytest.mark.parametrize("call, match", [
    (partial(stats.bootstrap, np.mean, [1, 2, 3], [1, 2]), r"lengths must be equal: \[3, 2\]"),
    (partial(stats.mean, []), "at least one: 0 of 0"),
    (partial(stats.mean, [1.0, math.nan]), "1 of 2 are NaN"),
    (partial(stats.mean, [1.0, 2.0], level=95.0), "level must be between 0 and 1, got 95"),
    (partial(stats.share, [0.5, 1.0]), "hits must be true/false or 0/1"),
])  # fmt: skip
def test_numbers_that_would_give_a_wrong_interval_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_a_statistic_without_a_value_in_some_resamples_has_no_interval():
    def spread(x):
        return np.ptp(x) if np.ptp(x) else math.nan

    with pytest.warns(scipy.stats.DegenerateDataWarning), pytest.raises(ValueError, match="no value in some resamples"):
        stats.bootstrap(spread, [1.0, 1.0, 1.0, 2.0])
