"""What the extensions read off executed chapters, and how the search cuts words."""

import sys
from pathlib import Path

from sphinx.search import languages

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "_ext"))
import api  # noqa: E402
import finds  # noqa: E402
import searching  # noqa: E402


def test_claims_are_read_with_their_value_and_whether_they_hold():
    printed = "✓ few do it (1.04 [0.96, 1.12])\n✓ a name\n– not on this model: many do it (0.20)\nother text"
    assert finds.CLAIM.findall(printed) == [
        ("✓", "few do it", "1.04 [0.96, 1.12]"),
        ("✓", "a name", ""),
        ("– not on this model:", "many do it", "0.20"),
    ]


def test_the_search_keeps_dotted_numbers_whole():
    words = searching.Words({})
    assert words.split("Head 20.0.0 (0.74) of th_utils.") == ["Head", "20.0.0", "0.74", "of", "th_utils"]
    assert searching.NUMBER in words.js_splitter_code and languages["en"] is not searching.Words


def test_functions_are_named_as_one_writes_them():
    assert api.public("th_utils.runs.run", "rerun_last") == "th.rerun_last"
    assert api.public("th_utils.channels.channel", "Channel.set") == "th.Channel.set"
    assert api.public("th_utils.tasks.ioi", "generate") is None
