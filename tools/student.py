"""Notebooks for a course, in the format of nbgrader: `make student`.

The solution is the source. A solution cell hands `answer` to `th.exercise` and becomes two cells: one to solve, and a
locked check. Lines before the answer that the check needs are given. An `assert` says what form an answer has, and
stays in sight. The comparison with the right answer is a hidden test; of a literal, a hash stays in sight. Open
exercises are graded by hand, by their rubric.

`_build/course/source` is the lecturer's copy, which nbgrader cuts. `_build/student` is what students get of it.
"""

import ast
import builtins
import hashlib
import itertools
import operator
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat

TAG = "solution"
STUB = "answer = ...  # yours"
HINT = re.compile(r"^<details><summary>Hint 3</summary>.*</details>\n?", re.M)
MODEL = re.compile(r"^<details><summary>(?:One way to do it \(solution\)|Rubric)</summary>(.*)</details>\n?", re.M)
RUNG = re.compile(r"^### Exercise (\d+) \(\w+, (\d+) min", re.M)
HOW = re.compile(r"open\s+the\s+three\s+hints.*?folded\s+solution\s+last\.", re.S)
FOR_STUDENTS = """open the hints one at a time, and call your result
`answer` where a check follows, which says what is missing. Minutes are points."""
SEAL = """import hashlib, numpy
_said = "{salt} " + " ".join(f"{{round(float(x), 6) + 0:.3g}}" for x in numpy.ravel(answer))
_seals = {seals}  # of the right answer, to three digits
assert hashlib.sha256(_said.encode()).hexdigest()[:12] in _seals, {missed}
"""
HIDDEN = """### BEGIN HIDDEN TESTS
{reference}import importlib, th_utils.notebook  # anew, whatever the notebook has made of th.exercise
_new = importlib.reload(th_utils.notebook)
_given, _right = (_new.array(one).squeeze() for one in ({answer}, {expected}))
_new.exercise({name}, _given, _right{options})
### END HIDDEN TESTS
"""
TASK = """**Exercise {number} is graded by hand, for {points} points.** Put your code, at least one figure or table, and
what you found into the cells below, and add as many as you need. Say what you expected, what your control did, and what
the result does not show.

=== BEGIN MARK SCHEME ===

A fifth of the points each: a guess written down before the measurement; the measurement, with n and an interval; a
control that could have come out the same; a figure or table that shows both; what the result does not show.

{scheme}

A start, whose output the book shows:

```python
{start}
```

=== END MARK SCHEME ===
"""
CONFIG = """import os

c = get_config()
c.CourseDirectory.course_id = "talking-heads"
c.Execute.timeout = 600  # seconds for one cell; nbgrader's own limit is 30
c.ClearSolutions.code_stub = {{"python": {stub!r}}}
c.OverwriteCells.add_missing_cells = True  # a check that was deleted comes back
# Pictures in place of widgets, and silence: a check that writes to stderr counts as failed.
os.environ |= {{"TH_STATIC": "1", "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}}
"""
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


@dataclass
class Exercise:
    """A checked exercise, taken apart."""

    title: str
    given: str
    solution: str
    forms: str
    reference: str
    check: ast.Call

    @property
    def name(self) -> str:
        return self.check.args[0].value

    @property
    def option(self) -> dict[str, ast.expr]:
        return {one.arg: one.value for one in self.check.keywords}

    @property
    def missed(self) -> str:
        return ast.literal_eval(self.option.get("hint", ast.Constant("")))

    def visible(self) -> str:
        """The part of the check that students see: not the stub, the right form, and the seal of a literal."""
        stub = f"assert answer is not None and answer is not ..., {f'{self.name}: still the stub. {self.missed}'!r}\n"
        try:
            right = literal(self.check.args[2])
        except ValueError:
            return f"{stub}{self.forms}# The value is compared when this is graded.\n"
        salt = hashlib.sha256(self.solution.encode()).hexdigest()[:8]
        return (
            stub
            + self.forms
            + SEAL.format(salt=salt, seals=seals(right, salt), missed=repr(f"{self.name}: not yet. {self.missed}"))
        )

    def hidden(self) -> str:
        answer, expected = map(ast.unparse, self.check.args[1:3])
        options = "".join(f", {name}={ast.unparse(value)}" for name, value in self.option.items())
        return HIDDEN.format(
            reference=self.reference, answer=answer, expected=expected, name=repr(self.name), options=options
        )


