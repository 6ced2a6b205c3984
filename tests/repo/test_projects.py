"""The first cell of every small project runs as it is given."""

import re
from pathlib import Path

import pytest

import th_utils as th
from th_utils.tasks import ioi

PAGE = (Path(__file__).resolve().parents[2] / "book" / "projects.md").read_text(encoding="utf8")
FIRST = re.search(r"```python\n(.*?)```", PAGE, re.S)[1]
CELLS = dict(re.findall(r"^## (\d+)\. .*?```\{code-block\} python\n(.*?)```", PAGE, re.M | re.S))


@pytest.fixture(scope="module")
def names(tiny):
    model, found = tiny("tiny-llama"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(th, "load_model", lambda: model, raising=False)
        patch.setattr(th, "setup", lambda: None, raising=False)
        exec(compile(FIRST, "the first cell", "exec"), found)
    return found


@pytest.mark.parametrize("number", CELLS)
def test_the_first_cell_of_a_project_runs_and_shows_something(number, names, capsys, monkeypatch):
    monkeypatch.setattr(ioi, "TEMPLATES", ioi.TEMPLATES)
    exec(compile(CELLS[number], f"project {number}", "exec"), dict(names))
    assert capsys.readouterr().out.strip()


def test_there_are_ten_and_each_says_how_to_go_on_and_what_controls_it():
    projects = re.split(r"^## \d+\. ", PAGE, flags=re.M)[1:]
    assert len(projects) == 10 == len(CELLS)
    assert all("Go on:" in one and "*Control:*" in one for one in projects)
