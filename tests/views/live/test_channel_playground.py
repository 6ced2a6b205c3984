"""The playground: what it says of the whole model is what torch finds, at the settings it holds and in between."""

import base64
import re

import numpy as np
import pytest
import torch
from pages import data, settle

import th_utils as th
from th_utils.views.live.channel_playground import GRID, channel_playground

TEXT = {"title": "a finding", "alt": "a playground of attention to two names"}
HEADS = [(2, 1), (3, 0)]
N = len(GRID)


@pytest.fixture(scope="module")
def target(weights):
    return th.channel(weights, [(1, 2, 0), (0, 1, 1)])


@pytest.fixture(scope="module")
def base(model, prompts):
    return th.run(model, prompts.select(slice(0, 3)))


@pytest.fixture(scope="module")
def others(model, prompts):
    return th.run(model, prompts)


@pytest.fixture(scope="module")
def view(model, base, target, others):
    return channel_playground(model, base, target, HEADS, **TEXT, others=others)


def whole(model, base, target, i, value):
    """The independent way: a forward pass over all tokens, with the coordinate set at END."""
    values = target.coordinates(base)
    values[:, i] = value
    return th.run(model, base.prompts, hooks=target.set(values, at=base.end))


@pytest.mark.parametrize("i", [0, 1])
def test_every_setting_of_every_prompt_is_the_whole_model(model, base, target, view, i):
    shipped = data(view)
    for g, step in enumerate(shipped["grid"]):
        run = whole(model, base, target, i, step * shipped["axes"][i]["limit"])
        found = torch.tensor([one["curves"][i]["whole"][g] for one in shipped["prompts"]])
        torch.testing.assert_close(found, th.logit_difference(model, run), atol=1e-3, rtol=1e-3)
        for p, prompt in enumerate(shipped["prompts"]):
            size = len(prompt["tokens"])
            looks = np.frombuffer(base64.b64decode(prompt["curves"][i]["looks"]), np.uint8).reshape(len(HEADS), N, size)
            wanted = torch.stack([run.at().pattern[head][p, :size] for head in HEADS])
            np.testing.assert_allclose(looks[:, g] / shipped["steps"], wanted, atol=0.5 / shipped["steps"] + 1e-4)


def test_these_heads_alone_move_the_answer_by_what_their_queries_change(model, weights, base, target, view):
    """By path patching: only the queries hear of it, and the outputs reach the logits directly."""
    shipped, i, g = data(view), 0, 5
    change = shipped["grid"][g] * shipped["axes"][i]["limit"] - target.coordinates(base)[:, i]
    before = th.direct_logit_attribution(model, base).heads
    expected = th.logit_difference(model, base)
    W_U, _ = th.parts.unembedding(model)
    resid, norm = base.at().resid[-1], th.laws.final_law(model)
    towards = (W_U[:, base.prompts.answer] - W_U[:, base.prompts.distractor]).T
    scale = norm.centred(resid).norm(dim=-1) / th.laws.final_norm(model, resid).norm(dim=-1)
    for head in HEADS:
        added = (change[:, None] * target.directions[i])[None]
        found = th.runs.patching.patch_input(model, base, th.Edge(head, "q"), added)
        write = (found.z[0] - found.clean_z) @ weights.W_O[head]
        expected = expected + (norm.centred(write) * towards).sum(-1) / scale
    assert before.shape[:2] == (weights.n_layers, weights.n_heads)
    alone = torch.tensor([one["curves"][i]["alone"][g] for one in shipped["prompts"]])
    torch.testing.assert_close(alone, expected, atol=1e-3, rtol=1e-3)


def test_bands_and_hatches_are_those_of_unedited_prompts(others, target, view):
    shipped, values = data(view), target.coordinates(others)
    first = (others.prompts.at("IO") < others.prompts.at("S1")).numpy()
    assert shipped["count"] == len(others)
    for axis, known in zip(shipped["axes"], values.T.numpy(), strict=True):
        assert axis["known"] == pytest.approx([known.min(), known.max()], rel=1e-4)
        assert axis["limit"] == pytest.approx(1.3 * np.abs(known).max(), rel=1e-4)
        for (low, _, high), rows in zip(axis["usual"], (first, ~first), strict=True):
            inside = (known[rows] >= low) & (known[rows] <= high)
            assert axis["known"][0] <= low and high <= axis["known"][1] and inside.mean() >= 0.9 - 2 / rows.sum()


def test_names_are_outlined_where_they_were_first_said(view):
    for prompt in data(view)["prompts"]:
        tokens = [token.strip() for token in prompt["tokens"]]
        assert prompt["marks"] == [tokens.index(word) for word in prompt["words"]]


EVERY_SENTENCE = """async ([figure, shares]) => {
  const slider = figure.querySelector("input[type=range]");
  const found = [];
  for (const share of shares) {
    slider.value = share * Number(slider.max);
    slider.dispatchEvent(new Event("input"));
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    const { value, attention } = figure.dataset;
    found.push([value, attention.split(" "), figure.querySelector(".th-sentence").textContent]);
  }
  return found;
}"""


