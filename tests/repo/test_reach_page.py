"""The page of `make reach` is there and says something of every family that TransformerLens lists."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import reach  # noqa: E402


def test_every_family_stands_on_the_page_and_none_is_wrong():
    rows = re.findall(r"^\| (\S+) \| (\S+) \| ([\w ]+) \| ([\w ]+) \|", reach.PAGE.read_text(encoding="utf8"), re.M)
    assert {family: name for family, name, *_ in rows[1:]} == reach.families()
    assert {verdict for row in rows[1:] for verdict in row[2:]} <= {"right", "refused", "not loaded", "not built"}
