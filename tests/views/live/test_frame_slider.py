"""The slider over pictures: it holds those it was given and goes through them by keyboard."""

import base64

import pytest
from pages import data, html

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
