"""Folding: one tag folds a cell in the book, in JupyterLab and in Colab, and nothing else changes."""

import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import fold  # noqa: E402
import student  # noqa: E402

HIDDEN = {"cellView": "form", "jupyter": {"source_hidden": True}}


def folded(source: str, *tags: str, **metadata) -> nbformat.NotebookNode:
    cell = new_code_cell(source, metadata={"tags": list(tags)} | metadata if tags else metadata)
    notebook = new_notebook(cells=[new_markdown_cell("# Title"), cell])
    text = fold.folded(nbformat.writes(notebook))
    assert fold.folded(text) == text, "a second run must change nothing"
    result = nbformat.reads(text, as_version=4).cells[1]
    assert result.id == cell.id
    return result


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ('x = 1\nth.views.bars({"a": x}, *TEXT)', "Figure"),
        ("th.table(rows)", "Table"),
        ('th.read(f"{x:.2f}")\nth.claim(model, "so", x > 1)', "Reading"),
        ("x = 1", "Code"),
    ],
)
def test_a_tagged_cell_is_folded_and_has_a_title(source, title):
    cell = folded(source, "hide-input")
    assert cell.source == f"# @title {title}\n{source}" and cell.metadata == HIDDEN | {"tags": ["hide-input"]}


@pytest.mark.parametrize(
    "source", ["th.read(text, x=x)", "if x:\n    th.read(a)\nelse:\n    for b in c:\n        th.read(b)"]
)
def test_a_cell_that_only_speaks_is_tagged(source):
    assert folded(source).metadata.tags == ["hide-input"]


@pytest.mark.parametrize("source", ["x = 1\nth.read(x)", "x", "", "%time th.read(x)", "if x:\n    y = 1", "print(x)"])
def test_a_cell_that_does_more_stays_open(source):
    cell = folded(source, **HIDDEN)
    assert cell.metadata == {} and cell.source == source


def test_a_solution_keeps_its_title_and_leaves_students_a_cell_that_is_not_folded():
    cell = folded("# Solution to exercise 4: a start\nx = 1\n", "hide-cell", "solution")
    assert cell.source.startswith("# @title Solution to exercise 4: a start\n")
    assert student.stub(cell.source) == "# Exercise 4\n# Your experiment:\n"
    assert not any("tags" in one.metadata for one in student.student_version(new_notebook(cells=[cell])).cells)
