"""The slider over pictures: it holds those it was given and goes through them by keyboard."""

import base64

import pytest
from pages import data, html, settle

import th_utils as th


@pytest.fixture(scope="module")
def frames():
    return {
        f"step {step}": th.views.bars({"a": step}, "a finding", f"a bar {step} long", "u") for step in (1.0, 2.0, 3.0)
    }


def test_the_element_holds_every_picture_with_its_words(frames):
    found = data(th.live.frame_slider(frames, "training"))["frames"]
    assert [one["name"] for one in found] == list(frames)
    assert [one["alt"] for one in found] == [view.alt for view in frames.values()]
    assert [base64.b64decode(one["png"]) for one in found] == [view.png for view in frames.values()]


def test_the_start_is_seen_first_by_default_the_last(frames):
    assert th.live.frame_slider(frames, "training").png == frames["step 3.0"].png
    view = th.live.frame_slider(frames, "training", start="step 1.0")
    assert (view.png, view.alt, data(view)["start"]) == (frames["step 1.0"].png, "a bar 1.0 long", 0)
    assert "<script" not in html(frames["step 1.0"]), "the frames themselves stay plain pictures"


def test_the_slider_goes_through_the_pictures_by_keyboard(frames, show):
    tab = show(th.live.frame_slider(frames, "training"))
    slider = tab.get_by_role("slider", name="training")
    assert slider.get_attribute("aria-valuetext") == "step 3.0"
    slider.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext") == "step 2.0"
    assert tab.get_by_role("img", name="a bar 2.0 long").is_visible()
    slider.press("Home")
    assert tab.locator("output").inner_text() == "step 1.0"
    source = tab.locator("img").get_attribute("src")
    assert base64.b64decode(source.split(",")[1]) == frames["step 1.0"].png


def test_it_is_true_to_scale_and_stops_at_the_frames(frames, show):
    view = th.live.frame_slider(frames, "training", start="step 2.0", at=[0, 20, 100], marks={"solved": 50})
    tab = show(view)
    slider = tab.get_by_role("slider", name="training")
    assert slider.get_attribute("aria-valuetext") == "step 2.0" and float(slider.input_value()) == 20
    box, places = slider.bounding_box(), []
    for share, name in ((0.3, "step 2.0"), (0.7, "step 3.0"), (0.05, "step 1.0")):  # the nearest frame
        tab.mouse.click(box["x"] + 8 + share * (box["width"] - 16), box["y"] + box["height"] / 2)
        settle(tab)
        assert slider.get_attribute("aria-valuetext") == name
        places.append(float(slider.input_value()))
    assert places == [20, 100, 0]
    for key, name in (
        ("ArrowRight", "step 2.0"),
        ("End", "step 3.0"),
        ("ArrowRight", "step 3.0"),
        ("ArrowDown", "step 2.0"),
    ):
        slider.press(key)
        assert slider.get_attribute("aria-valuetext") == name
    mark, left, right = (
        tab.locator("svg text").get_by_text(text, exact=True) for text in ("solved", "step 1.0", "step 3.0")
    )
    centre = mark.bounding_box()["x"] + mark.bounding_box()["width"] / 2
    assert centre == pytest.approx(box["x"] + box["width"] / 2, abs=2)
    assert left.bounding_box()["x"] < centre < right.bounding_box()["x"]