def is_solution(cell) -> bool:
    return TAG in cell.metadata.get("tags", [])


# --- taking a solution apart ---


def titled(source: str) -> str:
    """The first line of a stub: what a solution is called may say how it goes."""
    return re.sub(
        r"^# (?:@title )?(?:Solution to e|A start on e|E)xercise (\d+).*", r"# Exercise \1", source.splitlines()[0]
    )


def parsed(source: str) -> Exercise | None:
    """A solution cell taken apart; None for an open exercise. Raises `ValueError` for a check that cannot be cut."""
    if not source.strip():
        raise ValueError("a solution cell is empty: write the solution, or take its tag away")
    title, tree = titled(source), ast.parse(source)
    checks = [node for node in tree.body if isinstance(node, ast.Expr) and is_check(node.value)]
    if len(checks) > 1 or len(checks) != sum(map(is_check, ast.walk(tree))):
        raise ValueError(f"a solution has at most one check, on a line of its own at the top level: {title}")
    if not checks:
        return None
    (check,) = checks
    name, given, *rest = [*check.value.args, None, None][: max(2, len(check.value.args))]
    if not (isinstance(given, ast.Name) and given.id == "answer" and isinstance(name, ast.Constant) and len(rest) == 1):
        raise ValueError(f"the check must read th.exercise(name, answer, expected, tolerance=…): {ast.unparse(check)}")
    forms = [node for node in tree.body if isinstance(node, ast.Assert)]
    needed = set().union(*(names(part, ast.Load) for part in [*rest, *check.value.keywords]))
    own = "answer" in needed
    needed |= set().union(*(names(one, ast.Load) for one in forms)) - {"answer"}
    kept = []
    for node in reversed(tree.body[: tree.body.index(check)]):
        if isinstance(node, ast.Import | ast.ImportFrom) or defined(node) & needed:
            kept.insert(0, node)
            needed |= names(node, ast.Load)
    if own or any("answer" in names(node, ast.Store) | names(node, ast.Load) for node in kept):
        raise ValueError(f"the check needs `answer` itself, so its stub would hold the solution: {ast.unparse(check)}")
    first = next((i for i, node in enumerate(tree.body) if "answer" in names(node, ast.Store)), 0)
    parts = {"given": "", "solution": "", "forms": "", "reference": "", "check": ""}
    lines, start = source.splitlines(), 1 if source.startswith("# ") else 0
    for i, node in enumerate(tree.body):
        kind = "given" if i < first else "reference"
        kind = "check" if node is check else "forms" if node in forms else kind if node in kept else "solution"
        parts[kind] += "\n".join(lines[start : node.end_lineno]).strip("\n") + "\n"
        start = node.end_lineno
    parts["check"] = check.value
    return Exercise(title, **parts)


def is_check(node) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "th.exercise"


def names(node, context) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, context)}


