"""What the chapters measure is what they measured before, up to what another processor may change."""

import json
import os

import pytest
from bs4 import BeautifulSoup
from golden import KEPT, chapters, claims, numbers

AFTER = "if this is meant, write them anew: .venv/bin/python tests/book/golden.py"


@pytest.fixture(scope="module")
def kept():
    if os.environ.get("TH_MODEL") not in (None, "", "smollm2-135m"):
        pytest.skip("kept for the default model")
    return json.loads(KEPT.read_text(encoding="utf8"))


def far(before: str, now: str) -> bool:
    """Whether more has changed than another processor may do, whose rounding decides near ties.

    One prompt that falls the other way is 0.03 of a share, 2 of a rank or count, or 2 of points in a hundred.
    """
    old, new = numbers(before), numbers(now)
    if len(old) != len(new):
        return True
    near = (0.03 + 0.1 * abs(a) + 2 * (abs(a) >= 10 or a.is_integer() and abs(a) > 1) for a in old)
    return any(abs(a - b) > tolerance for a, b, tolerance in zip(old, new, near, strict=True))


@pytest.mark.parametrize("chapter", chapters())
def test_claims_have_the_values_that_were_kept(soups, kept, chapter):
    before, now = kept[chapter], claims(soups[chapter])
    assert len(now) >= (1 if "deeper" in chapter else 3)  # a deeper page may make one claim
    assert before.keys() == now.keys(), f"claims came or went; {AFTER}"
    moved = {text: (before[text], now[text]) for text in now if far(before[text], now[text])}
    assert not moved, f"{moved}; {AFTER}"


def test_a_changed_value_and_a_lost_claim_would_be_seen():
    printed = "✓ a (0.50 [0.40, −0.60])\n✓ b\n✓ c (largest gap 1e-07 of the scale)"
    cards = "".join(f"<div class='th-claim th-held'><p>{line}</p></div>" for line in printed.splitlines())
    found = claims(BeautifulSoup(cards, "html.parser"))
    assert found == {"a": "0.50 [0.40, −0.60]", "b": ""} and numbers(found["a"]) == [0.5, 0.4, -0.6]
    assert far(found["a"], "0.60 [0.40, −0.60]") and far(found["a"], "0.50") and far(found["a"], "0.50 [0.40, 0.60]")
    assert not far(found["a"], "0.52 [0.40, -0.60]")
    assert far("4.02", "4.70") and far("28.57", "35.71") and not far("28.57", "26.79") and not far("rank 2", "rank 3")
