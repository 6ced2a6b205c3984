"""The directive `tried`: a table of what a test file, or every one in a folder, tries; with the result of its last run.

Test names are sentences; the table is those sentences. Cases and results come from the report of `make test`, where
there is one, else from the run kept in `book/test_results.json`, and the page says of which run they are. `python
_ext/tried.py "29 November 2026" COMMIT` keeps the last run.
"""

import ast
import html
import json
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from pathlib import Path

from docutils import nodes
from finds import table
from sphinx.util.docutils import SphinxDirective, SphinxRole

ROOT = Path(__file__).resolve().parents[1]
REPORTS = [ROOT / "_build" / "reports" / "unit.xml"]
KEPT = ROOT / "book" / "test_results.json"


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


def stored() -> tuple[dict[tuple[str, str], Counter], str]:
    """Results of the last run here, else of the run that was kept with the book; and which run that is."""
    if any(report.is_file() for report in REPORTS):
        return results(), "on the machine that built these pages"
    kept = json.loads(KEPT.read_text(encoding="utf8"))
    cases = {tuple(name.split("::")): Counter(ended) for name, ended in kept["results"].items()}
    return cases, f"in the run of {kept['date']}, commit {kept['commit']}"


def keep(date: str, commit: str) -> None:
    """Keep the results of the last `make test`, for pages that are built without one."""
    cases = {"::".join(name): dict(sorted(ended.items())) for name, ended in sorted(results().items())}
    text = json.dumps({"date": date, "commit": commit, "results": cases}, indent=0)
    KEPT.write_text(text + "\n", encoding="utf8")


def last(cases: Counter) -> str:
    said = ", ".join(f"{count} {how}" for how, count in sorted(cases.items())) or "newer than that run"
    return said if len(cases) > 1 else said.lstrip("0123456789 ")


class Tried(SphinxDirective):
    required_arguments, final_argument_whitespace = 1, True

    def run(self) -> list[nodes.Node]:
        (ended, _), made = stored(), []
        for path in (*REPORTS, KEPT, Path(__file__)):
            self.env.note_dependency(str(path))
        for path in (path for name in self.arguments[0].split() for path in files(name)):
            self.env.note_dependency(str(path))
            about, tests = sentences(path)
            cases = [ended.get((path.stem, test), Counter()) for test in tests]
            named = [test.removeprefix("test_").replace("_", " ") for test in tests]
            rows = [
                [text[0].upper() + text[1:], str(one.total() or "–"), last(one)]
                for text, one in zip(named, cases, strict=True)
            ]
            whole = ", ".join(f"{count} {how}" for how, count in sorted(sum(cases, Counter()).items()))
            summary = f"{html.escape(about.replace('`', ''))} <em>{whole or 'Newer than that run'}.</em>"
            made.append(nodes.raw("", f"<details><summary>{summary}</summary>", format="html"))
            made.append(table(["what must hold", "cases", "last run"], rows, [70, 10, 20]))
            made.append(nodes.raw("", "</details>", format="html"))
        return made


class Run(SphinxRole):
    """`{tried-run}`: which run the results are of."""

    def run(self) -> tuple[list[nodes.Node], list]:
        return [nodes.Text(stored()[1])], []


def setup(app) -> dict:
    app.add_directive("tried", Tried)
    app.add_role("tried-run", Run())
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    keep(*sys.argv[1:])
