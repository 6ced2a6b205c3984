"""The slider over pictures: it holds those it was given, harms no page, and moves in a real browser."""

import base64
import json

import pytest
from bs4 import BeautifulSoup
from chromium import headless

from th_utils.views import charts as views
from th_utils.views.live import frame_slider as module

EVIL = "</script ><script>window.harm = 1</script><!--<b>&amp;"


def picture(value: float, name: str = "a"):
    return views.bars({name: value}, "a finding", f"one bar that is {value} long, drawn", "unit")


@pytest.fixture(scope="module")
def frames():
    return {"step 1": picture(1.0), "step 20": picture(2.0), EVIL: picture(3.0)}


def html(view) -> str:
    return view._repr_mimebundle_()["text/html"]


def data(view) -> dict:
    return json.loads(BeautifulSoup(html(view), "html.parser").find("script", type="application/json").string)


def test_the_element_holds_every_picture_with_its_words(frames):
    found = data(views.scrub(frames, "training"))["frames"]
    assert [one["name"] for one in found] == list(frames)
    assert [one["alt"] for one in found] == [view.alt for view in frames.values()]
    assert [base64.b64decode(one["png"]) for one in found] == [view.png for view in frames.values()]


def test_without_scripts_the_start_is_seen_by_default_the_last(frames):
    assert views.scrub(frames, "training").png == frames[EVIL].png
    view = views.scrub(frames, "training", start="step 1")
    assert view.png == frames["step 1"].png and data(view)["start"] == 0
    image = BeautifulSoup(html(view), "html.parser").find("img")
    assert image["alt"] == frames["step 1"].alt


def test_the_frames_themselves_stay_plain_pictures(frames):
    before = html(frames["step 1"])
    views.scrub(frames, "training", start="step 1")
    assert html(frames["step 1"]) == before and "<script" not in before


def test_names_are_text_and_the_script_fetches_nothing(frames):
    text = html(views.scrub(frames, EVIL))
    assert len(BeautifulSoup(text, "html.parser").find_all("script")) == 2
    assert not [word for word in ("http", "fetch(", "import(", "eval", "innerHTML") if word in text]


def test_what_cannot_be_shown_is_refused_by_name(frames, monkeypatch):
    one = frames["step 1"]
    for bad, arguments, message in (
        ({"a": one}, {}, "2 to 12 pictures, got 1"),
        ({str(i): one for i in range(13)}, {}, "got 13"),
        ({" ": one, "b": one}, {}, "need a name"),
        (frames, {"label": " "}, "need a name"),
        (frames, {"start": "step 3"}, "start must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            views.scrub(bad, **{"label": "training"} | arguments)
    monkeypatch.setattr(module, "WEIGHT", 1000)
    with pytest.raises(ValueError, match="at most 1: fewer"):
        views.scrub(frames, "training")


def test_the_slider_goes_through_the_pictures_by_keyboard(frames):
    page = f'<!doctype html><html lang="en"><meta charset="utf8"><body>{html(views.scrub(frames, "training"))}</body>'
    with headless() as browser:
        tab = browser.new_context(viewport={"width": 360, "height": 800}).new_page()
        trouble: list[str] = []
        tab.route("**/*", lambda route: (trouble.append(route.request.url), route.abort()))
        tab.on("pageerror", lambda error: trouble.append(str(error)))
        tab.on("console", lambda entry: trouble.append(entry.text))
        tab.set_content(page)
        slider = tab.get_by_role("slider", name="training")
        assert slider.get_attribute("aria-valuetext") == EVIL
        slider.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") == "step 20"
        assert tab.get_by_role("img", name=frames["step 20"].alt).is_visible()
        slider.press("Home")
        assert tab.locator("output").inner_text() == "step 1"
        source = tab.locator("img").get_attribute("src")
        assert base64.b64decode(source.split(",")[1]) == frames["step 1"].png
        assert tab.evaluate("window.harm") is None and tab.evaluate("document.documentElement.scrollWidth") <= 360
        assert not trouble
