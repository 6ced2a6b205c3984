"""The playground: what its page computes is the model's own path, and the browser computes what torch does."""

import json

import pytest
import torch
from bs4 import BeautifulSoup
from test_cloud import browser, html, opened, page_of, settle  # noqa: F401

import th_utils as th
from th_utils.models import parts as bridge
from th_utils.runs.patching import patch_input
from th_utils.views.live import channel_playground as playground

TEXT = {"title": "a finding", "alt": "a playground of attention to two names"}
HEADS = [(2, 1), (3, 0)]


@pytest.fixture(scope="module")
def target(weights):
    return th.channel(weights, th.decompose_ov(weights), [(1, 2, 0), (0, 1, 1)])


@pytest.fixture(scope="module")
def few(model, prompts):
    chosen = prompts.select(slice(0, 3))
    return chosen, th.run(model, chosen)


CHANGES = torch.tensor([[0.7, -0.4], [-2.0, 1.5], [0.0, 3.0]])


def by_patching(model, base, target, head):
    """The independent way: the channel's vector put into the stream that the head's query reads."""
    return patch_input(model, base, head, "q", (CHANGES @ target.directions)[None])


@pytest.mark.parametrize("head", HEADS)
def test_attention_is_that_of_the_patched_query(model, weights, few, target, head):
    prompts, base = few
    parts = playground.reading(model, weights, base, prompts, target, head)
    pattern, _ = by_patching(model, base, target, head)
    torch.testing.assert_close(playground.attention_under(parts, CHANGES), pattern[0], atol=1e-5, rtol=1e-4)
    rest = playground.attention_under(parts, torch.zeros(3, 2))
    torch.testing.assert_close(rest, base.pattern[head[0], :, head[1], 0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_pull_is_what_the_changed_output_adds_to_the_logit_difference(model, weights, few, target, head):
    """With the final norm's scale as it was, as in direct logit attribution."""
    prompts, base = few
    parts = playground.reading(model, weights, base, prompts, target, head)
    pattern, z = by_patching(model, base, target, head)
    added = (z[0] - base.z[head[0], :, 0, head[1]]) @ weights.W_O[head]
    resid = base.at(base.resid)[-1]
    W_U, _ = bridge.unembedding(model)
    towards = (W_U[:, prompts.answer] - W_U[:, prompts.distractor]).T
    center = (lambda x: x - x.mean(-1, keepdim=True)) if bridge.centres(model) else (lambda x: x)
    scale = center(resid).norm(dim=-1) / bridge.final_norm(model, resid).norm(dim=-1)
    expected = (center(added) * towards).sum(-1) / scale
    moved = ((playground.attention_under(parts, CHANGES) - base.pattern[head[0], :, head[1], 0]) * parts["pull"]).sum(
        -1
    )
    torch.testing.assert_close(moved, expected, atol=1e-4, rtol=1e-3)


@pytest.fixture(scope="module")
def view(model, weights, few, target):
    prompts, base = few
    return playground.playground(model, weights, base, prompts, target, HEADS, **TEXT)


def test_dots_are_the_whole_model(model, few, target, view):
    prompts, base = few
    data = json.loads(BeautifulSoup(html(view), "html.parser").find("script", type="application/json").string)
    value = target.coordinates(base.at(base.z))
    value[:, 1] = data["limits"][1] * data["grid"][-2]
    expected = th.logit_difference(model, th.run(model, prompts, hooks=target.set(value, at=prompts.end)), prompts)
    found = torch.tensor([one["whole"][1][-2] for one in data["prompts"]])
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_the_browser_computes_what_torch_does(browser, model, weights, few, target, view):  # noqa: F811
    prompts, base = few
    tab, trouble = opened(browser, page_of(html(view)))
    figure, sliders = tab.locator("figure"), tab.get_by_role("slider")
    natural = target.coordinates(base.at(base.z))
    parts = [playground.reading(model, weights, base, prompts, target, head) for head in HEADS]
    rest = torch.zeros(3, 2)
    lead = th.logit_difference(model, base, prompts)
    tab.get_by_role("button", name="3:").click()
    tab.get_by_role("button", name=th.label(HEADS[1])).click()
    for keys in (["Home"], ["End"] + ["ArrowLeft"] * 7):
        for key in keys:
            sliders.nth(1).press(key)
        settle(tab)
        change = rest.clone()
        change[2, 1] = float(sliders.nth(1).input_value()) - natural[2, 1]
        looks = playground.attention_under(parts[1], change)[2][: int(prompts.end[2]) + 1]
        shown = [float(share) for share in figure.get_attribute("data-attention").split()]
        assert shown == pytest.approx(looks.tolist(), abs=1e-3)
        moved = sum(
            ((playground.attention_under(p, change) - playground.attention_under(p, rest)) * p["pull"])[2].sum()
            for p in parts
        )
        assert float(figure.get_attribute("data-lead")) == pytest.approx(float(lead[2] + moved), abs=1e-3)
    tab.get_by_role("button", name="As the model wrote it").press("Enter")
    settle(tab)
    assert float(figure.get_attribute("data-lead")) == pytest.approx(float(lead[2]), abs=1e-3)
    assert not trouble
    tab.context.close()


def test_it_fits_a_phone_in_the_dark_and_hostile_words_stay_text(browser, tiny, few, target):  # noqa: F811
    model = tiny("tiny-gpt2")
    evil = "</script ><script>window.harm = 1</script>"
    prompts = th.tasks.ioi.generate(model, 2, seed=0)
    base, weights = th.run(model, prompts), th.head_weights(model)
    channel = th.channel(weights, th.decompose_ov(weights), [(1, 2, 0)])
    made = playground.playground(model, weights, base, prompts, channel, [(2, 0)], evil, f"some words {evil} and more",
                                 names=(evil, "$b$"))  # fmt: skip
    page = page_of(html(made), html(made), style="background: #121212; color: #ddd")
    tab, trouble = opened(browser, page, width=360)
    assert tab.locator("figure[data-live][data-theme-dark]").count() == 2
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.evaluate("window.harm") is None and not trouble
    tab.context.close()


def test_what_cannot_be_played_with_is_refused_by_name(model, weights, few, target, refuses):
    prompts, base = few
    make = lambda **other: playground.playground(  # noqa: E731
        **{"model": model, "weights": weights, "base": base, "prompts": prompts, "target": target, "heads": HEADS,
           **TEXT} | other)  # fmt: skip
    with refuses("head 1.0 must be in a layer after the channel's last, 1"):
        make(heads=[(1, 0)])
    for other in ({"heads": []}, {"prompts": prompts.select([0, 1])}):
        with refuses("need 1-3 components, at least one head and 1-8 prompts with their run"):
            make(**other)
    with refuses("base is a run of other prompts"):
        make(base=th.run(model, prompts.select([2, 1, 0])))
    with refuses("heads must differ"):
        make(heads=[HEADS[0], HEADS[0]])
    with refuses("names must be two texts"):
        make(names="ab")
    with refuses("limits must reach the model's own coordinates"):
        make(limits=[1e-6, 1e-6])
    for limits in ([1.0], [1.0, -1.0], [1.0, float("nan")]):
        with refuses("limits must be"):
            make(limits=limits)


def test_a_page_that_would_compute_something_else_is_not_shown(model, weights, few, target, monkeypatch):
    prompts, base = few
    right = playground.reading
    monkeypatch.setattr(playground, "reading", lambda *given: (r := right(*given)) | {"kappa": 1.5 * r["kappa"]})
    with pytest.raises(RuntimeError, match="from the model's"):
        playground.playground(model, weights, base, prompts, target, HEADS, **TEXT)
