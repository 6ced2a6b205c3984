"""What a newcomer reads while the rest is computed stands without the rest."""

import re
import sys

from rendered import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import build  # noqa: E402


def test_the_front_page_and_the_first_chapter_are_built_alone():
    build.build_first(build.model_name())
    html = build.BUILD / "first" / "_build" / "html"
    front, chapter, _ = ((html / f"{page}.html").read_text(encoding="utf8") for page in build.FIRST)
    assert "[]" not in re.sub("<script.*?</script>", "", front, flags=re.S), "what is cited is there"
    assert "th-channel-playground" in front and "th-claim" in chapter
    assert "…" in front, "numbers of chapters that have not run yet"
