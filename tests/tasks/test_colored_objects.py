"""Colored Objects: text, tokens, positions and minimal pairs must tell one story, in every form."""

import re
from collections import Counter

import pytest
import torch

from th_utils.tasks import colored_objects as co
from th_utils.tasks import ioi

CASES = [(form, shots, k) for form in co.FORMS for shots, k in ((0, 3), (1, 3), (2, 2), (0, 4))]


@pytest.fixture(scope="module")
def gpt2(tiny):
    return tiny("tiny-gpt2")


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(map(str, case)))
def made(request, gpt2):
    form, shots, n_objects = request.param
    return co.generate(gpt2, 13, seed=5, form=form, shots=shots, n_objects=n_objects)


def word(model, prompts, i, name):
    return model.tokenizer.decode([prompts.tokens[i, prompts.positions[name][i]]]).strip()


def test_positions_hold_the_words_of_the_table(gpt2, made):
    for i, row in enumerate(made.table.itertuples()):
        for j, (thing, value) in enumerate(zip(row.objects, row.values, strict=True)):
            assert word(gpt2, made, i, f"object {j}") == thing
            assert word(gpt2, made, i, f"colour {j}") == value
        assert word(gpt2, made, i, "right object") == word(gpt2, made, i, "question") == row.objects[row.asked]
        assert word(gpt2, made, i, "right colour") == row.values[row.asked]
        assert word(gpt2, made, i, "paired colour") == row.values[row.paired] and row.paired != row.asked
        assert made.positions["right object"][i] < made.positions["question"][i] <= made.end[i]
        assert gpt2.tokenizer.decode(made.tokens[i, 1 : made.end[i] + 1]) == made.text[i]


def test_answer_and_distractor_are_two_of_the_candidates(gpt2, made):
    rows = torch.arange(len(made))
    ids = co.candidates(gpt2, made)
    assert torch.equal(ids[rows, torch.tensor(made.table.asked)], made.answer)
    assert torch.equal(ids[rows, torch.tensor(made.table.paired)], made.distractor)
    assert (made.answer != made.distractor).all()


def test_answers_have_the_case_of_the_form(gpt2):
    for form, capital in (("question", True), ("lower case", False)):
        first = gpt2.tokenizer.decode([co.generate(gpt2, 1, form=form).answer[0]]).strip()[0]
        assert first.isupper() == capital


def test_demonstrations_share_no_thing_and_no_value_with_the_test(made):
    for row in made.table.itertuples():
        before = set(re.findall(r"[a-z]+", row.demonstrations.lower()))
        assert not before & {w.lower() for w in (*row.objects, *row.values)}


def test_minimal_pair_differs_in_the_asked_word_only(gpt2, made):
    pair = co.corrupt(gpt2, made)
    different = pair.tokens != made.tokens
    rows = torch.arange(len(made))
    assert (different.sum(1) == 1).all() and different[rows, made.positions["question"]].all()
    for i, row in enumerate(made.table.itertuples()):
        assert word(gpt2, pair, i, "question") == row.objects[row.paired]
        assert gpt2.tokenizer.decode(pair.tokens[i, 1 : pair.end[i] + 1]) == pair.text[i]
    assert torch.equal(pair.answer, made.answer)


def test_every_place_is_asked_equally_often(gpt2):
    counts = Counter(co.generate(gpt2, 30, seed=1).table.asked)
    assert set(counts.values()) == {10}


def test_same_seed_same_prompts_other_seed_others(gpt2):
    a, b, c = (co.generate(gpt2, 6, seed=s, shots=1).text for s in (1, 1, 2))
    assert a == b and a != c


def test_articles_fit_the_next_word(gpt2):
    text = " ".join(co.generate(gpt2, 40, seed=2).text + co.generate(gpt2, 40, seed=2, form="that is").text)
    assert " an orange" in text and " an envelope" in text
    assert " a orange" not in text and " a envelope" not in text and " an red" not in text


def test_mentions_are_in_the_order_of_the_text(made):
    for what in ("colour", "object"):
        assert (co.mentions(made, what).diff(dim=1) > 0).all()


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"n": 0}, "at least 1"),
        ({"form": "riddle"}, "unknown form"),
        ({"n_objects": 1}, "objects"),
        ({"shots": 9}, "shots"),
    ],
)
def test_bad_arguments_say_what_is_expected(gpt2, refuses, wrong, message):
    with refuses(message):
        co.generate(gpt2, **({"n": 3} | wrong))


def test_mentions_of_nothing_known(made, refuses):
    with refuses("no positions"):
        co.mentions(made, "smell")


@pytest.mark.parametrize("use", [co.corrupt, co.candidates])
def test_prompts_of_another_task_are_refused(gpt2, refuses, use):
    with refuses("must come from colored_objects.generate"):
        use(gpt2, ioi.generate(gpt2, 4))
