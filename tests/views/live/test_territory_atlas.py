"""The map to walk through: the page holds what was measured, and what it says of a point is what numpy says."""

import base64

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from pages import data, press, settle

import th_utils as th
from th_utils.views.live.territory_atlas import STEPS
from th_utils.views.palette import ON_PLACES, PLACES

AXES = {"east": [-2.0, -1, 0, 1, 2], "north": [-3.0, -1, 1, 3], "up": torch.tensor([-10.0, 0, 10])}
HOMES = {
    "2 spots": torch.tensor([[-2.0, -3, -10], [2, 3, 10]]),
    "4 spots": torch.tensor([[-2.0, 3, 0], [2, 3, 0], [2, -3, 0], [0, 0, -10]]),
}
CROWDED = {"2 spots": HOMES["2 spots"], "4 spots": torch.tensor([[1.9, 2.8, 1.0]] * 3 + [[2.2, 3.5, -1.0]])}
NAMES = ["A", "B", "C", "D"]
TEXT = {"title": "a finding", "alt": "a map of the outcomes that win", "unit": "share of ten", "outcome": "spot"}


@pytest.fixture(scope="module")
def shares():
    """Planted: an outcome gets the more, the nearer a point lies to its home; a tenth goes elsewhere."""
    points = torch.cartesian_prod(*map(torch.as_tensor, AXES.values()))
    scale = torch.tensor([2.0, 3, 10])
    return {name: 0.9 * (-torch.cdist(points / scale, home / scale)).softmax(-1) for name, home in HOMES.items()}


@pytest.fixture(scope="module")
def view(shares):
    return th.live.territory_atlas(AXES, shares, CROWDED, NAMES, **TEXT)


def at(shares, i, j, k):
    return shares.reshape(5, 4, 3, -1)[i, j, k]


def test_the_page_holds_every_share_at_its_point(shares, view):
    found = data(view)
    assert [axis["values"] for axis in found["axes"]] == [[float(x) for x in values] for values in AXES.values()]
    for panel, (name, expected) in zip(found["panels"], shares.items(), strict=True):
        levels = np.frombuffer(base64.b64decode(panel["shares"]), dtype="<u2").reshape(expected.shape)
        np.testing.assert_allclose(levels / STEPS, expected, atol=0.51 / STEPS)
        assert panel["name"] == name
        np.testing.assert_allclose(panel["natural"], CROWDED[name], rtol=1e-5)


def test_the_picture_is_the_map_nearest_to_the_natural_means(shares, drawn):
    th.live.territory_atlas(AXES, shares, HOMES, NAMES, **TEXT)
    level = 1  # their mean is −1.7 up, nearest to 0
    for axis, values in zip(drawn[0].axes, shares.values(), strict=False):
        expected = values.reshape(5, 4, 3, -1)[:, :, level].argmax(-1).T
        np.testing.assert_array_equal(axis.collections[0].get_array(), expected)
        assert axis.get_title().endswith("up = 0")


def test_names_can_be_read_on_their_colours():
    def light(colour):
        return np.dot([(int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)], (0.2126, 0.7152, 0.0722))

    for pair in zip(PLACES, ON_PLACES, strict=True):
        dark, bright = sorted(map(light, pair))
        assert (bright + 0.05) / (dark + 0.05) > 4.5


BARS = """() => [...document.querySelectorAll(".th-bar")].map(bar => getComputedStyle(bar).backgroundColor)"""


def test_a_place_has_one_colour_in_every_panel(show, view, drawn):
    tab = show(view)
    few = tab.evaluate(BARS)
    tab.get_by_role("button", name="4 spots").click()
    settle(tab)
    many = tab.evaluate(BARS)
    assert many[: len(few)] == few and len(set(many)) == len(many) == 4
    assert many == [f"rgb({', '.join(str(round(255 * x)) for x in to_rgb(shade))})" for shade in PLACES[:4]]
    groups = {f"{n}": {name: ([i], [i]) for i, name in enumerate(NAMES[:n])} for n in (2, 4)}
    th.views.scatter(groups, "a", "b" * 20, "x", "y", ordered=True)
    for axis in drawn[-1].axes:
        dots = [to_hex(cloud.get_facecolor()[0], keep_alpha=False) for cloud in axis.collections]
        assert dots == list(PLACES[: len(dots)])


