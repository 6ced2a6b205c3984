"""The map to walk through: the page holds what was measured, and what it says of a point is what numpy says."""

import base64
import json

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from test_cloud import browser, html, opened, page_of, settle  # noqa: F401

from th_utils.views import charts as views
from th_utils.views.live import territory_atlas as module

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
    return views.atlas(AXES, shares, CROWDED, NAMES, **TEXT)


def data(view) -> dict:
    return json.loads(BeautifulSoup(html(view), "html.parser").find("script", type="application/json").string)


def at(shares, i, j, k):
    return shares.reshape(5, 4, 3, -1)[i, j, k]


def test_the_page_holds_every_share_at_its_point(shares, view):
    found = data(view)
    assert [axis["values"] for axis in found["axes"]] == [[float(x) for x in values] for values in AXES.values()]
    for panel, (name, expected) in zip(found["panels"], shares.items(), strict=True):
        levels = np.frombuffer(base64.b64decode(panel["shares"]), dtype="<u2").reshape(expected.shape)
        np.testing.assert_allclose(levels / module.STEPS, expected, atol=0.51 / module.STEPS)
        assert panel["name"] == name
        np.testing.assert_allclose(panel["natural"], CROWDED[name], rtol=1e-5)


def test_colours_are_ordered_and_names_can_be_read_on_them(view):
    def light(colour):
        linear = [(int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)]
        return np.dot(linear, (0.2126, 0.7152, 0.0722))

    for panel in data(view)["panels"]:
        shades = [light(colour) for colour, _ in panel["colours"]]
        assert shades == sorted(shades) and len(set(shades)) == len(shades)
        for shade, (_, ink) in zip(shades, panel["colours"], strict=True):
            dark, bright = sorted((shade, {"#fff": 1.0, "#000": 0.0}[ink]))
            assert (bright + 0.05) / (dark + 0.05) > 4.5


def test_without_scripts_the_map_is_a_picture(browser, view):  # noqa: F811
    assert view.png.startswith(b"\x89PNG")
    tab, trouble = opened(browser, page_of(html(view)), java_script_enabled=False)
    assert tab.get_by_role("img", name=TEXT["alt"]).is_visible() and not trouble
    tab.context.close()


def says(shares, i, j, k) -> str:
    here = at(shares, i, j, k)
    first, second = here.argsort(descending=True)[:2].tolist()
    lead = here[first] - here[second]
    return f"spot {NAMES[first]} wins: {100 * here[first]:.1f}%, {100 * lead:.1f} points ahead of spot {NAMES[second]}."


def test_keys_mouse_and_slider_show_what_was_measured_there(browser, shares, view):  # noqa: F811
    tab, trouble = opened(browser, page_of(html(view)))
    figure, canvas, slider = tab.locator("figure"), tab.locator("canvas"), tab.get_by_role("slider", name="up")
    words = tab.locator("p[aria-live]")

    def check(panel, i, j, k):
        settle(tab)
        assert figure.get_attribute("data-at") == f"{i} {j} {k}"
        shown = [float(share) for share in figure.get_attribute("data-shares").split()]
        assert shown == pytest.approx(at(shares[panel], i, j, k).tolist(), abs=2e-5)
        assert says(shares[panel], i, j, k) in words.inner_text()
        rows = [row.inner_text().split() for row in tab.locator(".th-row").all()]
        assert [row[-1] for row in rows] == [f"{100 * share:.1f}%" for share in shown]
        wins = tab.locator(".th-row[data-wins]")
        assert wins.count() == 1 and wins.inner_text().split()[1] == NAMES[int(np.argmax(shown))]

    check("2 spots", 2, 1, 1)  # the mean of the natural means lies between two steps north
    canvas.press("ArrowRight")
    canvas.press("ArrowUp")
    check("2 spots", 3, 2, 1)
    for _ in range(6):
        canvas.press("ArrowDown")
    slider.press("End")
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
    assert not trouble
    tab.context.close()


def test_a_finger_moves_the_point(browser, shares, view):  # noqa: F811
    tab, trouble = opened(browser, page_of(html(view)), width=390, has_touch=True)
    box = tab.locator("canvas").bounding_box()
    tab.touchscreen.tap(box["x"] + 42, box["y"] + 22)
    settle(tab)
    assert tab.locator("figure").get_attribute("data-at") == "0 3 1" and not trouble
    tab.context.close()


