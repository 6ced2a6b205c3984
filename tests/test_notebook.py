"""Checks must fail when what they check is false: on the right model, with a message that helps."""

import numpy as np
import pytest
import torch

import th_utils as th
from th_utils import notebook as checks
from th_utils.stats import Estimate

# --- claim ---


@pytest.mark.parametrize("holds", [True, 1, np.bool_(True), torch.tensor(True)])
def test_a_true_claim_is_printed_on_any_model(tiny, capsys, holds):
    th.claim(tiny("tiny-gpt2"), "the sky is up", holds, 0.5)
    assert capsys.readouterr().out == "✓ the sky is up (0.5)\n"


@pytest.mark.parametrize(
    "value, shown",
    [(6.744091033935547, "(6.744)"), (np.float64(0.1234567), "(0.1235)"), (7, "(7)"), ("3 of 4", "(3 of 4)"),
     (Estimate(0.5, 0.4, 0.6), "(0.50 [0.40, 0.60])")],
)  # fmt: skip
def test_the_value_of_a_claim_is_readable(tiny, capsys, value, shown):
    th.claim(tiny("tiny-gpt2"), "the sky is up", True, value)
    assert capsys.readouterr().out.strip().endswith(shown)


@pytest.mark.parametrize("fails", [False, np.bool_(False), torch.tensor(False)])
def test_a_false_claim_stops_the_default_model_only(tiny, capsys, monkeypatch, fails):
    model = tiny("tiny-gpt2")
    th.claim(model, "the sky is down", fails, Estimate(0.5, 0.4, 0.6))
    assert capsys.readouterr().out == "– not on this model: the sky is down (0.50 [0.40, 0.60])\n"
    monkeypatch.setattr(checks, "is_default", lambda model: True)
    with pytest.raises(th.ClaimFailed, match=r"the sky is down \(0.50 \[0.40, 0.60\]\): does not hold"):
        th.claim(model, "the sky is down", fails, Estimate(0.5, 0.4, 0.6))


def test_the_tiny_models_are_not_the_default(model):
    assert not th.is_default(model)


@pytest.mark.real
def test_the_default_model_is_the_default(default_model):
    with pytest.raises(th.ClaimFailed):
        th.claim(default_model, "two is three", False)


# --- identity ---


@pytest.mark.parametrize("left, right", [
    (1.0, 1.00001),
    (torch.tensor([1.0, 100.0]), torch.tensor([1.001, 100.0])),  # relative to the largest number
    (torch.zeros(3), torch.zeros(3)),
    (torch.tensor(2.0), 2.0),
    (np.array([1.0, 2.0]), torch.tensor([1.0, 2.0])),
    ([1.0, 2.0], (1.0, 2.0)),
    (torch.ones(2, requires_grad=True), torch.ones(2)),
])  # fmt: skip
def test_equal_things_pass(capsys, left, right):
    th.identity("both sides agree", left, right)
    assert capsys.readouterr().out.startswith("✓ both sides agree (largest gap ")


nan, inf = float("nan"), float("inf")


@pytest.mark.parametrize("left, right", [
    (1.0, 1.001),
    (torch.tensor([1.0, 100.0]), torch.tensor([1.1, 100.0])),
    (nan, nan),
    (torch.tensor([1.0, nan]), torch.tensor([1.0, nan])),
    (torch.tensor([1.0, nan]), torch.tensor([1.0, 1.0])),
    (torch.tensor([nan, 1.0]), torch.tensor([1.0, 1.0])),
    (inf, 1.0),
    (torch.tensor([1.0, inf]), torch.tensor([1.0, inf])),
    (0.0, 1e-3),
])  # fmt: skip
def test_different_things_and_non_numbers_fail(left, right):
    with pytest.raises(th.ClaimFailed, match="both sides agree"):
        th.identity("both sides agree", left, right)


def test_tolerance_decides():
    th.identity("rough", 1.0, 1.05, tolerance=0.1)
    with pytest.raises(th.ClaimFailed):
        th.identity("rough", 1.0, 1.05, tolerance=0.01)


