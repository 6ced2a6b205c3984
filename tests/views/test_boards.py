"""Boards: every cell shows its own number, signed numbers have zero in the middle, and names lie on their own cells."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb

import th_utils as th
from th_utils.views import ROLES
from th_utils.views.boards import shades
from th_utils.views.figure import written

TEXT = {"title": "a finding", "alt": "a board of planted numbers for a test"}
XY = {"xlabel": "x", "ylabel": "y"}


def dots(axis) -> dict:
    """The dots of a board: (layer's place, head) -> (width, role)."""
    found = [one for one in axis.collections if hasattr(one, "get_widths")]
    return {(*at,): (wide, one.get_gid()) for one in found for at, wide in zip(one.get_offsets().tolist(),
            one.get_widths().tolist(), strict=True)}  # fmt: skip


def test_a_board_has_layers_across_and_heads_down_and_dots_as_wide_as_their_numbers(drawn):
    values = torch.rand(6, 4) + 0.2
    values[2] = 0.01  # next to nothing: folded
    th.views.head_map({"one": values, "half": values / 2}, unit="u", marks={"mover": [(0, 1), (5, 3)]}, **TEXT)
    one, half = map(dots, drawn[0].axes)
    places = sorted({x for x, _ in one})
    assert np.diff(places) == pytest.approx([1, 0.35, 1, 1, 1]) and sorted({head for _, head in one}) == [0, 1, 2, 3]
    for (x, head), (wide, role) in one.items():
        assert wide == pytest.approx(0.96 * float(values[places.index(x), int(head)] / values.max()), rel=1e-5)
        assert half[x, head][0] == pytest.approx(wide / 2, rel=1e-5), "panels are compared on one scale"
        assert role == "ink"
    top = drawn[0].axes[0]
    assert top.yaxis_inverted() and [text.get_text() for text in top.texts] == ["0.1", "5.3"]
    rings = [tuple(patch.get_center()) for patch in top.patches]
    assert rings == [(places[0], 1), (places[5], 3)]
    assert [to_hex(patch.get_edgecolor()) for patch in top.patches] == [ROLES["mover"][0].lower()] * 2
    assert drawn[0].axes[1].get_xlabel().endswith(f"dot: u, the widest {written(float(values.max()))}")


@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_signs_have_colours_where_there_are_two(shift, drawn):
    values = torch.linspace(-1, 2, 12).reshape(4, 3) + shift
    th.views.head_map(values, unit="u", **TEXT)
    axis = drawn[0].axes[0]
    assert {role for _, role in dots(axis).values()} == ({"towards", "against"} if shift == 0 else {"ink"})
    assert [role for at, (_, role) in sorted(dots(axis).items())][0] == ("against" if shift == 0 else "ink")
    assert ("red above zero" in axis.get_xlabel()) == (shift == 0)


def test_marked_heads_of_one_layer_are_named_one_above_the_other(drawn):
    th.views.head_map(torch.ones(3, 4), unit="u", marks=[(1, 3), (1, 0), (2, 2)], **TEXT)
    spots = {text.get_text(): text.get_position() for text in drawn[0].axes[0].texts}
    assert spots["1.0"][0] == spots["1.3"][0] and spots["1.0"][1] < spots["1.3"][1] < -1
    assert spots["2.2"][0] - spots["1.0"][0] >= 2, "names do not lie on each other"


def test_a_heatmap_writes_every_share_in_its_cell(drawn):
    values = [[0.5, np.nan, 1.0], [0.004, 0.25, 0.0]]
    th.views.heatmap(values, ["2", "3"], ["1st", "2nd", "3rd"], unit="share", **XY, **TEXT)
    axis = drawn[0].axes[0]
    np.testing.assert_array_equal(axis.images[0].get_array().filled(np.nan), values)
    written = {text.get_position(): text.get_text() for text in axis.texts}
    assert written == {(0, 0): ".50", (2, 0): "1", (0, 1): ".00", (1, 1): ".25", (2, 1): ".00"}
    assert [text.get_text() for text in axis.get_xticklabels()] == ["1st", "2nd", "3rd"]


def territories(labels=((0, 0, 0), (1, 1, 0)), **marks):
    return th.views.territories([0, 1, 2], [0, 10], {"a": labels}, ["A", "B"], **XY, **marks, **TEXT)


def test_every_territory_carries_its_name_on_its_own_colour(drawn):
    labels = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [2, 1, 0, 0]])
    th.views.territories(range(4), range(3), {"a": labels}, ["A", "B", "C"], **XY, **TEXT)
    axis = drawn[0].axes[0]
    for text in axis.texts:
        x, y = map(int, text.get_position())
        assert "ABC"[labels[y, x]] == text.get_text()
    assert sorted(text.get_text() for text in axis.texts) == ["A", "B", "C"]
    np.testing.assert_array_equal(axis.collections[0].get_array(), labels)


def test_marks_outside_a_territory_map_are_on_its_edge(drawn):
    for at in ([2, 10], [7, 99], [0.5, 5]):
        territories(marks={"a": [[0, 0], at]}, marked="m")
    ends = [figure.axes[0].collections[-1].get_offsets().tolist()[1] for figure in drawn]
    assert ends == [[2, 10], [2, 10], [0.5, 5]]


def test_attention_shows_a_row_for_every_head_without_the_padding(drawn):
    rows = {"0.0": torch.tensor([0.4, 0.6, 0.0]), "1.1": [0.05, 0.95]}
    th.views.attention(["<a>", "$b$"], rows, **TEXT)
    axis = drawn[0].axes[0]
    np.testing.assert_allclose(axis.images[0].get_array(), [[0.4, 0.6], [0.05, 0.95]], rtol=1e-6)
    assert [text.get_text() for text in axis.texts] == [".40", ".60", ".95"]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["<a>", "$b$"]


def test_shades_rise_in_lightness():
    light = [np.dot(np.power(to_rgb(shade), 2.2), (0.2126, 0.7152, 0.0722)) for shade in shades(8)]
    assert (np.diff(light) > 0.01).all()
