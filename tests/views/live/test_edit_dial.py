"""Widgets: a picture without a kernel, a live object with one, and both from the same numbers."""

import os

import pytest
import torch
from test_cloud import browser, html, opened, page_of, settle  # noqa: F401

import th_utils as th
from th_utils.tasks import ioi


@pytest.fixture(scope="module")
def setting():
    model = th.load_model("tiny-llama")
    weights = th.head_weights(model)
    prompts = ioi.generate(model, 4, seed=0)
    return model, th.run(model, prompts, "all"), th.channel(weights, th.decompose_ov(weights), [(1, 0, 0)])


TEXT = ("a title", "an alt text that says what is seen")


def test_tokens_read_back_as_the_prompt(setting):
    model, base, _ = setting
    words = th.token_strings(model, base.tokens[1, : int(base.end[1]) + 1])
    text = ioi.generate(model, 4, seed=0).text[1]
    assert "".join(words).removeprefix("BOS") == text
    assert torch.equal(base.tokens[1, 0], torch.tensor(model.tokenizer.bos_token_id))


SETTINGS = [{"mover": 1.0, "fixed": 2.0}, {"mover": 3.0, "fixed": 2.0}, {"mover": -1.0, "fixed": 2.0}]


def numbers(setting):
    return {"accuracy": setting["mover"] / 4, "loss": th.Estimate(setting["fixed"], 1.0, 3.0)}


def test_edit_dial_measures_every_setting_for_the_book(monkeypatch):
    monkeypatch.setenv("TH_STATIC", "1")
    asked = []
    view = th.live.edit_dial(SETTINGS, lambda setting: asked.append(setting) or numbers(setting), *TEXT)
    assert isinstance(view, th.View) and asked == SETTINGS


def test_edit_dial_turns_in_the_page_between_measured_settings(browser, monkeypatch):  # noqa: F811
    monkeypatch.setenv("TH_STATIC", "1")
    corners = [{"b": float(b), "<i>a": float(a)} for b, a in ((0, 0), (0, 4), (1, 0), (1, 4))]

    def measure(setting):
        return {"gain": th.Estimate(10 * setting["b"] + setting["<i>a"], -1.0, 20.0), "cost": -setting["<i>a"]}

    view = th.live.edit_dial(corners, measure, *TEXT, stops=5)
    tab, trouble = opened(browser, page_of(html(view), style="background: #121212; color: #ddd"), width=360)
    figure, sliders = tab.locator("figure[data-live][data-theme-dark]"), tab.get_by_role("slider")
    for presses, b, a in (([], 0, 0), ([(0, "End"), (1, "ArrowRight")], 1, 1), ([(0, "Home"), (1, "End")], 0, 4)):
        for slider, key in presses:
            sliders.nth(slider).press(key)
        settle(tab)
        assert figure.get_attribute("data-state").split() == [f"{10 * b + a}", f"{-a}"]
        assert tab.get_by_role("cell", name=f"{10 * b + a} [−1, 20]").last.is_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert not trouble
    tab.context.close()


def test_edit_dial_has_a_slider_for_every_scale_that_differs(monkeypatch):
    ipywidgets = pytest.importorskip("ipywidgets")
    assert ipywidgets.__version__.startswith(os.environ.get("TH_IPYWIDGETS", "8.")), "see test_ipywidgets.py"
    monkeypatch.delenv("TH_STATIC", raising=False)
    asked, drawn = [], []
    compare = th.views.compare
    monkeypatch.setattr(th.views, "compare", lambda states, *text: drawn.append(states) or compare(states, *text))
    widget = th.live.edit_dial(SETTINGS, lambda setting: asked.append(setting) or numbers(setting), *TEXT)
    (slider,) = [child for child in widget.children if hasattr(child, "min")]
    assert (slider.description, slider.min, slider.max, slider.value) == ("mover", -1.0, 3.0, 1.0)
    assert isinstance(widget.f(mover=2.0), th.View)
    assert asked == [SETTINGS[0], {"mover": 2.0, "fixed": 2.0}]
    assert list(drawn[-1].values()) == [numbers(setting) for setting in asked]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([], "at least two"),
        (SETTINGS[:1], "at least two"),
        (SETTINGS[:1] * 2, "at least one scale must differ"),
        ([{"a": 1.0}, {"b": 1.0}], "must have the scales"),
        ([{"a": 1.0}, {"a": float("nan")}], "NaN or infinite"),
    ],
)
def test_edit_dial_refuses_settings_it_cannot_turn(settings, message):
    with pytest.raises(ValueError, match=message):
        th.live.edit_dial(settings, numbers, *TEXT)


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda setting: {}, "same named numbers"),
        (lambda setting: {str(setting["mover"]): 1.0}, "same named numbers"),
        (lambda setting: {"loss": float("inf")}, "NaN or infinite numbers: .*loss"),
        (lambda setting: {"loss": 1.0 if setting["mover"] == 1 else float("nan")}, "mover.*3.0.* holds NaN"),
    ],
)
def test_edit_dial_refuses_measurements_that_are_none(measure, message, monkeypatch):
    monkeypatch.setenv("TH_STATIC", "1")
    with pytest.raises(ValueError, match=message):
        th.live.edit_dial(SETTINGS, measure, *TEXT)
