"""Claims are tried on words that the book has not used, and the ledger shows first what failed."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "_ext")]
import confirm  # noqa: E402
import ledger  # noqa: E402

PAIRS = [(path, ROOT / "th_utils" / "tasks" / "data" / path.name) for path in (ROOT / "tools" / "fresh").glob("*.json")]


def lists(value, path: str = "") -> dict[str, set[str]]:
    """Every list of words and every wording in a file, by where it stands."""
    if isinstance(value, dict):
        return {where: words for key, one in value.items() for where, words in lists(one, f"{path}/{key}").items()}
    return {path: set(value if isinstance(value, list) else [value])}


@pytest.mark.parametrize(("fresh", "book"), PAIRS, ids=lambda path: path.stem)
def test_fresh_words_are_of_the_same_kinds_and_none_is_the_books(fresh, book):
    new, old = (lists(json.loads(path.read_text(encoding="utf8"))) for path in (fresh, book))
    shape = ("/item", "/article", "/joiner", "/capital", "/values", "/year", "/kind", "/word", "/cue/ticking")
    for where, words in new.items():
        assert where in old, where
        if "/pairs/" not in where and not (where.endswith(shape) and len(words) == 1):
            assert not words & old[where], (where, words & old[where])
        assert len(words) >= min(len(old[where]), 15) or "/text" in where, where


def test_thresholds_are_read_from_the_code_with_the_day_of_their_line():
    found = confirm.thresholds(ROOT / "notebooks" / "03_inhibition_subspace.ipynb")
    one = found["weights and data pick the same component"]
    assert one["condition"] == "weights_choice == component" and one["date"].startswith("202")


def test_the_page_counts_claims_and_shows_failures_first():
    when = {"condition": "a > 0", "date": "2026-11-29", "commit": "abc"}
    claims = [
        {"text": "one", "holds": True, "value": "0.9", "n": 7, **when},
        {"text": "two", "holds": False, "value": "0.1", "n": None},
        {"text": "stored: three", "holds": True, "value": "1", "n": None, "untouched": True},
    ]
    tried = {
        "fresh": {"03_x": {"claims": claims, "not run": ["ValueError: no"]}},
        "other": {"03_x": {"claims": claims[:1], "not run": []}},
    }
    found = ledger.lines(tried, {"notebooks/03_x": {"one": "0.8"}})
    assert found[:2] == [
        "- **on fresh words**: 1 of 2 claims held, 1 failed",
        "- **other**: 1 of 1 claims held, 0 failed",
    ]
    first, second, third = [line for line in found if line.startswith("| ") and "---" not in line][1:]
    assert first == "| two | – | by a template | – | **failed** 0.1 | not tried |"
    assert second == "| one | `a > 0` | 2026-11-29, `abc` | 0.8 | held 0.9, n = 7 | held 0.9, n = 7 |"
    assert third == "| stored: three | – | by a template | – | not tried | not tried |"
    assert found[-1].endswith("Not run on fresh words: ValueError: no")