def defined(node) -> set[str]:
    """The names that a statement makes or changes: assignments (in place too), functions, loops, `x.append(…)`."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    written = names(node, ast.Store)
    for one in ast.walk(node):  # the variable of a comprehension lives in it alone
        if isinstance(one, ast.comprehension):
            written -= names(one.target, ast.Store)
    for one in ast.walk(node):  # x[i] = …, x.y = …, x.append(…): the name is loaded, and still changed
        if isinstance(one, ast.Subscript | ast.Attribute) and isinstance(one.ctx, ast.Store):
            written |= names(one.value, ast.Load)
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
            if one.func.attr in ("append", "add", "update", "extend") and isinstance(one.func.value, ast.Name):
                written.add(one.func.value.id)
    return written


# --- right answers ---


def literal(node) -> list[float]:
    """The numbers of an expression without names: arithmetic, lists, `torch.tensor(…)`. `ValueError` for others."""
    match node:
        case ast.Constant(value=int() | float()):
            return [float(node.value)]
        case ast.UnaryOp(op=ast.USub()):
            return [-x for x in literal(node.operand)]
        case ast.BinOp() if type(node.op) in OPERATORS:
            (left,), (right,) = literal(node.left), literal(node.right)
            return [OPERATORS[type(node.op)](left, right)]
        case ast.List() | ast.Tuple():
            return [x for one in node.elts for x in literal(one)]
        case ast.Call(args=[only], keywords=[]) if ast.unparse(node.func) == "torch.tensor":
            return literal(only)
    raise ValueError(f"no literal: {ast.unparse(node)}")


def seals(right: list[float], salt: str) -> list[str]:
    """Hashes of all that the right numbers can be rounded to, a thousandth up or down."""
    near = [sorted({f"{round(x * by, 6) + 0:.3g}" for by in (0.9991, 1, 1.0009)}) for x in right]
    said = [f"{salt} {' '.join(one)}" for one in itertools.product(*near)]
    return sorted(hashlib.sha256(one.encode()).hexdigest()[:12] for one in said)


# --- cells ---


def stub(source: str) -> str:
    """What students see of one solution cell and its check, as one text."""
    exercise = parsed(source)
    if exercise is None:
        return f"{titled(source)}\n# Your experiment:\n"
    return f"{exercise.title}\n{exercise.given}{STUB}\n{exercise.visible()}"


def cell(kind: str, source: str, number: str, role: str, points: int = 0, **flags: bool):
    """A cell that nbgrader knows, by the exercise's number and a role."""
    made = getattr(nbformat.v4, f"new_{kind}_cell")(source.strip())
    meta = {"grade": False, "solution": False, "locked": False, "task": False} | flags
    made.metadata.nbgrader = meta | {"schema_version": 3, "grade_id": f"exercise-{number}{role}"}
    if points:
        made.metadata.nbgrader["points"] = points
    made.id = made.metadata.nbgrader.grade_id
    return made


def closed(exercise: Exercise, number: str, points: int) -> list:
    """The cell to solve and its locked check."""
    body = f"### BEGIN SOLUTION\n{exercise.solution}### END SOLUTION"
    check = f"# Check of exercise {number}\n{exercise.visible()}{exercise.hidden()}"
    return [
        cell("code", f"{exercise.title}\n{exercise.given}{body}", number, "", solution=True),
        cell("code", check, number, "-check", points, grade=True, locked=True),
    ]


def opened(source: str, scheme: str, number: str, points: int) -> list:
    """The task with its mark scheme, and room to work in."""
    start = source.split("\n", 1)[1].strip()
    text = TASK.format(number=number, points=points, scheme=scheme, start=start)
    task = cell("markdown", text, number, "", points, task=True, locked=True)
    code = nbformat.v4.new_code_cell(f"{titled(source)}\n# Your experiment:", id=f"exercise-{number}-code")
    report = "*What I expected, what I found, and what it does not show:*"
    return [task, code, nbformat.v4.new_markdown_cell(report, id=f"exercise-{number}-report")]


