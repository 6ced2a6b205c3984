"""Scores and where one stands among them, against sorting and numpy."""

import numpy as np
import pytest
import torch

from th_utils.weights.scores import Scores

READERS = ((3, 0), (2, 1))


def drawn(*components, seed=0) -> Scores:
    """Random scores of 4 × 5 writers into a reader of layer 3 and one of layer 2; every second head's best is a tie."""
    values = torch.rand(4, 5, *components, 2, generator=torch.Generator().manual_seed(seed))
    values[:, ::2] = values[:, ::2].round(decimals=1)
    values[3:], values[2:, ..., 1] = torch.nan, torch.nan
    return Scores(values, READERS)


def test_times_takes_one_number_a_writer_also_where_there_are_as_many_readers():
    scores, factor = Scores(torch.ones(4, 4, 4), tuple((3, h) for h in range(4))), torch.arange(16.0).view(4, 4)
    assert torch.equal(scores.times(factor).values, factor[..., None].expand(4, 4, 4))
    assert torch.equal(scores.times(2.0).values, 2 * scores.values)
    with pytest.raises(RuntimeError):
        scores.times(torch.ones(3))


def test_into_is_the_column_of_its_reader():
    scores = drawn(6)
    torch.testing.assert_close(scores.into((2, 1)), scores.values[..., 1], equal_nan=True)
    with pytest.raises(ValueError, match=r"no scores into 3.1: the readers are 3.0, 2.1"):
        scores.into((3, 1))
    with pytest.raises(ValueError, match="2 readers"):
        Scores(torch.zeros(4, 5, 3), READERS)


@pytest.mark.parametrize("components", [(), (6,)], ids=["heads", "components"])
def test_rank_agrees_with_sorting(components):
    """The place in the sorted list of all scores into that reader; equal ones share the better place."""
    scores = drawn(*components)
    for reader in READERS:
        column = scores.into(reader).numpy()
        known = np.sort(column[np.isfinite(column)])[::-1]
        for writer in [(layer, head) for layer in range(reader[0]) for head in range(5)]:
            found, best = scores.rank(writer, reader), column[writer].max()
            assert found.rank == list(known).index(best) + 1 and found.of == known.size
            assert found.score == best and column[found.part] == best and found.part[:2] == writer
            assert found.z == pytest.approx((best - known.mean()) / known.std(), abs=1e-4)
            assert str(found) == f"{found.rank} of {known.size}"


def test_the_best_scores_of_all_are_outliers():
    values = torch.rand(30, 10, 20, 1, generator=torch.Generator().manual_seed(0))
    scores = Scores(values, ((30, 0),))
    last = values.flatten().sort(descending=True).values[6000 // 1000 - 1]
    outliers = {(layer, head) for layer, head, *_ in (values >= last).nonzero().tolist()}
    found = {(layer, h) for layer in range(30) for h in range(10) if scores.rank((layer, h)).outlier}
    assert found == outliers and 4 <= len(found) <= 6


def test_rank_needs_a_reader_and_an_earlier_writer():
    with pytest.raises(ValueError, match="name the reader, one of 3.0, 2.1"):
        drawn(6).rank((1, 2))
    with pytest.raises(ValueError, match="no score for writer 2.0: it is not in an earlier layer than 2.1"):
        drawn(6).rank((2, 0), (2, 1))
    for negative in [(-1, 0), (0, -1)]:
        with pytest.raises(ValueError, match="no head"):
            drawn(6).rank(negative, (3, 0))
        with pytest.raises(ValueError, match="no head"):
            drawn(6).loudest([negative])


def test_best_of_components_is_the_score_of_a_head():
    scores = drawn(6)
    torch.testing.assert_close(scores.best().values, scores.values.amax(2), equal_nan=True)
    one, other = (s.rank((1, 2), (3, 0)) for s in (scores, scores.best()))
    assert one.score == other.score and other.part == (1, 2)


def test_z_has_mean_zero_and_sd_one_per_reader_and_keeps_the_order():
    scores = drawn(6)
    z = scores.z()
    assert torch.equal(z.isnan(), scores.values.isnan())
    for one, raw in zip(z.unbind(-1), scores.values.unbind(-1), strict=True):
        one, raw = one[one.isfinite()], raw[raw.isfinite()]
        assert one.mean().abs() < 1e-6 and one.std(correction=0).item() == pytest.approx(1)
        torch.testing.assert_close(one * raw.std(correction=0) + raw.mean(), raw)
    assert Scores(torch.ones(4, 5, 2), READERS).z().isnan().all(), "scores without spread have no z"


def test_loudest_has_the_highest_mean_over_the_readers_that_hear_it():
    scores = drawn(6)
    writers = [(layer, head) for layer in range(3) for head in range(5)]
    scores.values[2] *= 0.5
    scores.values[1, 2, 4] = torch.tensor([1.0, 0.97])
    assert scores.loudest(writers) == (1, 2, 4)
    scores.values[2, 3, 5, 0] = 0.99  # the other reader is too early to hear it
    assert scores.loudest(writers) == (2, 3, 5)
    with pytest.raises(ValueError, match="none of .*3.2.* is earlier than a reader"):
        scores.loudest([(3, 2)])
