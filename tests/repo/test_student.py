"""Notebooks for a course: stubs hold no answer, checks lose nothing that they need, and nbgrader can read them."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import student  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXERCISES = {  # by chapter and number: the checked ones
    f"{path.stem[:2]}-{exercise.name[-1]}": exercise
    for path in NOTEBOOKS
    for cell in nbformat.read(path, as_version=4).cells
    if student.is_solution(cell) and (exercise := student.parsed(cell.source))
}
CELL = """# @title Solution to exercise 7
base = 3
helper = base * 2
# what it takes
inner = helper + 1
answer = inner ** 2
assert answer > base, "larger than the base"
mine = [0]
mine[0] = helper
expected = sum(mine)
th.exercise("Exercise 7", answer, expected, hint="try")
print(answer)
"""
# nbgrader's own, version 3, without descriptions and defaults.
FLAG = {"type": "boolean"}
SCHEMA = {
    "type": "object",
    "properties": {
        "schema_version": {"type": "integer", "minimum": 3, "maximum": 3},
        **{name: FLAG for name in ("grade", "locked", "solution", "task")},
        "grade_id": {"type": "string", "pattern": r"^[a-zA-Z0-9_\-]+$"},
        "points": {"type": "number", "minimum": 0},
        "cell_type": {"type": "string", "enum": ["raw", "code", "markdown"]},
    },
    "required": ["schema_version", "grade", "locked", "solution"],
    "additionalProperties": False,
}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def known(notebook) -> list:
    return [cell for cell in notebook.cells if "nbgrader" in cell.metadata]


# --- the cut ---


def test_a_stub_keeps_what_is_given_and_the_form_of_an_answer():
    assert student.stub(CELL) == (
        "# Exercise 7\nbase = 3\nhelper = base * 2\nanswer = ...  # yours\n"
        "assert answer is not None and answer is not ..., 'Exercise 7: still the stub. try'\n"
        'assert answer > base, "larger than the base"\n# The value is compared when this is graded.\n'
    )


def test_the_comparison_is_hidden_and_asks_th_utils_anew():
    hidden = student.parsed(CELL).hidden()
    assert hidden.startswith("### BEGIN HIDDEN TESTS\nmine = [0]\nmine[0] = helper\nexpected = sum(mine)\n")
    assert "_new = importlib.reload(th_utils.notebook)" in hidden and "_new.exercise('Exercise 7', _given" in hidden


def test_an_open_exercise_leaves_its_number():
    text = student.stub("# @title A start on exercise 4: correlate x with y\nx = 1\n")
    assert text == "# Exercise 4\n# Your experiment:\n"


def test_what_a_loop_fills_is_kept_with_the_loop():
    source = 'rows = []\nfor i in range(3):\n    rows.append(i)\nanswer = 3\nth.exercise("E", answer, sum(rows))\n'
    assert "rows.append(i)" in student.stub("# Solution to exercise 1\n" + source)


@pytest.mark.parametrize(
    "source, message",
    [
        ('th.exercise("Exercise 1", 3 + 4, 7)', "the check must read"),
        ('answer = 3\nth.exercise("Exercise 1", answer, abs(answer))', "the check needs `answer` itself"),
        ('answer = 3\nb = answer\nth.exercise("Exercise 1", answer, b)', "the check needs `answer` itself"),
        ('if True:\n    th.exercise("Exercise 1", answer, 3)', "at most one check, on a line of its own"),
        ("th.exercise()", "the check must read"),
        ("", "a solution cell is empty"),
    ],
)
def test_a_check_that_gives_no_stub_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        student.stub(source)


# --- no stub holds its answer ---


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
def test_students_see_neither_the_answer_nor_how_it_is_compared(exercise):
    shown = ast.parse(exercise.given + exercise.forms)
    expected = exercise.check.args[2]
    assert exercise.option["hint"] and "th.exercise" not in exercise.given + exercise.visible()
    assert ast.unparse(expected) not in map(ast.unparse, ast.walk(shown))
    assert not student.names(ast.parse(exercise.reference), ast.Store) & student.names(shown, ast.Store)
    try:
        right = student.literal(expected)
    except ValueError:
        return
    numbers = [float(one) for one in re.findall(r"\d+(?:\.\d+)?", exercise.given + exercise.forms + exercise.missed)]
    assert len(right) > 1 or abs(right[0]) not in numbers, exercise.missed
    assert not exercise.given + exercise.forms or "import" in exercise.given


def test_a_seal_takes_the_right_answer_as_one_rounds_it_and_no_other(tmp_path):
    lines = ["def fails(text, answer):", "    try: exec(text)", "    except AssertionError as e: return str(e)"]
    sealed = {name: one for name, one in EXERCISES.items() if "_seals" in one.visible()}
    assert len(sealed) == 15
    for name, one in sealed.items():
        right, text = student.literal(one.check.args[2]), one.visible()
        for near in (right, [x * 1.0005 for x in right], [float(f"{x:.3g}") for x in right]):
            lines.append(f"assert not fails({text!r}, {near}), {name!r}")
        for other in ([x * 1.02 + 0.01 for x in right], right[:-1], [-x for x in right], ["one"]):
            lines.append(f"try: assert 'not yet' in fails({text!r}, {other}), {name!r}\nexcept ValueError: pass")
        lines.append(f"assert 'still the stub. ' + {one.missed!r} in fails({text!r}, ...)")
    (tmp_path / "seals.py").write_text("\n".join(lines), encoding="utf8")
    subprocess.run([sys.executable, tmp_path / "seals.py"], check=True)


def test_stubs_and_hidden_tests_can_run_without_the_solution(notebook):
    solutions = [i for i, cell in enumerate(notebook.cells) if student.is_solution(cell)]
    assert len(solutions) >= 3
    for i in solutions:
        assert not student.unknown(notebook.cells, i)


def test_before_the_exercises_nothing_changes_and_in_them_no_solution_is_left(path, tmp_path):
    (made,) = student.write([path], tmp_path / "for students")
    ours, theirs = (nbformat.read(one, as_version=4).cells for one in (path, made))
    (start,) = (i for i, cell in enumerate(ours) if cell.source.startswith("## Exercises"))
    assert ours[:start] == theirs[:start]
    left = "\n".join(cell.source for cell in theirs[start:])
    assert not re.search(r"BEGIN|END [HMS]|Hint 3|three hints|olution|Rubric|th\.exercise\(", left)
    assert left.count("Hint 2") == left.count("### Exercise") and not any(map(student.is_solution, theirs))


# --- nbgrader's format ---


def test_every_exercise_is_a_cell_of_nbgrader_with_its_minutes_as_points(notebook):
    rungs = re.findall(
        r"^### Exercise (\d+) \(\w+, (\d+) min(, open)?", "\n".join(c.source for c in notebook.cells), re.M
    )
    made = student.lecturer_version(notebook)
    nbformat.validate(made)
    cells = {cell.metadata.nbgrader.grade_id: cell for cell in known(made)}
    assert len(cells) == len(known(made)) == sum(1 if alone else 2 for *_, alone in rungs)
    for cell in cells.values():
        jsonschema.validate(cell.metadata.nbgrader, SCHEMA)
    for number, minutes, alone in rungs:
        one, kind = cells[f"exercise-{number}"], "task" if alone else "solution"
        assert one.metadata.nbgrader[kind] and one.cell_type == ("markdown" if alone else "code")
        graded = one if alone else cells[f"exercise-{number}-check"]
        assert graded.metadata.nbgrader.locked and graded.metadata.nbgrader.points == int(minutes)
        if alone:
            assert "Figure: " in one.source.split("BEGIN MARK SCHEME")[1] and "<details" not in one.source
        else:
            assert made.cells[made.cells.index(one) + 1] is graded and graded.metadata.nbgrader.grade


@pytest.mark.skipif(not shutil.which("nbgrader"), reason="nbgrader is not in this environment")
def test_nbgrader_cuts_what_we_cut(tmp_path):
    student.write_course(NOTEBOOKS[:1], tmp_path)
    name = NOTEBOOKS[0].stem
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(["nbgrader", "generate_assignment", name], cwd=tmp_path, env=environment, check=True)
    theirs = nbformat.read(tmp_path / "release" / name / f"{name}.ipynb", as_version=4).cells
    ours = student.student_version(nbformat.read(NOTEBOOKS[0], as_version=4)).cells
    assert [cell.source.strip() for cell in theirs] == [cell.source.strip() for cell in ours]
