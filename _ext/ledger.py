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
COLUMNS = {"fresh": "on fresh words", "rounded": "rounded once more"}


def lines(ledger: dict, book: dict) -> list[str]:
    """The page as Markdown: how many claims held in each column, then a table for each chapter, failures first."""
    shown = {column: COLUMNS.get(column, column) for column in ledger}
    found = []
    for column, name in shown.items():
        claims = [one for chapter in ledger[column].values() for one in chapter["claims"] if touched(one)]
        held = sum(one["holds"] for one in claims)
        found += [f"- **{name}**: {held} of {len(claims)} claims held, {len(claims) - held} failed"]
    for chapter in sorted({name for column in ledger.values() for name in column}):
        tried = {column: ledger[column].get(chapter, {"claims": [], "not run": []}) for column in ledger}
        values = next((own for page, own in book.items() if page.endswith(chapter)), {})
        head = ["claim", "holds if", "set", "in the book", *shown.values()]
        found += ["", f"**Chapter `{chapter}`**", "", f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
        by_text = {column: {one["text"]: one for one in own["claims"]} for column, own in tried.items()}
        every = {text: one for claims in by_text.values() for text, one in claims.items()}
        for text in sorted(every, key=lambda text: all(of[text]["holds"] for of in by_text.values() if text in of)):
            one, cells = every[text], [of.get(text) for of in by_text.values()]
            when = f"{one['date']}, `{one['commit']}`" if "date" in one else "by a template"
            condition = f"`{one['condition']}`".replace("|", "\\|") if "condition" in one else "–"
            row = [text, condition, when, values.get(text, "–") or "held", *map(outcome, cells)]
            found.append("| " + " | ".join(row) + " |")
        found += [f"\nNot run {shown[column]}: {reason}" for column, own in tried.items() for reason in own["not run"]]
    return found


def touched(one: dict) -> bool:
    """Whether other words or weights can change a claim: not one that reads a stored result or is about a sorter."""
    return not one.get("untouched")


def outcome(one: dict | None) -> str:
    """How one claim fared in one column."""
    if one is None or not touched(one):
        return "not tried"
    said = f"{'held' if one['holds'] else '**failed**'} {one['value']}"
    return f"{said}, n = {one['n']}" if one["n"] else said


class Ledger(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        for path in (TRIED, GOLDEN):
            self.env.note_dependency(str(path))
        ledger, book = (json.loads(path.read_text(encoding="utf8")) for path in (TRIED, GOLDEN))
        holder = nodes.container()
        self.state.nested_parse(StringList("\n".join(lines(ledger, book)).splitlines(), "ledger"), 0, holder)
        return holder.children


def setup(app) -> dict:
    app.add_directive("ledger", Ledger)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
