"""Intervals and ranking measures: known values, and coverage by simulation."""

import math
import warnings

import numpy as np
import pytest
import torch

from th_utils import stats
from th_utils.stats import Estimate


def test_estimates_print_with_their_interval():
    estimate = Estimate(0.7149, 0.66, 0.76)
    assert str(estimate) == "0.71 [0.66, 0.76]" == f"{estimate}"
    assert f"{estimate:.0%}" == "71% [66%, 76%]"


# --- mean ---


def test_mean_of_known_values():
    estimate = stats.mean([1.0, 2.0, 3.0, 4.0])
    assert estimate.value == 2.5 and estimate.low < 2.5 < estimate.high
    assert 1.0 <= estimate.low and estimate.high <= 4.0


def test_constant_and_single_values_have_no_width():
    assert stats.mean([3.0]) == (3.0, 3.0, 3.0) == stats.mean([3.0] * 5)


def test_mean_agrees_with_the_normal_interval_for_many_values():
    values = np.random.default_rng(0).normal(size=2000)
    estimate = stats.mean(values)
    half = 1.96 * values.std() / math.sqrt(2000)
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_mean_is_seeded_and_takes_tensors():
    values = torch.linspace(0, 1, 20, requires_grad=True)
    assert stats.mean(values) == stats.mean(values.detach().numpy()) != stats.mean(values, seed=1)


