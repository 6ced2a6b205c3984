"""Do scores predict measurements? Known answers, scikit-learn and scipy, and controls."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

import th_utils as th
from th_utils.weights.scores import Scores


def draw(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_a_perfect_score_is_perfect_and_the_sign_of_effects_does_not_matter():
    effects = draw(4, 10, 3, seed=1) * 4 - 2
    power = th.predictive_power(effects.abs(), effects, 1.0)
    assert power.auroc.value == power.precision.value == 1 and power.rank_correlation.value == pytest.approx(1)
    assert power.pairs == 120 and power.positives == int((effects.abs() > 1).sum())


@pytest.mark.parametrize("digits", [1, 6], ids=["ties", "no ties"])
def test_the_measures_are_those_of_scikit_learn_and_scipy(digits):
    effects = draw(12, 5, seed=2)
    scores = (effects + draw(12, 5, seed=3)).round(decimals=digits)
    scores[0], effects[1, 1] = torch.nan, torch.nan
    power = th.predictive_power(scores, effects, 0.7, n_resamples=20)
    known = torch.isfinite(scores) & torch.isfinite(effects)
    x, y = scores[known].numpy(), effects[known].numpy()
    assert power.auroc.value == pytest.approx(roc_auc_score(y > 0.7, x))
    assert power.rank_correlation.value == pytest.approx(spearmanr(x, y).statistic)
    assert power.pairs == known.sum() and power.positives == (y > 0.7).sum()
    rng = np.random.default_rng(0)  # scores that tie at the cut are in no order
    drawn = [y[np.lexsort((rng.random(x.size), -x))][: power.positives] > 0.7 for _ in range(4000)]
    assert power.precision.value == pytest.approx(np.mean(drawn), abs=3e-3)
    same = th.predictive_power(Scores(scores[None], tuple((20, h) for h in range(5))), effects[None], 0.7, 20)
    assert same == power, "a record of scores and its tensor are one thing"


def test_an_unrelated_score_stays_below_its_chance_bound_most_of_the_time():
    """Nominally in 95 of 100 cases."""
    made = [th.predictive_power(draw(60, 3, seed=i), draw(60, 3, seed=100 + i), 0.9, 60) for i in range(40)]
    assert sum(power.auroc.value < power.chance for power in made) >= 34


def test_one_strong_writer_is_not_much_evidence():
    """All positives in one writer: exchanging writers reaches the same AUROC often, so the bound is near 1."""
    effects, scores = torch.zeros(30, 4), draw(30, 1, seed=3).expand(30, 4).clone()
    effects[7], scores[7] = 1, 2
    power = th.predictive_power(scores, effects, 0.5)
    assert power.auroc.value == 1 and power.chance > 0.9


def test_nothing_to_rank_gives_none_and_shapes_must_agree():
    assert th.predictive_power(draw(5, 2), torch.zeros(5, 2), 0.1) is None
    assert th.predictive_power(draw(5, 2), torch.ones(5, 2), 0.1) is None
    with pytest.raises(ValueError, match="one shape"):
        th.predictive_power(draw(5, 2), draw(5, 3), 0.1)
