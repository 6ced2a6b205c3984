"""The directive `tried`: a table of what a test file, or every one in a folder, tries; with the result of its last run.

Test names are sentences; the table is those sentences. Cases and results come from the report of `make test`, where
there is one: a page built without it says so.
"""

import ast
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[1]
REPORTS = [ROOT / "_build" / "reports" / f"{name}.xml" for name in ("unit", "any_order")]  # made before the pages are


def files(name: str) -> list[Path]:
    path = ROOT / "tests" / name
    return sorted(path.rglob("test_*.py")) if path.is_dir() else [path.with_suffix(".py")]


def sentences(path: Path) -> tuple[str, list[str]]:
    """What a test file is about, and the names of its tests, both as sentences."""
    tree = ast.parse(path.read_text(encoding="utf8"))
    about = (ast.get_docstring(tree) or path.stem).split("\n\n")[0].replace("\n", " ")
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return about, names


def results(reports: list[Path] = REPORTS) -> dict[tuple[str, str], Counter]:
    """(file, test) -> how many of its cases ended in which way, by the reports of the last run."""
    found = defaultdict(Counter)
    present = [ElementTree.parse(report) for report in reports if report.is_file()]
    for case in (case for report in present for case in report.iter("testcase")):
        module, name = case.get("classname", "").rsplit(".", 1)[-1], case.get("name", "").split("[")[0]
        ended = {"failure": "failed", "error": "failed", "skipped": "skipped"}
        found[module, name][next((ended[child.tag] for child in case if child.tag in ended), "passed")] += 1
    return found


def table(rows: list[tuple[str, str, str]]) -> nodes.table:
    whole, group, body = nodes.table(), nodes.tgroup(cols=3), nodes.tbody()
    group += [nodes.colspec(colwidth=width) for width in (70, 10, 20)]
    head = nodes.thead()
    for parent, texts in ((head, ("what must hold", "cases", "last run")), *((body, row) for row in rows)):
        row = nodes.row()
        row += [nodes.entry("", nodes.paragraph(text=text)) for text in texts]
        parent += row
    group += [head, body]
    whole += group
    return whole


class Tried(SphinxDirective):
    required_arguments, final_argument_whitespace = 1, True

    def run(self) -> list[nodes.Node]:
        ended, made = results(), []
        for report in REPORTS:
            self.env.note_dependency(str(report))
        for path in (path for name in self.arguments[0].split() for path in files(name)):
            self.env.note_dependency(str(path))
            about, tests = sentences(path)
            rows = []
            for test in tests:
                cases = ended.get((path.stem, test), Counter())
                text = test.removeprefix("test_").replace("_", " ")
                last = ", ".join(f"{count} {how}" for how, count in sorted(cases.items())) or "not run here"
                last = last if len(cases) > 1 else last.lstrip("0123456789 ")
                rows.append((text[0].upper() + text[1:], str(cases.total() or "–"), last))
            made += [nodes.paragraph("", "", nodes.strong(text=about)), table(rows)]
        return made


def setup(app) -> dict:
    app.add_directive("tried", Tried)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