def test_no_sentence_disagrees_with_a_forward_pass(show, model, base, target, view):
    """Of every prompt, at every setting the model was run at and half-way to the next."""
    tab, shipped, said = show(view), data(view), 0
    shares = np.linspace(-1, 1, 2 * N - 1).tolist()
    figure = tab.locator("figure").element_handle()
    groups = [tab.get_by_role("group", name=name).get_by_role("button") for name in ("Sentence", "Message")]
    for i, axis in enumerate(shipped["axes"]):
        side = -1 if axis["turned"] else 1
        runs = [whole(model, base, target, i, side * share * axis["limit"]) for share in shares]
        leads = [th.logit_difference(model, run) for run in runs]
        for p, prompt in enumerate(shipped["prompts"]):
            groups[0].nth(p).click()
            groups[1].nth(i).click()
            found = tab.evaluate(EVERY_SENTENCE, [figure, shares])
            for share, run, lead, (value, attention, sentence) in zip(shares, runs, leads, found, strict=True):
                assert float(value) == pytest.approx(side * share * axis["limit"], abs=1e-3)
                told = re.search(r"whole model (?:now |still )?prefers (.*)\.$", sentence)
                assert bool(told) != sentence.endswith("For the whole model the two are about even.")
                if told:
                    assert told[1] == prompt["words"][int(lead[p] < 0)], (share, float(lead[p]), sentence)
                said += bool(told)
                looks = run.at().pattern[HEADS[0]][p, : len(prompt["tokens"])]
                np.testing.assert_allclose(np.array(attention, float), looks, atol=1e-2)
    assert said, "some sentence names a name"


def test_the_left_end_is_the_name_that_stands_first(view):
    """Where all prompts turn alike; elsewhere the ends make no promise."""
    for i, axis in enumerate(data(view)["axes"]):
        gains = []
        for prompt in data(view)["prompts"]:
            text = base64.b64decode(prompt["curves"][i]["looks"])
            looks = np.frombuffer(text, np.uint8).reshape(len(HEADS), N, -1).astype(float)
            gap = (looks[..., min(prompt["marks"])] - looks[..., max(prompt["marks"])]).mean(0)
            gains.append((gap[0] - gap[-1]) * (-1 if axis["turned"] else 1))
        assert sum(gains) > -len(gains) and (axis["ends"] is None or min(gains) > -1)


def test_the_curve_opens_and_its_ring_can_be_dragged(show, view, base, target):
    tab = show(view)
    figure, curve = tab.locator("figure"), tab.locator(".th-curve")
    assert not curve.is_visible()
    tab.get_by_role("button", name="Curve").press("Enter")
    settle(tab)
    box = curve.bounding_box()
    tab.mouse.move(box["x"] + 20, box["y"] + 80)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] - 1, box["y"] + 80)
    tab.mouse.up()
    settle(tab)
    axis = data(view)["axes"][0]
    end = axis["limit"] * (-1 if axis["turned"] else 1)
    assert float(figure.get_attribute("data-value")) == pytest.approx(end, abs=1e-3)
    for text in ("these heads alone", "the whole model"):
        assert curve.get_by_text(text).is_visible()
    tab.get_by_role("button", name="Its own").press("Enter")
    settle(tab)
    own = float(target.coordinates(base)[0, 0])
    assert float(figure.get_attribute("data-value")) == pytest.approx(own, abs=1e-4)


def test_it_can_be_gone_through_step_by_step(show, view, base, target):
    """Read, tell, look, answer, turn: a part is seen from its step on, and the numbers are the figure's own."""
    tab, shipped = show(view), data(view)
    figure, guide = tab.locator("figure"), tab.locator("p[aria-live]").first
    right, wrong = shipped["prompts"][0]["words"]
    head = shipped["axes"][0]["name"].rsplit(".", 1)[0]
    said = (f"{right} is named once, {wrong} is named twice", f"Head {head} tells", f"Head {th.label(HEADS[0])} looks",
            "The whole model answers", "the opposite message")  # fmt: skip
    seen = (tab.locator(".th-dial"), tab.locator("g.th-looks").first, tab.locator(".th-sentence"))
    for step, words in enumerate(said):
        tab.locator("button", has_text="▸").first.press("Enter")
        settle(tab)
        assert words in guide.inner_text() and guide.inner_text().startswith(f"{step + 1} of 5")
        assert [one.is_visible() for one in seen] == [step >= first for first in (1, 2, 3)]
        if step == 2:
            looks = [float(share) for share in figure.get_attribute("data-attention").split()]
            for name, mark in zip((right, wrong), shipped["prompts"][0]["marks"], strict=True):
                assert f"{name} {looks[mark]:.0%}" in guide.inner_text()
    own = float(target.coordinates(base)[0, 0])
    assert float(figure.get_attribute("data-value")) != pytest.approx(own, abs=1e-3)
    tab.get_by_role("button", name="Show all").press("Enter")
    settle(tab)
    assert not guide.inner_text() and float(figure.get_attribute("data-value")) == pytest.approx(own, abs=1e-4)


@pytest.mark.parametrize(("width", "most"), [(790, 420), (358, 600)])
def test_it_fits_a_projector_and_a_phone(show, model, weights, base, width, most):
    """One message, in the widths that a page of the book leaves on screens of 853 and of 390 pixels."""
    view = channel_playground(model, base, th.channel(weights, [(1, 2, 0)]), HEADS, **TEXT)
    assert show(view, width=width + 16).locator("figure").bounding_box()["height"] <= most


def test_what_cannot_be_played_with_is_refused(model, base, target, refuses):
    with refuses("head 1.0 must be in a layer after the channel's last, 1"):
        channel_playground(model, base, target, [(1, 0)], **TEXT)
