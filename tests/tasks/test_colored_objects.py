"""Colored Objects: text, tokens, positions and minimal pairs must tell one story, in every form."""

import re
from collections import Counter

import pytest
import torch

from th_utils.tasks import colored_objects as co

CASES = [(form, shots, k) for form in co.FORMS for shots, k in ((0, 3), (1, 3), (2, 2), (0, 4))]


@pytest.fixture(scope="module")
def gpt2(tiny):
    return tiny("tiny-gpt2")


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(map(str, case)))
def prompts(request, gpt2):
    form, shots, n_objects = request.param
    return co.generate(gpt2, 13, seed=5, form=form, shots=shots, n_objects=n_objects)


def word(model, prompts, i, name):
    return model.tokenizer.decode([prompts.tokens[i, prompts.at(name)[i]]]).strip()


def check(model, prompts):
    """Positions hold the words of the table; answer and distractor are two of the candidates."""
    for i, row in enumerate(prompts.table.itertuples()):
        for j, (thing, value) in enumerate(zip(row.objects, row.values, strict=True)):
            assert word(model, prompts, i, f"object {j}") == thing
            assert word(model, prompts, i, f"colour {j}") == value
        assert word(model, prompts, i, "right object") == word(model, prompts, i, "question") == row.objects[row.asked]
        assert word(model, prompts, i, "right colour") == row.values[row.asked]
        assert word(model, prompts, i, "paired colour") == row.values[row.paired] and row.paired != row.asked
        assert prompts.at("right object")[i] < prompts.at("question")[i] <= prompts.end[i]
        assert model.tokenizer.decode(prompts.tokens[i, 1 : prompts.end[i] + 1]) == prompts.text[i]
    for what in ("colour", "object"):
        assert (prompts.numbered(what).diff(dim=1) > 0).all(), "in the order of the text"
    rows, ids = torch.arange(len(prompts)), co.candidates(model, prompts)
    assert torch.equal(ids[rows, torch.tensor(prompts.table.asked)], prompts.answer)
    assert torch.equal(ids[rows, torch.tensor(prompts.table.paired)], prompts.distractor)
    assert (prompts.answer != prompts.distractor).all()


def test_text_tokens_positions_and_answers_agree(gpt2, prompts):
    check(gpt2, prompts)


@pytest.mark.real
@pytest.mark.parametrize("form", co.FORMS)
def test_text_tokens_positions_and_answers_agree_in_a_real_tokenizer(default_model, form):
    check(default_model, co.generate(default_model, 30, form=form, shots=1))


def test_answers_have_the_case_of_the_form(gpt2):
    for form, capital in (("question", True), ("lower case", False)):
        first = gpt2.tokenizer.decode([co.generate(gpt2, 1, form=form).answer[0]]).strip()[0]
        assert first.isupper() == capital


def test_demonstrations_share_no_thing_and_no_value_with_the_test(prompts):
    for row in prompts.table.itertuples():
        before = set(re.findall(r"[a-z]+", row.demonstrations.lower()))
        assert not before & {w.lower() for w in (*row.objects, *row.values)}


def test_minimal_pair_differs_in_the_asked_word_only(gpt2, prompts):
    pair, rows = co.corrupt(gpt2, prompts), torch.arange(len(prompts))
    different = pair.tokens != prompts.tokens
    assert (different.sum(1) == 1).all() and different[rows, prompts.at("question")].all()
    for i, row in enumerate(prompts.table.itertuples()):
        assert word(gpt2, pair, i, "question") == row.objects[row.paired]
        assert gpt2.tokenizer.decode(pair.tokens[i, 1 : pair.end[i] + 1]) == pair.text[i]
    assert torch.equal(pair.answer, prompts.answer) and torch.equal(pair.distractor, prompts.distractor)


def test_every_place_is_asked_equally_often(gpt2):
    assert set(Counter(co.generate(gpt2, 30, seed=1).table.asked).values()) == {10}


def test_the_seed_decides_everything(gpt2):
    one, same, other = (co.generate(gpt2, 6, seed=s, shots=1).text for s in (1, 1, 2))
    assert one == same != other


def test_articles_fit_the_next_word(gpt2):
    text = " ".join(co.generate(gpt2, 40, seed=2).text + co.generate(gpt2, 40, seed=2, form="that is").text)
    assert " an orange" in text and " an envelope" in text
    assert " a orange" not in text and " a envelope" not in text and " an red" not in text


@pytest.mark.parametrize("wrong, message", [
    ({"n": 0}, "at least 1"),
    ({"n_objects": 1}, "n_objects must be"),
    ({"n_objects": 9}, "built-in .* are one token.*at least 9 are needed"),
    ({"n_objects": 5, "shots": 1}, "built-in .* are one token.*at least 10 are needed"),
    ({"shots": -1}, "shots must be"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused(gpt2, refuses, wrong, message):
    with refuses(message):
        co.generate(gpt2, **({"n": 3} | wrong))
