"""Readings, claims and exercises fail when what they say is false, on the right model, with a message that helps."""

import numpy as np
import pytest
import torch

import th_utils as th
from th_utils import notebook
from th_utils.models.registry import DEFAULT
from th_utils.stats import Estimate

nan, inf = float("nan"), float("inf")
HALF = Estimate(0.5, 0.4, 0.6)


@pytest.fixture
def shown(monkeypatch):
    """What was displayed: (Markdown, plain text, metadata), one after the other."""
    found = []

    def display(one, metadata=None):
        data = one._repr_mimebundle_()
        found.append((data["text/markdown"], data["text/plain"], metadata))

    monkeypatch.setattr("IPython.display.display", display)
    return found


# --- read ---


def test_a_reading_is_its_template_filled_in(shown):
    th.read(
        """
        **{writer}** is heard by {readers} through {part}: a gain of {gain:+.1f}, {share} of all,
        in 1/√d = {null:.3f} and $x_{{k}}$.
        """,
        writer=(20, 0), readers=[(23, 0), (23, 7)], part=(20, 0, 1), gain=HALF, share="most", null=0.04167,
    )  # fmt: skip
    text = ("**20.0** is heard by 23.0 and 23.7 through 20.0.1: a gain of +0.5 [+0.4, +0.6], most of all,\n"
            "in 1/√d = 0.042 and $x_{k}$.")  # fmt: skip
    assert shown == [(text, text.replace("**", ""), {})]


@pytest.mark.parametrize("holds", [False, np.bool_(False), torch.tensor(False)])
def test_a_false_reading_stops_the_default_model(shown, monkeypatch, holds):
    monkeypatch.setenv("TH_MODEL", DEFAULT)
    with pytest.raises(th.ClaimFailed, match="does not hold here: the best is 20.0"):
        th.read("the best is {best}", holds=holds, otherwise="it is not", best=(20, 0))
    th.read("the best is {best}", holds=not holds, best=(20, 0))
    assert [one[0] for one in shown] == ["the best is 20.0"]


def test_a_false_reading_is_reported_on_another_model(shown, monkeypatch):
    monkeypatch.setenv("TH_MODEL", "gpt2")
    facts = {"best": (20, 0), "gain": HALF, "movers": ((1, 2), (3, 4)), "share": 0.154459}
    th.read("the best is {best}", holds=True, **facts)
    th.read("the best is {best}", holds=False, **facts)
    th.read("the best is {best}", holds=False, otherwise="{best} is not the best ({gain:.1f})", **facts, name="best")
    assert shown[0][0] == "the best is 20.0"
    assert shown[1][0] == "*Not so on this model.* best 20.0, gain 0.50 [0.40, 0.60], movers 1.2 and 3.4, share 0.1545"
    assert shown[2][0] == "20.0 is not the best (0.5 [0.4, 0.6])"
    assert shown[2][2] == {"scrapbook": {"name": "best", "mime_prefix": ""}}


# --- sentences, tables, heads ---


def test_a_named_sentence_can_be_quoted_on_another_page(shown):
    th.read("The **share** at `END` *is* 0.71 = 2 * 0.355.", name="share")
    assert shown == [("The **share** at `END` *is* 0.71 = 2 * 0.355.", "The share at END is 0.71 = 2 * 0.355.",
                      {"scrapbook": {"name": "share", "mime_prefix": ""}})]  # fmt: skip


def test_html_in_sentences_and_tables_stays_text(shown):
    hostile = "<script>alert(1)</script>"
    th.read("The token {hostile} is `{hostile}`", hostile=hostile)
    th.table([hostile, "a|b"], [[hostile, 1]])
    th.read("{token} and {x} < 3", token=hostile, x=2)
    for markdown, *_ in shown:
        outside = markdown.split("`")[::2]
        assert not any("<script" in part or "</script" in part for part in outside), markdown
    assert r"a\|b" in shown[1][0] and "2 < 3" in shown[2][0]
    with pytest.raises(ValueError, match="every row needs 2 entries"):
        th.table(["a", "b"], [[1, 2], [3]])


# --- claim ---


@pytest.mark.parametrize("value, text", [
    (None, ""), (6.744091033935547, " (6.744)"), (np.float64(0.1234567), " (0.1235)"), (7, " (7)"),
    ("3 of 4", " (3 of 4)"), (HALF, " (0.50 [0.40, 0.60])"),
])  # fmt: skip
def test_a_true_claim_is_printed_with_its_value_on_any_model(tiny, capsys, value, text):
    th.claim(tiny("tiny-gpt2"), "the sky is up", torch.tensor(True), value)
    assert capsys.readouterr().out == f"✓ the sky is up{text}\n"