def test_higher_levels_are_wider():
    values = np.random.default_rng(0).normal(size=50)
    narrow, wide = stats.mean(values, level=0.5), stats.mean(values, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def covered(interval, truth) -> bool:
    return interval.low <= truth <= interval.high


def test_mean_intervals_cover_the_truth():
    rng = np.random.default_rng(0)
    hits = sum(covered(stats.mean(rng.exponential(size=60), n_resamples=300), 1.0) for _ in range(200))
    assert 176 <= hits <= 198  # nominally 190; skewed data lose a little


# --- share ---


def test_share_agrees_with_wilsons_formula():
    estimate = stats.share([True] * 7 + [False] * 3)
    z, n, p = 1.959964, 10, 0.7
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert estimate == pytest.approx((0.7, centre - half, centre + half), abs=1e-5)


def test_share_stays_inside_zero_and_one():
    none, every = (
        stats.share(torch.zeros(20, dtype=torch.bool)),
        stats.share(torch.ones(20, dtype=torch.bool)),
    )
    assert none.value == 0 and none.low == pytest.approx(0) and 0.1 < none.high < 0.2
    assert every.value == 1 and every.high == pytest.approx(1) and 0.8 < every.low < 0.9


def test_share_intervals_cover_the_truth():
    rng = np.random.default_rng(0)
    hits = sum(covered(stats.share(rng.random(40) < 0.15), 0.15) for _ in range(400))
    assert 370 <= hits <= 395


def test_share_refuses_other_numbers():
    with pytest.raises(ValueError, match="0/1"):
        stats.share([0.5, 1.0])


# --- bootstrap ---


def test_bootstrap_keeps_pairs_together():
    """Of y = x + small noise the mean difference is known far better than either mean."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=100) * 10
    y = x + rng.normal(size=100) * 0.1 + 1
    estimate = stats.bootstrap(lambda a, b: (b - a).mean(), x, y)
    assert estimate.value == pytest.approx((y - x).mean())
    assert estimate.high - estimate.low < 0.1
    assert covered(estimate, 1.0)


def test_bootstrap_of_a_correlation_covers_the_truth():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        x = rng.normal(size=80)
        y = 0.6 * x + 0.8 * rng.normal(size=80)
        hits += covered(stats.bootstrap(lambda a, b: np.corrcoef(a, b)[0, 1], x, y, n_resamples=200), 0.6)
    assert hits >= 86


def test_bootstrap_is_seeded():
    values = np.random.default_rng(0).normal(size=30)
    assert stats.bootstrap(np.median, values) == stats.bootstrap(np.median, values)
    assert stats.bootstrap(np.median, values) != stats.bootstrap(np.median, values, seed=1)


def test_bootstrap_refuses_unequal_samples():
    with pytest.raises(ValueError, match=r"equal lengths.*\[3, 2\]"):
        stats.bootstrap(lambda a, b: 0.0, [1, 2, 3], [1, 2])


# --- ranking ---


def test_rank_correlation_sees_order_only():
    x = np.arange(1.0, 8.0)
    assert stats.rank_correlation(x, np.exp(x)) == pytest.approx(1)
    assert stats.rank_correlation(x, -(x**3)) == pytest.approx(-1)
    assert stats.rank_correlation([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)  # 1 − 6·2/(4·15)


def test_rank_correlation_of_a_constant_is_not_a_number():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(stats.rank_correlation([1, 1, 1], [1, 2, 3]))


def test_auroc_counts_pairs_with_ties_as_half():
    rng = np.random.default_rng(0)
    scores, positives = rng.integers(0, 6, size=40), rng.random(40) < 0.3
    pairs = [(s > t) + 0.5 * (s == t) for s in scores[positives] for t in scores[~positives]]
    assert stats.auroc(scores, positives) == pytest.approx(np.mean(pairs))


def test_auroc_of_known_rankings():
    assert stats.auroc([3, 2, 1], [True, False, False]) == 1
    assert stats.auroc([1, 2, 3], [True, False, False]) == 0
    assert stats.auroc(torch.ones(4), torch.tensor([True, False, True, False])) == 0.5


def test_precision_at_k_of_known_rankings():
    scores, positives = [0.9, 0.1, 0.8, 0.7], [True, True, False, True]
    assert [stats.precision_at(scores, positives, k) for k in (1, 2, 3, 4)] == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4])


@pytest.mark.parametrize("call, match", [
    (lambda: stats.auroc([1, 2], [True]), "differ in length: 2 and 1"),
    (lambda: stats.auroc([1, 2], [True, True]), "at least one positive and one negative"),
    (lambda: stats.auroc([1, 2], [False, False]), "at least one positive and one negative"),
    (lambda: stats.precision_at([1, 2], [True, False], 3), "k must be a whole number, 1-2"),
    (lambda: stats.precision_at([1, 2], [True, False], 0), "k must be a whole number, 1-2"),
    (lambda: stats.precision_at([1, 2], [True, False, True], 1), "differ in length: 2 and 3"),
    (lambda: stats.rank_correlation([1, 2, 3], [1, 2]), "differ in length: 3 and 2"),
    (lambda: stats.mean([]), "got no numbers"),
    (lambda: stats.mean([1.0, float("nan")]), "1 of 2"),
    (lambda: stats.share([]), "hits.*got no numbers"),
])  # fmt: skip
def test_bad_input_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_an_estimate_prints_without_negative_zeros():
    estimate = stats.Estimate(-0.001, -0.004, 0.25)
    assert str(estimate) == "0.00 [0.00, 0.25]"
    assert f"{estimate:+.1f}" == "+0.0 [+0.0, +0.2]"


def test_logistic_regression_recovers_planted_coefficients():
    rng = np.random.default_rng(0)
    x, dull = rng.normal(size=(2, 4000))
    hits = rng.random(4000) < 1 / (1 + np.exp(-(0.5 + 1.2 * x)))
    fit = stats.logistic({"x": 10 * x + 3, "dull": dull, "constant": np.ones(4000)}, hits)
    planted, nothing = fit.coefficients["x"], fit.coefficients["dull"]
    assert planted.low < 1.2 < planted.high and nothing.low < 0 < nothing.high
    assert fit.coefficients["constant"].value == pytest.approx(0, abs=1e-6)
    assert fit.log_likelihood > stats.logistic({"dull": dull}, hits).log_likelihood + 100


def test_logistic_regression_of_separable_data_is_finite():
    fit = stats.logistic({"x": np.arange(20)}, np.arange(20) > 9)
    assert 0 < fit.coefficients["x"].value < 1e3 and fit.log_likelihood > -1


def test_logistic_regression_refuses_other_outcomes():
    with pytest.raises(ValueError, match="0/1"):
        stats.logistic({"x": [1, 2, 3]}, [0, 1, 2])
    with pytest.raises(ValueError, match="differ in length"):
        stats.logistic({"x": [1, 2]}, [0, 1, 1])


def test_logistic_regression_of_a_constant():
    hits = [0, 1, 0, 1, 1, 0, 1]
    with_constant = stats.logistic({"x": range(7), "same": np.full(7, 0.1)}, hits)
    alone = stats.logistic({"x": range(7)}, hits)
    assert with_constant.coefficients["same"].value == pytest.approx(0, abs=1e-12)
    assert with_constant.coefficients["x"].value == pytest.approx(alone.coefficients["x"].value)
    with pytest.raises(ValueError, match="level must be"):
        stats.logistic({"x": range(7)}, hits, level=95.0)
