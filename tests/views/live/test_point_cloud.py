"""The cloud of points: the page holds the points it was given, and turns them as a camera would."""

import numpy as np
import pytest
import torch
from pages import data, html, press, settle

import th_utils as th
from th_utils.views import COLOURS
from th_utils.views.live.point_cloud import CAMERA, LIMIT, STEPS

TEXT = {"title": "a finding", "alt": "points of some groups in space"}
LABELS = [["near", "far", "else"][i % 3] for i in range(60)]


def shipped(*args, **options) -> dict[str, np.ndarray]:
    groups = data(th.live.point_cloud(*args, **TEXT, **options))["groups"]
    return {group["name"]: np.array(group["points"]).reshape(-1, 3) for group in groups}


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(0).normal(size=(60, 3)) * [5.0, 2.0, 0.1] + [100.0, 0.0, -7.0]


def test_the_page_holds_the_points_to_three_digits_of_the_longest_side(points):
    found = shipped(points, LABELS)
    middle, half = (points.max(0) + points.min(0)) / 2, np.ptp(points, axis=0).max() / 2
    assert list(found) == ["near", "far", "else"]
    for i, at in enumerate(found.values()):
        np.testing.assert_allclose(middle + at * half / STEPS, points[i::3], atol=0.5001 * half / STEPS)


def test_only_the_shape_of_the_cloud_counts(points):
    """Moved and scaled as a whole it looks the same; scaled along one axis it does not."""
    one, other = shipped(points, LABELS), shipped((points - 3.0) * 4.0, LABELS)
    assert all(np.abs(one[name] - other[name]).max() <= 1 for name in one)
    flat = shipped(points * [1.0, 0.5, 1.0], LABELS)
    assert np.ptp(flat["near"][:, 1]) == pytest.approx(np.ptp(one["near"][:, 1]) / 2, abs=2)


def test_ends_of_the_axes_are_those_of_the_points():
    axes = data(th.live.point_cloud([[-1.5, 0, 2], [3.25, 0, 4]], "ab", axes=("x", "y", "z"), **TEXT))["axes"]
    assert [axis["name"] for axis in axes] == ["x", "y", "z"]
    assert [axis["ends"] for axis in axes] == [["−1.5", "3.25"], ["0", "0"], ["2", "4"]]
    assert shipped([[1.0, 2.0, 3.0]], ["one"])["one"].tolist() == [[0, 0, 0]], "one point is a cloud too"


def test_numbers_are_sorted_and_tensors_read():
    points, labels = torch.randn(30, 3), torch.arange(30) % 12
    as_tensors, as_arrays = shipped(points, labels), shipped(points.numpy(), [int(i) for i in labels])
    assert list(as_tensors) == list(as_arrays) == [str(i) for i in range(12)]
    assert all((as_tensors[name] == as_arrays[name]).all() for name in as_tensors)


def test_no_two_groups_look_alike():
    groups = data(th.live.point_cloud(torch.randn(49, 3), range(49), **TEXT))["groups"]
    assert len({(group["colour"], group["shape"]) for group in groups}) == 49
    assert len({group["shape"] for group in groups[:7]}) == len({group["colour"] for group in groups[:7]}) == 7


def test_large_clouds_are_thinned_by_the_same_share_and_say_so():
    labels = ["large"] * 8000 + ["small"] * 1999 + ["one"]
    view = th.live.point_cloud(np.random.default_rng(1).normal(size=(10_000, 3)), labels, unit="u", **TEXT)
    counts = {group["name"]: len(group["points"]) // 3 for group in data(view)["groups"]}
    assert counts == {"large": 2400, "small": 599, "one": 1} and sum(counts.values()) == LIMIT
    assert data(view)["note"] == "Axes in u, 3000 of 10000 points" and len(html(view)) < 150_000


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


@pytest.fixture
def canvas(show):
    return show(th.live.point_cloud(AXES, GROUPS, **TEXT)).locator("canvas.th-space")


def camera(canvas) -> tuple[float, ...]:
    return tuple(float(canvas.get_attribute(f"data-{name}")) for name in ("yaw", "pitch", "zoom"))


def places(canvas) -> dict[str, list[float] | None]:
    return {name: canvas.evaluate(PLACE, COLOURS[i]) for i, name in enumerate(GROUPS)}


def test_the_live_cloud_replaces_the_picture_and_keeps_its_words(canvas):
    assert canvas.get_attribute("role") == "img" and canvas.get_attribute("aria-label") == TEXT["alt"]
    assert not canvas.page.locator("img").is_visible()
    assert camera(canvas) == (CAMERA["azim"], CAMERA["elev"], 1.0)


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


def test_keys_and_buttons_turn_zoom_and_reset(canvas):
    before = places(canvas)
    press(canvas, "+", "ArrowLeft")
    assert camera(canvas) == (-50, 20, 1.25) and places(canvas)["up"][1] > before["up"][1] * 1.2
    press(canvas, "-", "ArrowRight")
    assert camera(canvas) == (-60, 20, 1) and places(canvas) == before
    for name in ("Turn left", "Tilt up", "Zoom in"):
        canvas.page.get_by_role("button", name=name).click()
    settle(canvas.page)
    assert camera(canvas) == (-50, 10, 1.25)
    press(canvas, "0")
    assert camera(canvas) == (-60, 20, 1)


def test_groups_are_hidden_and_shown_by_keyboard(canvas):
    button = canvas.page.get_by_role("button", name="left (1)", exact=True)
    before = places(canvas)
    press(button, "Enter")
    assert button.get_attribute("aria-pressed") == "false" and canvas.get_attribute("data-points") == "5"
    hidden = places(canvas)
    assert hidden["left"] is None and {**hidden, "left": before["left"]} == before
    press(button, "Space")
    assert button.get_attribute("aria-pressed") == "true" and places(canvas) == before