def test_it_opens_on_the_panel_that_is_asked_for(show, shares):
    tab = show(th.live.territory_atlas(AXES, shares, HOMES, NAMES, **TEXT, start="4 spots"))
    assert tab.get_by_role("button", name="4 spots").get_attribute("aria-pressed") == "true"
    assert tab.locator(".th-row").count() == 4 and "(4 spots)" in tab.locator("p").last.inner_text()


@pytest.mark.parametrize(("width", "most"), [(790, 420), (358, 600)])
def test_it_fits_a_projector_and_a_phone(show, view, width, most):
    assert show(view, width=width + 16).locator("figure").bounding_box()["height"] <= most


def test_keys_mouse_and_slider_show_what_was_measured_there(show, shares, view):
    tab = show(view)
    figure, canvas, slider = tab.locator("figure"), tab.locator("canvas"), tab.get_by_role("slider", name="up")
    words = tab.locator("p[aria-live]")

    def check(panel, i, j, k):
        settle(tab)
        assert figure.get_attribute("data-at") == f"{i} {j} {k}"
        here = at(shares[panel], i, j, k)
        shown = [float(share) for share in figure.get_attribute("data-shares").split()]
        assert shown == pytest.approx(here.tolist(), abs=2e-5)
        first, second = here.argsort(descending=True)[:2].tolist()
        lead = f"{100 * (here[first] - here[second]):.1f} points ahead of spot {NAMES[second]}."
        assert f"spot {NAMES[first]} wins: {100 * here[first]:.1f}%, {lead}" in words.inner_text()
        rows = [row.inner_text().split() for row in tab.locator(".th-row").all()]
        assert [row[-1] for row in rows] == [f"{100 * share:.1f}%" for share in shown]
        assert tab.locator(".th-row[data-wins]").inner_text().split()[1] == NAMES[first]

    check("2 spots", 2, 1, 1)  # the mean of the natural means lies between two steps north
    press(canvas, "ArrowRight", "ArrowUp")
    check("2 spots", 3, 2, 1)
    press(canvas, *["ArrowDown"] * 6)
    press(slider, "End")
    check("2 spots", 3, 0, 2)  # no farther than the edge
    assert slider.get_attribute("aria-valuetext") == "10" and "up at 10" in words.inner_text()
    tab.get_by_role("button", name="4 spots").click()
    check("4 spots", 3, 0, 2)  # the point stays, so that panels can be compared
    box = canvas.bounding_box()

    def middle(i, j):
        wide, high = (box["width"] - 40) / 5, (box["height"] - 40) / 4
        return box["x"] + 40 + (i + 0.5) * wide, box["y"] + box["height"] - 20 - (j + 0.5) * high

    tab.mouse.move(*middle(0, 3))
    tab.mouse.down()
    check("4 spots", 0, 3, 2)
    tab.mouse.move(*middle(4, 1))
    check("4 spots", 4, 1, 2)
    tab.mouse.up()
    tab.mouse.move(*middle(1, 1))
    check("4 spots", 4, 1, 2)  # no button, no move
    tab.get_by_role("button", name="Where the model is").press("Enter")
    check("4 spots", 4, 3, 1)


def test_a_finger_moves_the_point(show, view):
    tab = show(view, width=390, has_touch=True)
    box = tab.locator("canvas").bounding_box()
    tab.touchscreen.tap(box["x"] + 42, box["y"] + 22)
    settle(tab)
    assert tab.locator("figure").get_attribute("data-at") == "0 3 1"


def test_it_says_whose_territory_the_natural_means_lie_in(show, shares, view):
    """Spread over their homes, every outcome has its own; crowded, all lie in one."""
    tab = show(view, th.live.territory_atlas(AXES, shares, HOMES, NAMES, **TEXT))
    ends = ("all lie in cells of spot B.", "lie in cells of spot A, spot B, spot C and spot D.")
    for figure, expected in zip(tab.locator("figure").all(), ends, strict=True):
        assert "lie in cells of spot A and spot B." in figure.locator("p").last.inner_text()
        figure.get_by_role("button", name="4 spots").click()
        settle(tab)
        assert figure.locator("p").last.inner_text().endswith(expected)
