"""What the extensions read off executed chapters, and how the search cuts words."""

import sys
from pathlib import Path

import pytest
from sphinx.search import languages

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "_ext"))
import api  # noqa: E402
import finds  # noqa: E402
import searching  # noqa: E402


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Component 20.0.0 lies at 0.14, head 8.1 at 8.2.", ["20.0.0", "8.1"]),
        ("Name movers: 23.0, 23.2 and 23.1. S-inhibition heads are 20.0 and 19.2.", ["20.0", "19.2"]),
        ("The heads 16.0, 11.1 and 17.4 feed it", ["16.0", "11.1", "17.4"]),
        ("At 1.1 times the usual, freeze 8.9 [7.9, 10.1], head 0.1%", []),
        ("Layer 31 has no head 31.0, and no head 20.9; 99.0.0", []),
    ],
)
def test_heads_are_told_from_numbers(text, expected):
    assert finds.named(text) == expected


def test_claims_are_read_with_their_value_and_whether_they_hold():
    printed = "✓ few do it (1.04 [0.96, 1.12])\n✓ a name\n– not on this model: many do it (0.20)\nother text"
    assert finds.CLAIM.findall(printed) == [
        ("✓", "few do it", "1.04 [0.96, 1.12]"),
        ("✓", "a name", ""),
        ("– not on this model:", "many do it", "0.20"),
    ]


def test_every_role_of_a_head_has_its_job_in_the_glossary():
    glossary = (ROOT / "book" / "glossary.md").read_text(encoding="utf8").splitlines()
    terms = {line.removesuffix(" head") for line in glossary}
    assert finds.roles() and set(finds.roles().values()) <= terms


def test_the_search_keeps_dotted_numbers_whole():
    words = searching.Words({})
    assert words.split("Head 20.0.0 (0.74) of th_utils.") == ["Head", "20.0.0", "0.74", "of", "th_utils"]
    assert searching.NUMBER in words.js_splitter_code and languages["en"] is not searching.Words


def test_functions_are_named_as_one_writes_them():
    assert api.public("th_utils.runs.run", "rerun_last") == "th.rerun_last"
    assert api.public("th_utils.channels.channel", "Channel.set") == "th.Channel.set"
    assert api.public("th_utils.tasks.ioi", "generate") is None
