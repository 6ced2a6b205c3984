"""What the branch `rendered` shows: pictures without scripts, the sources' own paths, and copies for students."""

import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import branch  # noqa: E402
import build  # noqa: E402

LIVE = {
    "image/png": "AAAA",
    "text/html": "<figure class='th-live'><script>1</script></figure>",
    "text/plain": "Figure: a.",
}
DRAWN = {"text/html": "<div class='th-drawing'><svg viewBox='0 0 1 1'><path d='M0 0'/></svg></div>", "text/plain": "b"}


def test_figures_are_pictures_and_other_outputs_stay():
    assert branch.still(LIVE) == {"image/png": "AAAA", "text/plain": "Figure: a."}
    image = branch.still(DRAWN)
    assert set(image) == {"image/svg+xml", "text/plain"} and image["image/svg+xml"].startswith('<svg xmlns="http')
    table = {"text/markdown": "| a |", "text/plain": "a"}
    assert branch.still(table) == table


def test_notebooks_keep_their_paths_and_students_get_stubs(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "ROOT", tmp_path)
    source, tags = '# Solution to exercise 1\nanswer = 3\nth.exercise("E", answer, 1 + 2)', {"tags": ["solution"]}
    solution = new_code_cell(source, metadata=tags, outputs=[new_output("stream", text="done\n")])
    cells = [new_markdown_cell("[more](deeper/b.ipynb)"), new_code_cell(outputs=[new_output("display_data", LIVE)])]
    chapters = {Path("notebooks/a.ipynb"): new_notebook(cells=[*cells, solution]),
                Path("notebooks/deeper/b.ipynb"): new_notebook()}  # fmt: skip
    (tmp_path / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=[cells[0], new_code_cell(source, metadata=tags)]),
                   tmp_path / "notebooks" / "a.ipynb")  # fmt: skip
    branch.write(chapters, tmp_path / "out")
    made = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.ipynb")}
    assert made == {"notebooks/a.ipynb", "notebooks/deeper/b.ipynb", "student/a.ipynb"}
    shown = (tmp_path / "out" / "notebooks" / "a.ipynb").read_text(encoding="utf8")
    assert "image/png" in shown and "<script>" not in shown and "done" in shown
    given = (tmp_path / "out" / "student" / "a.ipynb").read_text(encoding="utf8")
    assert "answer = ...  # yours" in given and "](../notebooks/deeper/b.ipynb)" in given and "answer = 3" not in given
