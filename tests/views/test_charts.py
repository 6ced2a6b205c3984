"""Charts: every mark is where its number says, intervals are drawn where there are any, and names match marks."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

import th_utils as th
from th_utils import Estimate
from th_utils.views import GREY, ROLES
from th_utils.views.figure import spread
from th_utils.views.palette import PALE, PLACES

TEXT = {"title": "a finding", "alt": "a chart of planted numbers for a test"}
XY = {"xlabel": "x", "ylabel": "y"}


def segments(axis) -> list:
    """The horizontal lines that mark intervals: ((low, high), row)."""
    lines = [line.get_xydata() for line in axis.lines if line.get_linestyle() == "-" and line.get_marker() == "None"]
    return [(tuple(xy[:, 0]), xy[0, 1]) for xy in lines if xy[0, 1] == xy[1, 1]]


def test_bars_are_as_long_as_their_numbers(drawn):
    values = {"one": Estimate(2.0, 1.0, 4.0), "two": torch.tensor(-0.5), "sure": Estimate(1.0, 1.0, 1.0)}
    th.views.bars(values, unit="nats", baseline=0.5, baseline_name="chance", highlight=["two"], role="mover", **TEXT)
    (axis,) = drawn[0].axes
    assert [bar.get_width() for bar in axis.patches] == [2.0, -0.5, 1.0]
    assert [bar.get_y() + bar.get_height() / 2 for bar in axis.patches] == pytest.approx([0, 1, 2])
    assert [text.get_text() for text in axis.get_yticklabels()] == list(values) and axis.yaxis_inverted()
    assert [to_hex(bar.get_facecolor()) for bar in axis.patches] == [PALE, ROLES["mover"][0].lower(), PALE]
    assert segments(axis) == [((1.0, 4.0), 0)]  # no interval where there is no width
    assert [line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == "--"] == [0.5]
    assert [text.get_text() for text in axis.texts] == ["chance"]


def spots(axis) -> list:
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if line.get_marker() == "o"]


def test_compare_has_a_lane_for_every_number_and_a_dot_for_every_state(drawn):
    states = {"before": {"n": 1.0, "m": -0.0}, "after": {"m": Estimate(0.5, 0.25, 1.0), "n": -3}}
    th.views.compare(states, unit="points", roles={"after": "message"}, marks={"here": 2.0}, **TEXT)
    n, m = drawn[0].axes
    assert [axis.get_title(loc="left") for axis in (n, m)] == ["n", "m"] and m.get_xlabel() == "points"
    assert [spots(axis) for axis in (n, m)] == [[(1, 0), (-3, 1)], [(0, 0), (0.5, 1)]]
    assert n.get_xlim() == m.get_xlim(), "lanes are compared on one number line"
    assert [[text.get_text() for text in axis.texts] for axis in (n, m)] == [["1", "−3", "here", ""], ["0", "0.5"]]
    colours = [to_hex(line.get_color()) for line in n.lines if line.get_marker() == "o"]
    assert colours == [GREY, ROLES["message"][0].lower()]
    assert ((0.25, 1.0), 1) in segments(m) and ((1, -3), 1) in segments(n), "an interval, and a tie to the first state"
    assert {line.get_xdata()[0] for line in n.lines if line.get_linestyle() == "--"} == {1.0, 2.0}


def test_hills_stand_behind_dots_that_are_tied_to_nothing(drawn):
    states = {"noise": {"n": Estimate(2.0, 1.5, 2.5)}, "deaf": {"n": 3.0}}
    shares = {"noise": {"n": [1.0, 0.5, 0.0]}, "deaf": {"n": [1.0, 1.0, 0.0]}}
    th.views.compare(states, unit="layer", hills=([0, 2, 4], shares), **TEXT)
    (axis,) = drawn[0].axes
    assert spots(axis) == [(2, 0), (3, 1)] and axis.get_xlim() == (0, 4)
    assert segments(axis) == [((1.5, 2.5), 0), ((3, 3), 1)]
    noise, deaf = (hill.get_paths()[0].vertices for hill in axis.collections)
    assert (min(noise[:, 1]), min(deaf[:, 1])) == pytest.approx((0.42 - 0.84, 1.42 - 0.84))
    half = [y for x, y in noise if x == 2]
    assert min(half) == pytest.approx(0.42 - 0.84 / 2)


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
    assert (left.texts[0].get_text(), left.texts[0].get_position()[0]) == ("m", 0.5)
    assert [text.get_text() for text in left.texts[1:]] == [], "the same names stand once, beside the last panel"
    assert [(text.get_text(), text.xy) for text in right.texts[1:]] == [("a", (1, 10)), ("b", (1, 2))]


def test_curves_have_the_colour_of_their_role_and_thin_ones_no_name(drawn):
    curves = {"one": [0, 1, 2], "_each": [0, 2, 3], "other": [2, 1, 0]}
    th.views.lines(range(3), curves, roles={"one": "mover", "_each": "mover"}, **XY, **TEXT)
    (axis,) = drawn[0].axes
    assert [line.get_gid() for line in axis.lines][:3] == ["mover", "mover", None]
    assert [text.get_text() for text in axis.texts] == ["one", "other"]
    assert axis.lines[0].get_linewidth() > axis.lines[1].get_linewidth()


def test_what_never_occurs_by_nature_is_hatched_and_what_occurs_is_a_rug(drawn):
    panels = {"attention": {"a": [0, 1, 0]}, "answer": {"a": [3, 2, 3]}}
    th.views.lines(
        [-4, 0, 4], panels, xlabel="x", natural={"one": [-2, -1, -2], "two": torch.tensor([1.0, 3.0])}, **TEXT
    )
    upper, lower = drawn[0].axes
    for axis, name in ((upper, "attention"), (lower, "answer")):
        hatched = [tuple(np.round(patch.get_bbox().intervalx, 6)) for patch in axis.patches]
        assert hatched == [(-4, -2), (-1, 1), (3, 4)] and axis.get_ylabel() == name and axis.get_xlim() == (-4, 4)
    (rug,) = upper.child_axes
    assert [line.get_xdata().tolist() for line in rug.lines] == [[-2, -1, -2], [1, 3]] and not lower.child_axes
    assert [text.get_text() for text in rug.get_yticklabels()] == ["one", "two"]


def test_names_beside_curves_keep_their_order_and_apart():
    assert spread([0.5, 0.5, 0.1], 0.2, 1.0).tolist() == pytest.approx([0.5, 0.7, 0.1])
    assert spread([0.9, 1.0, 0.95], 0.1, 1.0).tolist() == pytest.approx([0.8, 1.0, 0.9])
    assert spread([], 0.2, 1.0).tolist() == []


def test_strip_draws_every_dot_in_its_row_and_names_the_highest_above_the_band(drawn):
    groups = {"a": torch.tensor([0.1, 0.9, 0.5, 0.8]), "b": [0.2, 0.3, 0.1, 0.0]}
    groups["c"], labels = [0.7], {"a": ["0", "1", "2", "3"], "b": "wxyz", "c": [""]}
    th.views.strip(groups, unit="score", band=(0.0, 0.4), labels=labels, n_labels=2, **TEXT)
    (axis,) = drawn[0].axes
    for row, (line, values) in enumerate(zip(axis.lines[::2], groups.values(), strict=True)):
        np.testing.assert_allclose(line.get_xdata(), values, rtol=1e-6)
        assert np.abs(line.get_ydata() - row).max() < 0.25
    null, *written = axis.texts
    assert null.get_text() == "null, 99.9%" and null.get_position()[0] == 0.2
    assert [(text.get_text(), round(text.xy[0], 3)) for text in written] == [("1", 0.9), ("3", 0.8)]
    large = np.concatenate([np.transpose(line.get_data()) for line in axis.lines[1::2]])
    np.testing.assert_array_equal(large, [text.xy for text in written])
    assert axis.patches[0].get_bbox().intervalx.tolist() == [0.0, 0.4]


def test_scatter_puts_points_and_words_where_they_belong(drawn):
    points = torch.tensor([[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]])
    th.views.scatter({"a": points.T, "b": ([1], [2])}, names={"here": (3.0, 5.0)}, **XY, **TEXT)
    (axis,) = drawn[0].axes
    one, other = axis.collections
    np.testing.assert_array_equal(one.get_offsets(), points)
    assert other.get_offsets().tolist() == [[1, 2]]
    assert {text.get_text(): text.xy for text in axis.texts} == {"here": (3.0, 5.0), "b": (1, 2)}
    assert [text.get_text() for text in drawn[0].legends[0].texts] == ["a"], "a group of one point is named beside it"
    assert [line.get_data() for line in axis.lines if line.get_marker() == "o"] == [([3.0], [5.0])]
    assert to_hex(one.get_facecolor()[0]) != to_hex(other.get_facecolor()[0])


def test_ordered_points_are_named_at_their_means_on_common_axes(drawn):
    clouds = {"p": {"A": ([10.0], [-10.0]), "B": ([0.0, 2.0], [0.0, 4.0])}, "q": {"A": ([0.0], [0.0])}}
    th.views.scatter(clouds, ordered=True, **XY, **TEXT)
    p, q = drawn[0].axes
    assert {text.get_text(): text.get_position() for text in p.texts} == {"A": (10.0, -10.0), "B": (1.0, 2.0)}
    assert (p.get_xlim(), p.get_ylim()) == (q.get_xlim(), q.get_ylim())
    assert sorted(len(group.get_offsets()) for group in p.collections) == [1, 2]
    colours = [to_hex(axis.collections[0].get_facecolor()[0], keep_alpha=False) for axis in (p, q)]
    assert colours[0] == colours[1] == PLACES[0], "a place has one colour in all panels"


def test_places_in_words():
    places = [th.views.nth(i) for i in (0, 1, 2, 3, 10, 11, 12, 20, 21, 111)]
    assert places == ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "112th"]


def test_curves_of_places_have_the_colours_of_places(drawn):
    curves = {th.views.nth(i): [0.0, 1.0 + i] for i in range(5)}
    th.views.lines([0, 1], curves, "a finding", "five rising lines, one for each place", "x", "y", ordered=True)
    assert [line.get_color() for line in drawn[0].axes[0].lines[:5]] == list(PLACES[:5])
