"""The troubleshooting page quotes messages that exist: every heading is found in the source it is about."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "book" / "troubleshooting.md").read_text(encoding="utf8")
OURS, ELSEWHERE = PAGE.split("## Elsewhere")


def source() -> str:
    """The text of all messages, with strings that run over lines joined as Python joins them."""
    files = [*(ROOT / "th_utils").rglob("*.py"), *(ROOT / "tools").glob("*.py")]
    text = "\n".join(path.read_text(encoding="utf8") for path in files)
    return re.sub(r"\"\s*\n\s*f?\"", "", text)


@pytest.mark.parametrize("quoted", re.findall(r"^### `(.+)`$", OURS, re.M))
def test_every_quoted_message_is_one_of_ours(quoted):
    assert quoted in source()


def test_every_heading_quotes_one_message_and_says_what_to_do():
    headings = re.findall(r"^### (.+)$", PAGE, re.M)
    assert len(headings) == len(set(headings)) > 20 and all(re.fullmatch(r"`[^`]+`", one) for one in headings)
    assert "###" in ELSEWHERE
    for part in PAGE.split("### ")[1:]:
        assert len(part.split("\n\n")[1].split()) >= 8, part
