"""Slides: every deck has its fixed parts, pictures before words, and needs nothing but itself."""

import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import slides  # noqa: E402
from browser import NoBrowser, headless  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CHECK = """## Check yourself

**Question 1.** Which?

<details><summary>A. This.</summary>Yes.</details>
<details><summary>B. That.</summary>No.</details>
"""


def chapter(
    n_pictures: int, named: tuple[int, ...] = (), end: str = "## Take-aways\n\n1. So $W_{OV}$.\n\n**Next.** More."
):
    """A chapter with this many pictures, each in a section of its own; the named ones have a reading with a name."""
    cells = [new_markdown_cell("# 42 · A chapter\n\n**Question.** Why *this*?\n\nMore words.\n\n**Cost.** Little.")]
    for i in range(n_pictures):
        figure = new_output("display_data", {"image/png": PIXEL, "text/plain": f"Figure: picture {i}."})
        said = new_output("display_data", {"text/markdown": f"Reading {i}, [see](there.ipynb)."},
                          metadata={"scrapbook": {"name": str(i)}} if i in named else {})  # fmt: skip
        claim = new_output("stream", text=f"✓ claim {i} (0.5)\n✓ a = b (largest gap 1e-07 of the scale)\n")
        cells += [new_markdown_cell(f"## {i + 1}. Section {i}"), new_code_cell(outputs=[figure, said, claim])]
    return new_notebook(cells=[*cells, new_markdown_cell(CHECK), new_markdown_cell(end)])


@pytest.mark.parametrize("n", [5, 8, 20])
def test_a_deck_has_8_to_12_slides_and_its_fixed_parts(n):
    first, *content, question, takes = slides.slides(chapter(n))
    assert slides.LEAST <= len(content) + 3 == min(n, 9) + 3 <= slides.MOST
    assert "<h1>42 · A chapter" in first and "Why <em>this</em>?" in first and "More words" not in first
    assert question.count("<details>") == 2 and "W<sub>OV</sub>" in takes and "More" not in takes
    assert all("<img" in one and "<h2>Section" in one for one in content)


def test_pictures_that_are_read_from_stay_in_their_order_with_what_is_said_of_them():
    content = slides.slides(chapter(12, named=(3, 11)))[1:-2]
    assert [int(re.search(r"Section (\d+)", one)[1]) for one in content] == [0, 1, 2, 3, 4, 5, 6, 7, 11]
    assert "Reading 3, see." in content[3] and "claim" not in content[3]
    assert "claim 4 (0.5)" in content[4] and "Reading" not in content[4] and "scale" not in content[4]


def test_a_chapter_with_too_little_to_show_is_refused():
    for short in (chapter(2), chapter(9, end="## Something else")):
        with pytest.raises(ValueError, match="42 · A chapter: too little"):
            slides.deck(short)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_chapter_has_what_frames_a_deck(path):
    text = "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    assert all(slides.part(text, start) for start in ("**Question.**", "**Question 1.**", "## Take-aways"))


@pytest.mark.slow
def test_arrow_keys_turn_the_pages_without_a_network(tmp_path):
    path = tmp_path / "deck.html"
    path.write_text(slides.deck(chapter(9)), encoding="utf8")
    asked, errors = [], []
    try:
        with headless() as browser:
            tab = browser.new_page(viewport={"width": 1280, "height": 720})
            tab.on("request", lambda request: asked.append(request.url))
            tab.on("pageerror", lambda error: errors.append(str(error)))
            tab.goto(path.as_uri())
            for key, shown in {"ArrowRight": 2, "End": 12, "ArrowLeft": 11, "Home": 1, "PageUp": 1}.items():
                tab.keyboard.press(key)
                visible = tab.evaluate("getComputedStyle(document.querySelector('section.now')).visibility")
                assert visible == "visible" and tab.locator("section.now footer").inner_text().endswith(f"{shown} / 12")
            for picture in tab.locator(".picture img").all():
                box = picture.bounding_box()
                assert 0 <= box["x"] and box["x"] + box["width"] <= 1280 and box["y"] + box["height"] <= 720
    except NoBrowser as missing:
        pytest.skip(str(missing))
    assert not errors and not [url for url in asked if not url.startswith(("file:", "data:"))]