def test_it_says_whose_territory_the_natural_means_lie_in(browser, shares, view):  # noqa: F811
    """Spread over their homes, every outcome has its own; crowded, all lie in one."""
    tab, _ = opened(browser, page_of(html(view), html(views.atlas(AXES, shares, HOMES, NAMES, **TEXT))))
    for figure, expected in zip(tab.locator("figure").all(), ("all lie in cells of spot B.",
                                "lie in cells of spot A, spot B, spot C and spot D."), strict=True):  # fmt: skip
        assert "lie in cells of spot A and spot B." in figure.locator("p").last.inner_text()
        figure.get_by_role("button", name="4 spots").click()
        settle(tab)
        assert figure.locator("p").last.inner_text().endswith(expected)
    tab.context.close()


def test_it_fits_a_phone_in_the_dark_and_hostile_words_stay_text(browser, shares):  # noqa: F811
    evil = "</script ><script>window.harm = 1</script>"
    axes = dict(zip((f"{evil}{i}" for i in range(3)), AXES.values(), strict=True))
    panels, usual = ({evil: one["4 spots"]} for one in (shares, HOMES))
    made = views.atlas(axes, panels, usual, [evil, "$b$", "C", "D"], evil, f"some words {evil} and more", evil, evil)
    tab, trouble = opened(browser, page_of(html(made), style="background: #121212; color: #ddd"), width=360)
    assert tab.locator("figure[data-live][data-theme-dark]").count() == 1
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.evaluate("window.harm") is None and not trouble
    assert evil in tab.locator("p[aria-live]").inner_text()
    tab.context.close()


def test_the_element_is_light_at_its_largest():
    grid = {"x": torch.linspace(-1, 1, 20), "y": torch.linspace(-1, 1, 20), "z": torch.linspace(-1, 1, 5)}
    many = torch.full((2000, module.MOST // 2000), 0.01)
    made = views.atlas(grid, {"a": many}, {"a": torch.zeros(20, 3)}, [str(i) for i in range(20)], **TEXT)
    picture = base64.b64encode(made.png)
    assert len(html(made)) - len(picture) < 150_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": {"x": [0, 1], "y": [0, 1]}}, "three coordinates, got .*'x', 'y'"),
        ({"axes": {" ": [0, 1], "y": [0, 1], "z": [0, 1]}}, "three coordinates"),
        ({"axes": AXES | {"up": [0, 2, 1]}}, "axis 'up' must be two or more numbers in equal steps up"),
        ({"axes": AXES | {"up": [0, 1, 5]}}, "axis 'up' must be"),
        ({"axes": AXES | {"up": [1]}}, "axis 'up' must be"),
        ({"axes": AXES | {"up": [0, 1, float("nan")]}}, "axis 'up' must be"),
        ({"axes": AXES | {"up": [0, 1]}}, r"shares of '2 spots' must be \[40 points, 2-4 outcomes\], got \(60, 2\)"),
        ({"shares": {}, "natural": {}}, "the same panels, at least one"),
        ({"natural": {"2 spots": HOMES["2 spots"]}}, r"same panels.*'4 spots'\], \['2 spots'\]"),
        ({"names": ["A", "B", "C"]}, r"shares of '4 spots' must be \[60 points, 2-3 outcomes\]"),
        ({"names": ["A", "B", "C", " "]}, "needs a name"),
        ({"unit": ""}, "needs a name"),
        ({"natural": HOMES | {"4 spots": torch.zeros(2, 3)}}, r"natural means of '4 spots' must be .* \[4, 3\]"),
        ({"natural": HOMES | {"4 spots": torch.full((4, 3), torch.nan)}}, "natural means of '4 spots' .* finite"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(shares, change, message, refuses):
    with refuses(message):
        views.atlas(**{"axes": AXES, "shares": shares, "natural": HOMES, "names": NAMES, **TEXT} | change)


@pytest.mark.parametrize("bad", [lambda x: x - 0.5, lambda x: 1.5 * x, lambda x: x * torch.nan])
def test_shares_that_are_no_probabilities_are_refused(shares, bad, refuses):
    with refuses("shares of '2 spots' must be probabilities"):
        views.atlas(AXES, {name: bad(values) for name, values in shares.items()}, HOMES, NAMES, **TEXT)


def test_a_grid_that_is_too_fine_for_a_page_is_refused(refuses):
    axes = dict.fromkeys("xyz", torch.linspace(0, 1, 30))
    with refuses("54000 numbers, at most 40000 fit"):
        views.atlas(axes, {"a": torch.full((27000, 2), 0.5)}, {"a": torch.zeros(2, 3)}, NAMES, **TEXT)
