"""The directive `ledger`: every claim of the chapters, its threshold, and how it fared on material that was kept aside.

The book's own values are those of `tests/book/golden.json`, the others those of `tools/confirm.py`.
"""

import json
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[1]
TRIED, GOLDEN = ROOT / "book" / "ledger.json", ROOT / "tests" / "book" / "golden.json"
HEAD = "| claim | holds if | set | in the book | on fresh material | n |\n| --- | --- | --- | --- | --- | --- |"


def lines(tried: dict, book: dict) -> list[str]:
    """The page as Markdown: how many claims held, then a table for each chapter, failures first."""
    claims = [one for chapter in tried.values() for one in chapter["claims"]]
    held = sum(one["holds"] for one in claims)
    found = [f"**{held} of {len(claims)} claims held on fresh material; {len(claims) - held} failed.**", ""]
    for name, chapter in tried.items():
        values = next((own for page, own in book.items() if page.endswith(name)), {})
        found += [f"**Chapter `{name}`**, tried at commit `{chapter['commit']}`.", "", *HEAD.splitlines()]
        for one in sorted(chapter["claims"], key=lambda one: one["holds"]):
            when = f"{one['date']}, `{one['commit']}`" if "date" in one else "by a template"
            condition = f"`{one['condition']}`".replace("|", "\\|") if "condition" in one else "–"
            outcome = f"{'held' if one['holds'] else '**failed**'} {one['value']}"
            cells = (one["text"], condition, when, values.get(one["text"], "–") or "held", outcome, one["n"] or "–")
            found.append("| " + " | ".join(map(str, cells)) + " |")
        found += ["", *(f"Not run: {reason}" for reason in chapter["not run"]), ""]
    return found


class Ledger(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        for path in (TRIED, GOLDEN):
            self.env.note_dependency(str(path))
        tried, book = (json.loads(path.read_text(encoding="utf8")) for path in (TRIED, GOLDEN))
        holder = nodes.container()
        self.state.nested_parse(StringList(lines(tried, book), "ledger"), 0, holder)
        return holder.children


def setup(app) -> dict:
    app.add_directive("ledger", Ledger)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
