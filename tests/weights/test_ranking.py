"""Standing of a score among all, and the measures of prediction: known answers, controls, refusals."""

import pytest
import torch

from th_utils.weights.ranking import predictive_power, standing


def scores_with_gap(seed=0):
    scores = torch.rand(4, 5, 6, 2, generator=torch.Generator().manual_seed(seed)) / 2
    scores[3:] = torch.nan
    return scores


def test_standing_finds_a_planted_component():
    scores = scores_with_gap()
    scores[1, 2, 4, 1] = 0.9
    found = standing(scores, (1, 2), 1)
    assert (found.part, found.rank, found.of, found.outlier) == ((1, 2, 4), 1, 90, True)
    assert found.z > 3 and str(found) == "1 of 90"


def test_standing_of_whole_heads_counts_the_higher_ones():
    scores = torch.tensor([[0.1, 0.4, 0.3], [torch.nan] * 3])[..., None]
    assert standing(scores, (0, 2)).rank == 2 and standing(scores, (0, 2)).part == (0, 2)
    assert not standing(scores, (0, 2)).outlier


def test_standing_refuses_a_later_writer():
    with pytest.raises(ValueError, match="not in an earlier layer"):
        standing(scores_with_gap(), (3, 0))


def test_a_perfect_score_is_perfect_and_its_sign_does_not_matter_in_effects():
    effects = torch.randn(4, 10, 3, generator=torch.Generator().manual_seed(1))
    power = predictive_power(effects.abs(), effects, 1.0)
    assert power.auroc.value == power.precision.value == 1 and power.rank_correlation.value == pytest.approx(1)
    assert power.pairs == 120 and power.positives == int((effects.abs() > 1).sum())


def test_an_unrelated_score_stays_below_its_chance_bound_most_of_the_time():
    generator = torch.Generator().manual_seed(2)
    below = [
        (
            p := predictive_power(
                torch.rand(60, 3, generator=generator), torch.rand(60, 3, generator=generator), 0.9, 60
            )
        ).auroc.value
        < p.chance
        for _ in range(20)
    ]
    assert sum(below) >= 15


def test_one_strong_writer_is_not_much_evidence():
    """All positives in one writer: exchanging writers reaches the same AUROC often, so the bound is near 1."""
    effects, scores = (
        torch.zeros(30, 4),
        torch.rand(30, 1, generator=torch.Generator().manual_seed(3)).expand(30, 4).clone(),
    )
    effects[7] = 1
    scores[7] = 2
    power = predictive_power(scores, effects, 0.5)
    assert power.auroc.value == 1 and power.chance > 0.9


def test_nothing_to_rank_gives_none_and_shapes_must_agree():
    assert predictive_power(torch.rand(5, 2), torch.zeros(5, 2), 0.1) is None
    with pytest.raises(ValueError, match="one shape"):
        predictive_power(torch.rand(5, 2), torch.rand(5, 3), 0.1)
