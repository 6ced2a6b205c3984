"""Boards: every cell shows its own number, signed numbers have zero in the middle, and names lie on their own cells."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

import th_utils as th
from th_utils.views.boards import shades

TEXT = {"title": "a finding", "alt": "a board of planted numbers for a test"}
XY = {"xlabel": "x", "ylabel": "y"}


def test_a_head_map_has_layers_across_and_heads_down(drawn):
    values = torch.randn(6, 4)
    th.views.head_map({"one": values, "half": values / 2}, unit="u", marks=[(0, 1), (5, 3)], **TEXT)
    one, half, bar = drawn[0].axes
    np.testing.assert_allclose(one.images[0].get_array(), values.T, rtol=1e-6)
    assert one.images[0].get_clim() == half.images[0].get_clim(), "panels are compared on one scale"
    assert [(text.get_text(), text.xy) for text in one.texts] == [("0.1", (0, 1)), ("5.3", (5, 3))]
    assert [patch.get_center().tolist() for patch in one.patches] == [[0, 1], [5, 3]]
    assert bar.get_ylabel() == "u"


@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_signed_maps_have_zero_in_the_middle_and_others_at_an_end(shift, drawn):
    values = torch.linspace(-1, 2, 12).reshape(4, 3) + shift
    th.views.head_map(values, unit="u", **TEXT)
    low, high = drawn[0].axes[0].images[0].get_clim()
    assert (low, high) == (-2.0, 2.0) if shift == 0 else 0.0 in (low, high)


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