def test_a_false_claim_stops_the_default_model_only(tiny, capsys, monkeypatch):
    model = tiny("tiny-gpt2")
    th.claim(model, "the sky is down", np.bool_(False), HALF)
    assert capsys.readouterr().out == "– not on this model: the sky is down (0.50 [0.40, 0.60])\n"
    monkeypatch.setattr(notebook, "is_default", lambda model: True)
    with pytest.raises(th.ClaimFailed, match=r"the sky is down \(0.50 \[0.40, 0.60\]\): does not hold"):
        th.claim(model, "the sky is down", False, HALF)


@pytest.mark.parametrize("holds", [[False, False], nan, torch.tensor(nan), 1.0, "no", HALF, torch.ones(2) > 0, None])
def test_what_is_no_truth_value_is_no_claim(tiny, holds):
    """All of these are true to Python, or look at more than one thing."""
    for call in (lambda: th.claim(tiny("tiny-gpt2"), "the sky is up", holds),
                 lambda: th.read("The sky is up.", holds="no" if holds is None else holds)):  # fmt: skip
        with pytest.raises((TypeError, ValueError)):
            call()


# --- identity ---


def test_an_identity_holds_to_its_tolerance_of_the_largest_number(capsys):
    for left, right in [(1.0, 1.00001), (torch.tensor(2.0), 2.0), ([1.0, 2.0], np.array([1.0, 2.0])),
                        (torch.tensor([1.0, 100.0]), torch.tensor([1.001, 100.0]))]:  # fmt: skip
        th.identity("both sides agree", left, right)
        assert capsys.readouterr().out.startswith("✓ both sides agree (largest gap ")
    th.identity("rough", 1.0, 1.05, tolerance=0.1)
    for left, right in [(1.0, 1.001), (0.0, 1e-3), (nan, nan), (torch.tensor([1.0, 9.0]), torch.tensor([1.1, 9.0])),
                        (torch.tensor([1.0, nan]), torch.ones(2)), ([1.0, inf], [1.0, inf])]:  # fmt: skip
        with np.errstate(invalid="ignore"), pytest.raises(th.ClaimFailed, match="both sides agree"):
            th.identity("both sides agree", left, right)
    with pytest.raises(ValueError, match=r"\(2, 3\) with \(3, 2\)"):
        th.identity("shapes", torch.ones(2, 3), torch.ones(3, 2))
    with pytest.raises(ValueError, match="nothing"):
        th.identity("nothing", [], [])


# --- exercise ---


@pytest.mark.parametrize("answer, expected", [
    (0.50001, 0.5), (1, 1.0), (torch.tensor(0.5), 0.5), (np.float32(0.5), 0.5), (True, True), ((20, 0), (20, 0)),
    ([(1, 2)], [(1, 2)]), ("query", "query"), (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0005])),
    ([1.0, 2.0], torch.tensor([1.0, 2.0])), (torch.tensor([True, False]), np.array([True, False])),
])  # fmt: skip
def test_right_answers_pass(capsys, answer, expected):
    th.exercise("Exercise 1", answer, expected)
    assert capsys.readouterr().out == "✓ Exercise 1\n"


@pytest.mark.parametrize("answer, expected", [
    (0.51, 0.5), (0.0, 5e-4), (torch.zeros(2), torch.full((2,), 5e-4)), (nan, 0.5), ("one", 1.0), ([1, 2], 1.0),
    (torch.ones(3), 1.0), ((20, 1), (20, 0)), ("key", "query"),
    (torch.tensor([1.0, 2.1]), torch.tensor([1.0, 2.0])), (torch.tensor([1.0, nan]), torch.tensor([1.0, 2.0])),
    (torch.ones(1, 2), torch.ones(2)), (1.0, torch.ones(2)), ("one", torch.ones(2)), (np.ones(3), [1.0, 2.0]),
])  # fmt: skip
def test_wrong_answers_fail_with_the_hint_and_nothing_else(answer, expected):
    with pytest.raises(th.ClaimFailed, match="Exercise 1: .* Try again"):
        th.exercise("Exercise 1", answer, expected, hint="Try again.")
    for stub in (..., None):
        with pytest.raises(th.ClaimFailed, match="Exercise 1: still the stub. Try again"):
            th.exercise("Exercise 1", stub, expected, hint="Try again.")