def lecturer_version(notebook):
    """A copy whose exercises are cells of nbgrader, with solutions, hidden tests and mark schemes."""
    notebook = nbformat.from_dict(notebook)
    cells, number, points, scheme = [], "0", 0, ""
    for one in notebook.cells:
        if one.cell_type == "markdown" and (found := RUNG.search(one.source)):
            number, points = found[1], int(found[2])
            scheme = "\n\n".join(MODEL.findall(one.source))
            one.source = HOW.sub(FOR_STUDENTS, MODEL.sub("", HINT.sub("", one.source))).strip()
        if not is_solution(one):
            cells.append(one)
        elif exercise := parsed(one.source):
            cells += closed(exercise, number, points)
        else:
            cells += opened(one.source, scheme, number, points)
    notebook.cells = cells
    return notebook


def student_version(notebook):
    """The lecturer's copy without solutions, hidden tests and mark schemes, as nbgrader would cut it."""
    notebook = lecturer_version(notebook)
    for one in notebook.cells:
        if "nbgrader" in one.metadata:
            text = re.sub(r"^### BEGIN SOLUTION.*?^### END SOLUTION", STUB, one.source, flags=re.S | re.M)
            text = re.sub(r"^### BEGIN HIDDEN TESTS.*?^### END HIDDEN TESTS", "", text, flags=re.S | re.M)
            one.source = re.sub(r"^=== BEGIN MARK.*?END MARK SCHEME ===", "", text, flags=re.S | re.M).strip()
    return notebook


# --- tests of the checks ---


def with_failing_stubs(notebook):
    """A copy in which every stub is run before its solution and must fail, and every check after it and must pass."""
    notebook = nbformat.from_dict(notebook)
    cells = []
    for one in notebook.cells:
        exercise = parsed(one.source) if is_solution(one) else None
        if exercise is None:
            cells.append(one)
            continue
        body = "\n".join(f"    {line}" for line in stub(one.source).splitlines())
        text = f'try:\n{body}\nexcept AssertionError as error:\n    assert "still the stub" in str(error), error\n'
        trial = nbformat.v4.new_code_cell(text + 'else:\n    raise AssertionError("the check passed on its stub")')
        check = nbformat.v4.new_code_cell(exercise.visible() + exercise.hidden())
        trial.id, check.id = f"{one.id[:50]}-stub", f"{one.id[:50]}-check"
        cells += [trial, one, check]
    notebook.cells = cells
    return notebook


def unknown(cells: list, index: int) -> set[str]:
    """Names that the stub or the hidden test of cell `index` uses and nobody before it makes: the cut took too much."""
    known = set(dir(builtins))
    for one in cells[:index]:
        if one.cell_type == "code" and not is_solution(one):
            known |= made(one.source)
    text, exercise = stub(cells[index].source), parsed(cells[index].source)
    text += exercise.hidden() if exercise else ""
    return names(ast.parse(text), ast.Load) - known - made(text)


def made(source: str) -> set[str]:
    """All names that a cell makes, comprehension and function variables among them."""
    tree = ast.parse(re.sub(r"^(\s*)%.*$", r"\1pass", source, flags=re.M))
    found = names(tree, ast.Store)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            found |= {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
            found |= {getattr(node, "name", "")}
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return found


# --- files ---


def write(sources: list[Path], folder: Path, version=student_version) -> list[Path]:
    """One version of each notebook, in `folder`."""
    made = [(source, version(nbformat.read(source, as_version=4))) for source in sources]
    if any(source.parent.resolve() == folder.resolve() for source in sources):
        raise ValueError(f"{folder} holds the sources: name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for source, notebook in made:
        nbformat.write(notebook, folder / source.name)
    return [folder / source.name for source in sources]


def write_course(sources: list[Path], folder: Path) -> list[Path]:
    """A course folder of nbgrader: its configuration, and one assignment for each chapter."""
    made = [path for one in sources for path in write([one], folder / "source" / one.stem, lecturer_version)]
    (folder / "nbgrader_config.py").write_text(CONFIG.format(stub=STUB), encoding="utf8")
    return made


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    chapters = sorted((root / "notebooks").glob("*.ipynb"))
    for path in write(chapters, root / "_build" / "student") + write_course(chapters, root / "_build" / "course"):
        print(path)
