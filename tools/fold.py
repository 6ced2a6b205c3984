"""Fold what a reader does not need to see: `make fold`, after any change to the notebooks.

One tag says it for three front ends: a code cell with `hide-input` or `hide-cell` (Jupyter Book) is also folded in
JupyterLab (`source_hidden`) and in Colab (`cellView: form`, which shows the line `# @title` alone). A cell that only
speaks is given the tag.
"""

import ast
import re
from pathlib import Path

import nbformat

FOLDED = {"hide-input", "hide-cell"}
TITLES = {
    "Figure": r"^th\.(views|live)\.",
    "Table": r"^th\.table$",
    "Reading": r"^th\.(say|read)$",
    "Claim": r"^th\.(claim|identity)$",
}  # by what a cell calls; of several, the first here


def speaks(statement: ast.stmt) -> bool:
    """Whether a statement says, claims or tabulates, and does nothing else."""
    if isinstance(statement, ast.If | ast.For):
        return all(map(speaks, [*statement.body, *statement.orelse]))
    call = statement.value if isinstance(statement, ast.Expr) else None
    words = {f"th.{name}" for name in ("read", "table", "claim", "identity")}
    return isinstance(call, ast.Call) and ast.unparse(call.func) in words


def parsed(source: str) -> ast.Module:
    """The tree of a cell; empty for one with magics, which says nothing of what it calls."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module([], [])


def titled(source: str) -> str:
    """The source with a first line for Colab: its own, or the kind of the cell."""
    if source.startswith("# @title "):
        return source
    if re.match("# (Solution to|A start on) exercise", source):
        return source.replace("# ", "# @title ", 1)
    calls = [ast.unparse(node.func) for node in ast.walk(parsed(source)) if isinstance(node, ast.Call)]
    kinds = (kind for kind, called in TITLES.items() if any(re.search(called, call) for call in calls))
    return f"# @title {next(kinds, 'Code')}\n{source}"


def folded(text: str) -> str:
    """The text of a notebook file as it should be."""
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        tags, statements = cell.metadata.get("tags", []), parsed(cell.source).body
        if not FOLDED & set(tags) and statements and all(map(speaks, statements)):
            cell.metadata.tags = tags = [*tags, "hide-input"]
        cell.metadata.pop("cellView", None)
        cell.metadata.pop("jupyter", None)
        if FOLDED & set(tags):
            cell.metadata |= {"cellView": "form", "jupyter": {"source_hidden": True}}
            cell.source = titled(cell.source)
    return nbformat.writes(notebook) + "\n"


if __name__ == "__main__":
    for path in sorted((Path(__file__).resolve().parents[1] / "notebooks").rglob("*.ipynb")):
        before = path.read_text(encoding="utf8")
        if (after := folded(before)) != before:
            path.write_text(after, encoding="utf8")
            print(f"{path.name}: written anew")
