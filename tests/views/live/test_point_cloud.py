"""The cloud of points: the page element holds the numbers it was given, harms no page, and turns in a real browser."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from chromium import headless

from th_utils.views import charts as views
from th_utils.views.live import point_cloud as module

ROOT = Path(__file__).resolve().parents[3]
TEXT = {"title": "a finding", "alt": "points of some groups in space"}
EVIL = "</script ><script>window.harm = 1</script><!--<script <b>&amp;"


def html(view) -> str:
    return view._repr_mimebundle_()["text/html"]


def data(view) -> dict:
    return json.loads(BeautifulSoup(html(view), "html.parser").find("script", type="application/json").string)


def drawn(view) -> dict[str, np.ndarray]:
    return {group["name"]: np.array(group["points"]).reshape(-1, 3) for group in data(view)["groups"]}


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(0).normal(size=(60, 3)) * [5.0, 2.0, 0.1] + [100.0, 0.0, -7.0]


LABELS = [["near", "far", "else"][i % 3] for i in range(60)]


def test_the_page_holds_the_points_to_three_digits_of_the_longest_side(points):
    found = drawn(views.cloud(points, LABELS, **TEXT))
    middle, half = (points.max(0) + points.min(0)) / 2, np.ptp(points, axis=0).max() / 2
    assert list(found) == ["near", "far", "else"]
    for i, at in enumerate(found.values()):
        np.testing.assert_allclose(middle + at * half / module.STEPS, points[i::3], atol=0.5001 * half / module.STEPS)


def test_only_the_shape_of_the_cloud_counts(points):
    """Moved and scaled as a whole it looks the same; scaled along one axis it does not."""
    one, other = (drawn(views.cloud(p, LABELS, **TEXT)) for p in (points, (points - 3.0) * 4.0))
    assert all(np.abs(one[name] - other[name]).max() <= 1 for name in one)
    flat = drawn(views.cloud(points * [1.0, 0.5, 1.0], LABELS, **TEXT))
    assert np.ptp(flat["near"][:, 1]) == pytest.approx(np.ptp(one["near"][:, 1]) / 2, abs=2)


def test_ends_of_the_axes_are_those_of_the_points():
    axes = data(views.cloud([[-1.5, 0, 2], [3.25, 0, 4]], "ab", axes=("x", "y", "z"), **TEXT))["axes"]
    assert [axis["name"] for axis in axes] == ["x", "y", "z"]
    assert [axis["ends"] for axis in axes] == [["−1.5", "3.25"], ["0", "0"], ["2", "4"]]


def test_one_point_is_a_cloud_too():
    assert drawn(views.cloud([[1.0, 2.0, 3.0]], ["one"], **TEXT))["one"].tolist() == [[0, 0, 0]]


def test_numbers_are_sorted_and_tensors_read():
    points = torch.randn(30, 3)
    labels = torch.arange(30) % 12
    views_ = [views.cloud(points, labels, **TEXT), views.cloud(points.numpy(), [int(i) for i in labels], **TEXT)]
    assert html(views_[0]) == html(views_[1])
    assert list(drawn(views_[0])) == [str(i) for i in range(12)]


def test_the_same_cloud_is_the_same_output(points):
    one, other = (views.cloud(points, LABELS, **TEXT) for _ in range(2))
    assert one.png == other.png and html(one) == html(other)


def test_no_two_groups_look_alike():
    labels = list(range(49))
    groups = data(views.cloud(torch.randn(49, 3), labels, **TEXT))["groups"]
    assert len({(group["colour"], group["shape"]) for group in groups}) == 49
    assert len({group["shape"] for group in groups[:7]}) == len({group["colour"] for group in groups[:7]}) == 7


def test_large_clouds_are_thinned_by_the_same_share_and_say_so():
    labels = ["large"] * 8000 + ["small"] * 1999 + ["one"]
    view = views.cloud(np.random.default_rng(1).normal(size=(10_000, 3)), labels, unit="u", **TEXT)
    counts = {name: len(points) for name, points in drawn(view).items()}
    assert counts == {"large": 2400, "small": 599, "one": 1}
    assert data(view)["note"] == "Axes in u, 3000 of 10000 points"


def test_the_element_is_light_at_its_largest():
    points = np.random.default_rng(1).normal(size=(module.LIMIT, 3))
    assert len(html(views.cloud(points, [i % 7 for i in range(module.LIMIT)], **TEXT))) < 150_000


def test_labels_and_titles_are_text_and_never_markup(points):
    labels = [EVIL, "$a_{b$", "c"] * 20
    view = views.cloud(points, labels, title=EVIL, alt=f"words that hold {EVIL} among them", axes=(EVIL, "y", "z"))
    soup = BeautifulSoup(html(view), "html.parser")
    assert len(soup.find_all("script")) == 2 and not soup.find("b")
    assert list(drawn(view)) == labels[:3] and data(view)["title"] == EVIL == data(view)["axes"][0]["name"]


def test_the_script_fetches_nothing_and_makes_no_code_or_markup_from_text(points):
    text = html(views.cloud(points, LABELS, **TEXT))
    assert not [
        word for word in ("http", "//cdn", "fetch(", "import(", "eval", "Function(", "innerHTML") if word in text
    ]


def test_every_file_of_the_package_that_is_not_python_is_shipped():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
    shipped = patterns["tool"]["setuptools"]["package-data"]["th_utils"]
    package = ROOT / "th_utils"
    files = [p for p in package.rglob("*") if p.is_file() and p.suffix != ".py" and "__pycache__" not in p.parts]
    assert package / "static" / "cloud.js" in files
    assert not [path for path in files if not any(path in package.glob(pattern) for pattern in shipped)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": np.zeros((2, 2))}, r"points must be \[n, 3\].*\(2, 2\)"),
        ({"points": np.zeros((0, 3)), "groups": []}, "points must be .* at least one row"),
        ({"points": np.zeros(3)}, "points must be"),
        ({"points": [[0, 0, 0], [0, float("nan"), 0]]}, "points holds NaN .* row 1"),
        ({"points": [[float("inf"), 0, 0], [0, 0, 0]]}, "points holds NaN or infinite .* row 0"),
        ({"groups": ["a"]}, "groups must hold one label per point: 2 points, 1 labels"),
        ({"groups": ["a", " "]}, "groups holds an empty label"),
        ({"axes": ("x", "y")}, "axes must be three names"),
        ({"points": np.zeros((50, 3)), "groups": list(range(50))}, "groups holds 50 different labels, at most 49"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        views.cloud(**{"points": np.eye(3)[:2], "groups": ["a", "b"], **TEXT} | change)


# --- in a browser ---

AXES = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]) * 10.0
GROUPS = ["right", "left", "back", "front", "up", "down"]
# Mean position of a colour on the canvas, in CSS pixels from its middle, rightwards and upwards; null where it is not.
PLACE = """(canvas, colour) => {
    const wanted = [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));
    const { width, height } = canvas;
    const copy = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, width, height);
    const found = [];
    for (let i = 0; i < data.length; i += 4)
        if (data[i + 3] > 90 && wanted.every((value, c) => Math.abs(data[i + c] - value) < 6)) found.push(i / 4);
    const mean = list => list.reduce((a, b) => a + b, 0) / list.length * canvas.clientWidth / width;
    if (!found.length) return null;
    return [mean(found.map(i => i % width - width / 2)), mean(found.map(i => height / 2 - Math.floor(i / width)))];
}"""


@pytest.fixture(scope="module")
def browser():
    with headless() as browser:
        yield browser


def page_of(*elements: str, style: str = "") -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf8"><body style="{style}">{"".join(elements)}</body></html>'
    )


def opened(browser, content: str, width: int = 700, **options):
    """A page with the network cut, and the list of what went wrong on it."""
    trouble: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 800}, **options)
    tab = context.new_page()
    context.route("**/*", lambda route: (trouble.append(route.request.url), route.abort()))
    tab.on("console", lambda entry: trouble.append(f"console: {entry.text}"))
    tab.on("pageerror", lambda error: trouble.append(f"script: {error}"))
    tab.set_content(content)
    return tab, trouble


@pytest.fixture(scope="module")
def live(browser):
    tab, trouble = opened(browser, page_of(html(views.cloud(AXES, GROUPS, **TEXT))))
    yield tab, tab.locator("canvas.th-space")
    assert not trouble
    tab.context.close()


@pytest.fixture
def canvas(live):
    tab, canvas = live
    canvas.focus()
    tab.keyboard.press("0")
    settle(tab)
    return canvas


def settle(tab):
    """Drawing waits for the next frame."""
    tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def press(canvas, *keys: str):
    for key in keys:
        canvas.press(key)
    settle(canvas.page)


def camera(canvas) -> tuple[float, ...]:
    return tuple(float(canvas.get_attribute(f"data-{name}")) for name in ("yaw", "pitch", "zoom"))


def places(canvas) -> dict[str, list[float] | None]:
    return {name: canvas.evaluate(PLACE, views.COLOURS[i]) for i, name in enumerate(GROUPS)}


def test_the_live_cloud_replaces_the_picture_and_keeps_its_words(live, canvas):
    assert canvas.get_attribute("role") == "img" and canvas.get_attribute("aria-label") == TEXT["alt"]
    assert not live[0].locator("img").is_visible()
    assert camera(canvas) == (module.CAMERA["azim"], module.CAMERA["elev"], 1.0)


def test_seen_from_above_the_axes_lie_where_a_map_has_them(canvas):
    press(canvas, *["ArrowRight"] * 3, *["ArrowDown"] * 8)
    assert camera(canvas)[:2] == (-90, 90)  # and no farther than straight down
    at = places(canvas)
    size = at["right"][0]
    assert size > 100
    for name, place in {"right": (1, 0), "left": (-1, 0), "back": (0, 1), "front": (0, -1), "up": (0, 0)}.items():
        assert at[name] == pytest.approx([size * place[0], size * place[1]], abs=2.5), name


def test_dragging_moves_what_is_in_front_along_with_the_pointer(canvas):
    before = places(canvas)
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse = canvas.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 40, y + 20, steps=4)
    mouse.up()
    mouse.move(x, y)
    settle(canvas.page)
    assert camera(canvas) == (-80, 30, 1)
    assert places(canvas)["front"][0] > before["front"][0] + 20


def test_keys_zoom_and_reset(canvas):
    before = places(canvas)
    press(canvas, "+", "ArrowLeft")
    assert camera(canvas) == (-50, 20, 1.25)
    press(canvas, "-", "ArrowRight")
    assert camera(canvas) == (-60, 20, 1) and places(canvas) == before
    press(canvas, "+")
    assert places(canvas)["up"][1] > before["up"][1] * 1.2


def test_every_key_has_a_button(canvas):
    for name in ("Turn left", "Tilt up", "Zoom in"):
        canvas.page.get_by_role("button", name=name).click()
    settle(canvas.page)
    assert camera(canvas) == (-50, 10, 1.25)


def test_groups_are_hidden_and_shown_by_keyboard(canvas):
    button = canvas.page.get_by_role("button", name="left (1)", exact=True)
    before = places(canvas)
    button.press("Enter")
    settle(canvas.page)
    assert button.get_attribute("aria-pressed") == "false" and canvas.get_attribute("data-points") == "5"
    hidden = places(canvas)
    assert hidden["left"] is None and {**hidden, "left": before["left"]} == before
    button.press("Space")
    settle(canvas.page)
    assert button.get_attribute("aria-pressed") == "true" and places(canvas) == before


def test_several_on_a_phone_in_the_dark_with_hostile_labels(browser, points):
    """All come alive, the page does not get wider, ink follows the theme and labels stay text."""
    elements = [html(views.cloud(points, [EVIL, "b" * 90, "c"] * 20, **TEXT)), html(views.cloud(AXES, GROUPS, **TEXT))]
    tab, trouble = opened(browser, page_of(*elements, style="background: #121212; color: #ddd"), width=360)
    assert tab.locator("canvas.th-space").count() == 2 and tab.locator("figure[data-theme-dark]").count() == 2
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.get_by_role("button", name=f"{EVIL} (20)", exact=True).count() == 1
    assert tab.evaluate("window.harm") is None
    colours = "figure => [getComputedStyle(figure).color, getComputedStyle(figure).backgroundColor]"
    figure = tab.locator("figure").first
    assert figure.evaluate(colours) == ["rgb(238, 238, 238)", "rgb(27, 27, 27)"]
    tab.evaluate("document.body.style.color = '#111'")
    settle(tab)
    settle(tab)
    assert figure.evaluate(colours) == ["rgb(26, 26, 26)", "rgb(255, 255, 255)"]
    assert not trouble
    tab.context.close()


def test_without_scripts_the_picture_is_there(browser):
    tab, trouble = opened(browser, page_of(html(views.cloud(AXES, GROUPS, **TEXT))), java_script_enabled=False)
    assert tab.get_by_role("img", name=TEXT["alt"]).is_visible() and not trouble
    tab.context.close()
