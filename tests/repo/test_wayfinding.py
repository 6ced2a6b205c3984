"""The book's own Sphinx extension, on a book of four small pages."""

import io
import re
import shutil
import sys
from pathlib import Path

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

ROOT = Path(__file__).resolve().parents[2]
CONF = """
extensions = ["myst_parser", "wayfinding"]
html_static_path = ["_static"]
root_doc = "index"
myst_enable_extensions = ["colon_fence"]
"""
GLOSSARY = r"""# Glossary
:::{glossary}
channel
    A direction in the stream.

name mover
mover
    A head that looks at a channel.
:::
"""
CHAPTER = """# A channel in the heading

**Cost.** About 35 minutes to read and try.

`channel`, *The channel of a work's title*, [a channel](../index.md), channelled and sub-channel are left alone.

| a channel in a head |
| --- |
| nothing |

*Channels*, and again a channel. Two name
movers, one mover.
"""


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    monkeypatch.syspath_prepend(str(ROOT / "_ext"))
    folder = tmp_path / "source"
    pages = {
        "conf.py": CONF,
        "_static/book.css": "a {}",
        "index.md": "# Book\n\n```{toctree}\nbook/glossary\nnotebooks/one\nnotebooks/two\n```\n",
        "book/glossary.md": GLOSSARY,
        "notebooks/one.md": CHAPTER,
        "notebooks/two.md": "# Two\n\n**Cost.** About 5 minutes.\n\nA mover, the name mover.\n",
    }
    for name, text in pages.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf8")
    yield folder
    sys.modules.pop("wayfinding", None)


def build(source: Path, jobs: int = 1) -> tuple[dict[str, str], str, dict]:
    """Pages by name, everything that was warned of, and the minutes that are known."""
    warnings, out = io.StringIO(), source.parent / "out"
    folders = (source, source, out, source.parent / "doctrees")
    with patch_docutils(str(source)), docutils_namespace():
        app = Sphinx(*map(str, folders), "html", status=None, warning=warnings, parallel=jobs)
        app.build()
    pages = {path.relative_to(out).with_suffix("").as_posix(): path.read_text() for path in out.rglob("*.html")}
    return pages, warnings.getvalue(), {name: meta.get("minutes") for name, meta in app.env.metadata.items()}


def linked(page: str) -> list[tuple[str, str]]:
    """(words, entry) of every glossary link."""
    found = re.findall(r'<a class="th-term[^>]*href="[^"#]*#term-([^"]+)"[^>]*>([^<]*)</a>', page)
    return [(" ".join(words.split()), entry) for entry, words in found]


def test_first_use_in_prose_is_linked_and_nothing_else_in_parallel_too(source):
    pages, warnings, minutes = build(source)
    assert not warnings and minutes["notebooks/one"] == 35
    words = [("Channels", "channel"), ("name movers", "name-mover"), ("mover", "mover")]
    assert linked(pages["notebooks/one"]) == words
    assert 'title="A direction in the stream."' in pages["notebooks/one"]
    assert linked(pages["book/glossary"]) == []
    shutil.rmtree(source.parent / "out")
    shutil.rmtree(source.parent / "doctrees")
    assert build(source, jobs=2) == (pages, warnings, minutes)


def test_a_changed_meaning_and_style_sheet_reach_pages_that_did_not_change(source):
    build(source)
    (source / "_static" / "book.css").write_text("b {}", encoding="utf8")
    build(source)
    assert (source.parent / "out" / "_static" / "book.css").read_text(encoding="utf8") == "b {}"
    (source / "book" / "glossary.md").write_text(GLOSSARY.replace("A direction", "One line"), encoding="utf8")
    assert 'title="One line in the stream."' in build(source)[0]["notebooks/one"]


def test_a_chapter_without_its_cost_is_a_warning(source):
    (source / "notebooks" / "two.md").write_text("# Two\n\nNo word about time.\n", encoding="utf8")
    _, warnings, minutes = build(source)
    assert "notebooks/two" in warnings and "About N minutes" in warnings and minutes["notebooks/two"] is None