def test_identity_refuses_different_shapes():
    with pytest.raises(ValueError, match=r"\(2,\) with \(3,\)"):
        th.identity("shapes", torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match=r"\(2, 3\) with \(3, 2\)"):
        th.identity("shapes", torch.ones(2, 3), torch.ones(3, 2))


# --- exercise ---


@pytest.mark.parametrize("stub", [..., None])
def test_a_stub_fails_with_its_hint(stub):
    with pytest.raises(th.ClaimFailed, match="Exercise 1: still the stub. Look at W_O."):
        th.exercise("Exercise 1", stub, 1.0, hint="Look at W_O.")


@pytest.mark.parametrize("answer, expected", [
    (0.50001, 0.5),
    (1, 1.0),
    (torch.tensor(0.5), 0.5),
    (np.float32(0.5), 0.5),
    (True, True),
    ((20, 0), (20, 0)),
    ({"a": 1}, {"a": 1}),
    ([(1, 2)], [(1, 2)]),
    ("query", "query"),
    (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0005])),
    ([1.0, 2.0], torch.tensor([1.0, 2.0])),
    (np.array([1.0, 2.0]), torch.tensor([1.0, 2.0])),
    (torch.tensor([True, False]), torch.tensor([True, False])),
    (torch.tensor([1, 2]), np.array([1, 2])),
    (0.5, torch.tensor(0.5)),
    (torch.ones(2, requires_grad=True), torch.ones(2)),
])  # fmt: skip
def test_right_answers_pass(capsys, answer, expected):
    th.exercise("Exercise 1", answer, expected)
    assert capsys.readouterr().out == "✓ Exercise 1\n"


@pytest.mark.parametrize("answer, expected", [
    (0.51, 0.5),
    (nan, 0.5),
    ("one", 1.0),
    ([1, 2], 1.0),
    (torch.ones(3), 1.0),
    ((20, 1), (20, 0)),
    ("key", "query"),
    (3, "query"),
    (torch.tensor([1.0, 2.1]), torch.tensor([1.0, 2.0])),
    (torch.tensor([1.0, nan]), torch.tensor([1.0, 2.0])),
    (torch.ones(3), torch.ones(2)),
    (torch.ones(1, 2), torch.ones(2)),
    (torch.tensor([True, True]), torch.tensor([True, False])),
    (1.0, torch.ones(2)),
    ("one", torch.ones(2)),
    (np.ones(3), [1.0, 2.0]),
    (lambda x: x, 1.0),
])  # fmt: skip
def test_wrong_answers_fail_with_the_hint_and_nothing_else(answer, expected):
    with pytest.raises(th.ClaimFailed, match="Exercise 1: .* Try again"):
        th.exercise("Exercise 1", answer, expected, hint="Try again.")


def test_exercise_tolerance_decides():
    th.exercise("rough", 1.05, 1.0, tolerance=0.1)
    with pytest.raises(th.ClaimFailed):
        th.exercise("rough", 1.05, 1.0, tolerance=0.01)


def test_a_named_sentence_can_be_quoted_on_another_page(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda obj, metadata=None: shown.append((obj, metadata)))
    th.say("The **share** at `END` *is* 0.71 = 2 * 0.355.", name="share")
    metadata, data = shown[0][1], shown[0][0]._repr_mimebundle_()
    assert metadata == {"scrapbook": {"name": "share", "mime_prefix": ""}}
    assert data["text/markdown"] == "The **share** at `END` *is* 0.71 = 2 * 0.355."
    assert data["text/plain"] == "The share at END is 0.71 = 2 * 0.355."
    th.say("No name.")
    assert shown[1][1] == {}


@pytest.mark.parametrize("name", ["", " "])
def test_a_sentence_is_quoted_by_a_word(name):
    with pytest.raises(ValueError, match="name must be a word"):
        th.say("A sentence.", name=name)
