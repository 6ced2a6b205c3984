"""The playground: what its page computes is the model's own path, and the browser computes what torch does."""

import sys

import pytest
import torch
from pages import data, press, settle

import th_utils as th
from th_utils.runs.patching import patch_input
from th_utils.views.live.channel_playground import attention_under, channel_playground, reading

TEXT = {"title": "a finding", "alt": "a playground of attention to two names"}
HEADS = [(2, 1), (3, 0)]
CHANGES = torch.tensor([[0.7, -0.4], [-2.0, 1.5], [0.0, 3.0]])


@pytest.fixture(scope="module")
def target(weights):
    return th.channel(weights, [(1, 2, 0), (0, 1, 1)])


@pytest.fixture(scope="module")
def base(model, prompts):
    return th.run(model, prompts.select(slice(0, 3)))


@pytest.fixture(scope="module")
def view(model, base, target):
    return channel_playground(model, base, target, HEADS, **TEXT)


def patched(model, base, target, head):
    """The independent way: the channel's vector put into the stream that the head's query reads."""
    return patch_input(model, base, th.Edge(head, "q"), (CHANGES @ target.directions)[None])


@pytest.mark.parametrize("head", HEADS)
def test_attention_is_that_of_the_patched_query(model, base, target, head):
    reads, found = reading(model, base, target, head), patched(model, base, target, head)
    torch.testing.assert_close(attention_under(reads, CHANGES), found.pattern[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(attention_under(reads, 0 * CHANGES), found.clean_pattern, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_pull_is_what_the_changed_output_adds_to_the_logit_difference(model, weights, base, target, head):
    """With the final norm's scale as it was, as in direct logit attribution."""
    reads, found, prompts = reading(model, base, target, head), patched(model, base, target, head), base.prompts
    added = (found.z[0] - found.clean_z) @ weights.W_O[head]
    resid = base.at().resid[-1]
    W_U, _ = th.parts.unembedding(model)
    towards, norm = (W_U[:, prompts.answer] - W_U[:, prompts.distractor]).T, th.laws.final_law(model)
    scale = norm.centred(resid).norm(dim=-1) / th.laws.final_norm(model, resid).norm(dim=-1)
    expected = (norm.centred(added) * towards).sum(-1) / scale
    moved = attention_under(reads, CHANGES) - attention_under(reads, 0 * CHANGES)
    torch.testing.assert_close((moved * reads["pull"]).sum(-1), expected, atol=1e-4, rtol=1e-3)


def test_dots_are_the_whole_model(model, base, target, view):
    shipped, value = data(view), target.coordinates(base)
    value[:, 1] = shipped["limits"][1] * shipped["grid"][-2]
    run = th.run(model, base.prompts, hooks=target.set(value, at=base.end))
    found = torch.tensor([one["whole"][1][-2] for one in shipped["prompts"]])
    torch.testing.assert_close(found, th.logit_difference(model, run), atol=1e-3, rtol=1e-3)


def test_names_are_outlined_where_they_were_first_said(view):
    for prompt in data(view)["prompts"]:
        tokens = [token.strip() for token in prompt["tokens"]]
        assert prompt["marks"] == [tokens.index(word) for word in prompt["words"]]


def test_the_browser_computes_what_torch_does(show, model, base, target, view):
    tab = show(view)
    figure, sliders = tab.locator("figure"), tab.get_by_role("slider")
    reads = [reading(model, base, target, head) for head in HEADS]
    natural, lead, rest = target.coordinates(base), float(th.logit_difference(model, base)[2]), torch.zeros(3, 2)
    tab.get_by_role("button", name="3:").click()
    tab.get_by_role("button", name=th.label(HEADS[1])).click()
    for keys in (["Home"], ["End"] + ["ArrowLeft"] * 7):
        press(sliders.nth(1), *keys)
        change = rest.clone()
        change[2, 1] = float(sliders.nth(1).input_value()) - natural[2, 1]
        looks = attention_under(reads[1], change)[2][: int(base.end[2]) + 1]
        shown = [float(share) for share in figure.get_attribute("data-attention").split()]
        assert shown == pytest.approx(looks.tolist(), abs=1e-3)
        moved = sum(((attention_under(r, change) - attention_under(r, rest)) * r["pull"])[2].sum() for r in reads)
        assert float(figure.get_attribute("data-lead")) == pytest.approx(lead + float(moved), abs=1e-3)
    tab.get_by_role("button", name="As the model wrote it").press("Enter")
    settle(tab)
    assert float(figure.get_attribute("data-lead")) == pytest.approx(lead, abs=1e-3)


def test_what_cannot_be_played_with_is_refused(model, base, target, refuses):
    for change, message in (
        ({"heads": [(1, 0)]}, "head 1.0 must be in a layer after the channel's last, 1"),
        ({"limits": [1e-6, 1e-6]}, "limits must reach the model's own coordinates"),
        ({"limits": [1.0]}, "limits must be"),
    ):
        with refuses(message):
            channel_playground(**{"model": model, "base": base, "target": target, "heads": HEADS} | change, **TEXT)


def test_a_page_that_would_compute_something_else_is_not_shown(model, base, target, monkeypatch):
    module = sys.modules["th_utils.views.live.channel_playground"]
    wrong = lambda *given: (right := reading(*given)) | {"kappa": 1.5 * right["kappa"]}  # noqa: E731
    monkeypatch.setattr(module, "reading", wrong)
    with pytest.raises(RuntimeError, match="from the model's"):
        channel_playground(model, base, target, HEADS, **TEXT)
