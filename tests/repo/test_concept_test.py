"""The test for before and after gives nothing away by its form."""

import re
from collections import Counter
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "book" / "concept_test.md").read_text(encoding="utf8")
QUESTIONS, ANSWERS = PAGE.split("## Answers and reasons")
OPTIONS = {
    int(number): dict(re.findall(r"^- ([A-D])\. (.+)$", text, re.M))
    for number, text in re.findall(r"^\*\*(\d+)\.\*\*(.*?)(?=^\*\*\d|\Z)", QUESTIONS, re.M | re.S)
}
RIGHT = {int(number): letter for number, letter in re.findall(r"^\| (\d+) \| ([A-D]) \| \w.+\|$", ANSWERS, re.M)}
CAUTIOUS = re.compile(r"\b(nothing yet|not yet|cannot|may|might|depends|perhaps|both)\b", re.I)


def test_fifteen_questions_with_four_options_and_an_answer_with_its_reason():
    assert list(OPTIONS) == list(RIGHT) == list(range(1, 16))
    assert all(list(options) == list("ABCD") for options in OPTIONS.values())


def test_neither_place_nor_length_nor_caution_tells_the_right_option():
    assert all(3 <= n <= 5 for n in Counter(RIGHT.values()).values())
    longest = sum(max(options, key=lambda a: len(options[a])) == RIGHT[n] for n, options in OPTIONS.items())
    shortest = sum(min(options, key=lambda a: len(options[a])) == RIGHT[n] for n, options in OPTIONS.items())
    assert longest <= 6 and shortest <= 6
    assert not [n for n, letter in RIGHT.items() if CAUTIOUS.search(OPTIONS[n][letter])]
