"""The dial of an edit: a picture without a kernel, sliders with one, and both from the same measurements."""

import os

import pytest
from pages import press

import th_utils as th

TEXT = ("a finding", "bars for some settings of a dial")
SETTINGS = [{"mover": 1.0, "fixed": 2.0}, {"mover": 3.0, "fixed": 2.0}, {"mover": -1.0, "fixed": 2.0}]


def numbers(setting):
    return {"accuracy": setting["mover"] / 4, "loss": th.Estimate(setting["fixed"], 1.0, 3.0)}


def test_for_the_book_every_setting_is_measured_once(monkeypatch):
    monkeypatch.setenv("TH_STATIC", "1")
    measured = []
    view = th.live.edit_dial(SETTINGS, lambda setting: measured.append(setting) or numbers(setting), *TEXT)
    assert isinstance(view, th.views.View) and measured == SETTINGS


def test_in_the_page_the_dials_turn_between_measured_settings(show, monkeypatch):
    monkeypatch.setenv("TH_STATIC", "1")
    corners = [{"b": float(b), "a": float(a)} for b, a in ((0, 4), (0, 0), (1, 0), (1, 4))]
    gain = lambda one: {"gain": th.Estimate(10 * one["b"] + one["a"], -1.0, 20.0), "cost": -one["a"]}  # noqa: E731
    tab = show(th.live.edit_dial(corners, gain, *TEXT, stops=5))
    figure, sliders = tab.locator("figure"), tab.get_by_role("slider")
    for presses, b, a in (([], 0, 4), ([(0, "End"), (1, "ArrowLeft")], 1, 3), ([(0, "Home"), (1, "Home")], 0, 0)):
        for slider, key in presses:
            press(sliders.nth(slider), key)
        assert figure.get_attribute("data-state").split() == [f"{10 * b + a}", f"{-a}"]
        assert tab.get_by_role("cell", name=f"{10 * b + a} [−1, 20]").last.is_visible()


def test_in_a_kernel_there_is_a_slider_for_every_scale_that_differs(monkeypatch, drawn):
    ipywidgets = pytest.importorskip("ipywidgets")
    assert ipywidgets.__version__.startswith(os.environ.get("TH_IPYWIDGETS", "8.")), "see test_ipywidgets.py"
    monkeypatch.delenv("TH_STATIC", raising=False)
    measured = []
    widget = th.live.edit_dial(SETTINGS, lambda setting: measured.append(setting) or numbers(setting), *TEXT)
    (slider,) = [child for child in widget.children if hasattr(child, "min")]
    assert (slider.description, slider.min, slider.max, slider.value) == ("mover", -1.0, 3.0, 1.0)
    assert isinstance(widget.f(mover=2.0), th.views.View)
    assert measured == [SETTINGS[0], {"mover": 2.0, "fixed": 2.0}]
    assert [bar.get_width() for bar in drawn[-1].axes[0].patches] == [0.25, 0.5]  # the start, and now
