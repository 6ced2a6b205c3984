"""Where the rendered book is, and its pages by the table of contents."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
sys.path.insert(0, str(ROOT / "_ext"))
from toc import contents  # noqa: E402


def toc_pages() -> list[str]:
    """Document names in reading order."""
    return [page for _, pages in contents(ROOT) for page in pages]
