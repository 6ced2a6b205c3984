"""Charts: every mark is where its number says, intervals are drawn where there are any, and names match marks."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

import th_utils as th
from th_utils import Estimate
from th_utils.views import COLOURS, GREY
from th_utils.views.palette import PLACES

TEXT = {"title": "a finding", "alt": "a chart of planted numbers for a test"}
XY = {"xlabel": "x", "ylabel": "y"}


def segments(axis) -> list:
    """The horizontal lines that mark intervals: ((low, high), row)."""
    lines = [line.get_xydata() for line in axis.lines if line.get_linestyle() == "-" and line.get_marker() == "None"]
    return [(tuple(xy[:, 0]), xy[0, 1]) for xy in lines if xy[0, 1] == xy[1, 1]]


def test_bars_are_as_long_as_their_numbers(drawn):
    values = {"one": Estimate(2.0, 1.0, 4.0), "two": torch.tensor(-0.5), "sure": Estimate(1.0, 1.0, 1.0)}
    th.views.bars(values, unit="nats", baseline=0.5, baseline_name="chance", highlight=["two"], **TEXT)
    (axis,) = drawn[0].axes
    assert [bar.get_width() for bar in axis.patches] == [2.0, -0.5, 1.0]
    assert [bar.get_y() + bar.get_height() / 2 for bar in axis.patches] == pytest.approx([0, 1, 2])
    assert [text.get_text() for text in axis.get_yticklabels()] == list(values) and axis.yaxis_inverted()
    assert [to_hex(bar.get_facecolor()) for bar in axis.patches] == [COLOURS[i].lower() for i in (0, 1, 0)]
    assert segments(axis) == [((1.0, 4.0), 0)]  # no interval where there is no width
    assert [line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == "--"] == [0.5]


def test_compare_has_a_panel_for_every_number_and_a_bar_for_every_state(drawn):
    states = {"before": {"n": 1.0, "m": -0.0}, "after": {"m": Estimate(0.5, 0.25, 1.0), "n": -3}}
    th.views.compare(states, **TEXT)
    n, m = drawn[0].axes
    assert [axis.get_xlabel() for axis in (n, m)] == ["n", "m"]
    assert [[bar.get_width() for bar in axis.patches] for axis in (n, m)] == [[1.0, -3.0], [0.0, 0.5]]
    assert [[text.get_text() for text in axis.texts] for axis in (n, m)] == [["1", "−3"], ["0", "0.5"]]
    assert [to_hex(bar.get_facecolor()) for bar in n.patches] == [GREY, COLOURS[0].lower()]
    assert segments(n) == [] and segments(m) == [((0.25, 1.0), 1)]
    assert [line.get_xdata()[0] for line in n.lines if line.get_linestyle() == "--"] == [1.0]


def test_a_dumbbell_leads_from_the_first_state_to_a_dot(drawn):
    th.views.compare({"before": {"n": 2.0}, "after": {"n": Estimate(0.5, 0.25, 1.0)}}, **TEXT, dots=True)
    (axis,) = drawn[0].axes
    dots = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if line.get_marker() == "o"]
    assert dots == [(2.0, 0), (0.5, 1)] and not axis.patches
    assert ([2.0, 0.5], [1, 1]) in [(list(line.get_xdata()), list(line.get_ydata())) for line in axis.lines]
    assert ((0.25, 1.0), 1) in segments(axis)


def test_curves_go_through_their_numbers_and_bands_between_their_ends(drawn):
    x, plain = np.linspace(0, 1, 3), torch.tensor([1.0, 0.0, 2.0])
    sure = [Estimate(v, v - 1, v + 1) for v in (0.0, 1.0, 2.0)]
    th.views.lines(x, {"left": {"a": plain, "b": sure}, "right": {"a": plain * 5, "b": sure}}, marks={"m": 0.5}, **XY,
                   **TEXT)  # fmt: skip
    left, right = drawn[0].axes
    curves = {line.get_label(): line.get_xydata() for line in left.lines}
    np.testing.assert_array_equal(curves["a"], np.column_stack([x, plain]))
    np.testing.assert_array_equal(curves["b"], np.column_stack([x, [0, 1, 2]]))
    (band,) = left.collections
    ends = {tuple(point) for point in band.get_paths()[0].vertices.tolist()}
    assert ends == {(at, v + side) for at, v in zip(x, (0, 1, 2), strict=True) for side in (-1, 1)}
    assert left.get_ylim() == right.get_ylim(), "panels are compared on one axis"
    assert left.get_legend() is None and right.get_legend() is not None, "one legend for the same names"
    assert (left.texts[0].get_text(), left.texts[0].get_position()[0]) == ("m", 0.5)


def test_strip_draws_every_dot_in_its_row_and_names_the_highest_above_the_band(drawn):
    groups = {"a": torch.tensor([0.1, 0.9, 0.5, 0.8]), "b": [0.2, 0.3, 0.1, 0.0]}
    labels = {"a": ["0", "1", "2", "3"], "b": "wxyz"}
    th.views.strip(groups, unit="score", band=(0.0, 0.4), labels=labels, n_labels=2, **TEXT)
    (axis,) = drawn[0].axes
    for row, (line, values) in enumerate(zip(axis.lines, groups.values(), strict=True)):
        np.testing.assert_allclose(line.get_xdata(), values, rtol=1e-6)
        assert np.abs(line.get_ydata() - row).max() < 0.25
    written = [(text.get_text(), round(text.xy[0], 3), text.xy[1]) for text in axis.texts]
    assert written == [("1", 0.9, 0), ("3", 0.8, 0)]
    assert axis.patches[0].get_bbox().intervalx.tolist() == [0.0, 0.4]


def test_scatter_puts_points_and_words_where_they_belong(drawn):
    points = torch.tensor([[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]])
    th.views.scatter({"a": points.T, "b": ([1], [2])}, names={"here": (3.0, 5.0)}, **XY, **TEXT)
    (axis,) = drawn[0].axes
    one, other = axis.collections
    np.testing.assert_array_equal(one.get_offsets(), points)
    assert other.get_offsets().tolist() == [[1, 2]]
    assert [(text.get_text(), text.xy) for text in axis.texts] == [("here", (3.0, 5.0))]
    assert to_hex(one.get_facecolor()[0]) != to_hex(other.get_facecolor()[0])


def test_clouds_are_named_at_their_means_on_common_axes(drawn):
    points = np.array([[0.0, 0.0], [2.0, 4.0], [10.0, -10.0]])
    th.views.clouds({"p": (points, [1, 1, 0]), "q": (points[:1], torch.tensor([0]))}, ["A", "B"], **XY, **TEXT)
    p, q = drawn[0].axes
    assert {text.get_text(): text.get_position() for text in p.texts} == {"A": (10.0, -10.0), "B": (1.0, 2.0)}
    assert (p.get_xlim(), p.get_ylim()) == (q.get_xlim(), q.get_ylim())
    assert sorted(len(group.get_offsets()) for group in p.collections) == [1, 2]


def test_places_in_words():
    places = [th.views.nth(i) for i in (0, 1, 2, 3, 10, 11, 12, 20, 21, 111)]
    assert places == ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "112th"]


def test_curves_of_places_have_the_colours_of_places(drawn):
    curves = {th.views.nth(i): [0.0, 1.0 + i] for i in range(5)}
    th.views.lines([0, 1], curves, "a finding", "five rising lines, one for each place", "x", "y", places=True)
    assert [line.get_color() for line in drawn[0].axes[0].lines[:5]] == list(PLACES[:5])
