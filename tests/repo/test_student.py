"""Student notebooks: stubs are cut from the solutions, keep their checks, and lose nothing that the check needs."""

import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import student  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CELL = """# Solution to exercise 7
helper = base * 2
inner = helper + 1
answer = inner ** 2
mine = [0]
mine[0] = helper
expected = sum(mine)
th.exercise("Exercise 7", answer, expected, hint=note)
print(answer)
"""


def test_a_stub_keeps_what_the_check_needs_and_nothing_of_the_answer():
    assert student.stub(CELL) == (
        "# Exercise 7\nanswer = ...  # yours\nhelper = base * 2\nmine = [0]\nmine[0] = helper\nexpected = sum(mine)\n"
        'th.exercise("Exercise 7", answer, expected, hint=note)\n'
    )


def test_an_open_exercise_leaves_its_title():
    text = student.stub("# @title A start on exercise 4: what next?\nx = 1\n")
    assert text == "# Exercise 4: what next?\n# Your experiment:\n"


def test_what_a_loop_fills_is_kept_with_the_loop():
    source = 'rows = []\nfor i in range(3):\n    rows.append(i)\nanswer = 3\nth.exercise("E", answer, sum(rows))\n'
    assert "rows.append(i)" in student.stub("# Solution to exercise 1\n" + source)


@pytest.mark.parametrize(
    "source, message",
    [
        ('th.exercise("Exercise 1", 3 + 4, 7)', "the check must read"),
        ('answer = 3\nth.exercise("Exercise 1", answer, abs(answer))', "the check needs `answer` itself"),
        ('if True:\n    th.exercise("Exercise 1", answer, 3)', "at most one check, on a line of its own"),
        ("th.exercise()", "the check must read"),
        ("", "a solution cell is empty"),
    ],
)
def test_a_check_that_gives_no_stub_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        student.stub(source)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_stub_can_run_without_its_solution_and_nothing_else_changes(path, tmp_path):
    (made,) = student.write([path], tmp_path / "for students")
    ours, theirs = (nbformat.read(one, as_version=4).cells for one in (path, made))
    solutions = [i for i, cell in enumerate(ours) if student.is_solution(cell)]
    assert len(solutions) >= 3
    for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        if i not in solutions:
            assert one == other
            continue
        compile(other.source, path.name, "exec")
        assert not student.is_solution(other) and not student.unknown(ours, i)
        if "th.exercise(" in one.source:
            assert other.source.count("answer = ...") == 1 and other.source.count("th.exercise(") == 1
