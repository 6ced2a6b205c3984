"""The table of contents as the pages, the PDF, the map for assistants and the tests read it."""

from pathlib import Path

import yaml


def pages(chapter: dict) -> list[str]:
    """A chapter and the pages below it."""
    return [chapter["file"], *(page for below in chapter.get("sections", []) for page in pages(below))]


def contents(root: Path) -> list[tuple[str | None, list[str]]]:
    """(caption, documents) of every part, in reading order; the front page is a part without a caption."""
    table = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf8"))
    parts = [
        (part["caption"], [page for chapter in part["chapters"] for page in pages(chapter)]) for part in table["parts"]
    ]
    return [(None, [table["root"]]), *parts]
