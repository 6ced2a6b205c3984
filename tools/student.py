"""Notebooks for students: every solution cut down to the stub that it answers.

The solution is the source. A solution cell hands `answer` to `th.exercise`; its stub keeps what the check needs (the
statements that the other arguments depend on), puts `answer = ...` in place of the rest, and so fails until it is
solved. Cells without a check, the open exercises, become an empty cell with their title.
"""

import ast
import builtins
import re
from pathlib import Path

import nbformat

TAG = "solution"


def is_solution(cell) -> bool:
    return TAG in cell.metadata.get("tags", [])


def stub(source: str) -> str:
    """The stub of one solution cell. Raises `ValueError` for a check that is not `th.exercise(name, answer, …)`."""
    title = re.sub(r"^# (Solution to e|A start on e|E)xercise", "# Exercise", source.splitlines()[0])
    tree = ast.parse(source)
    checks = [node for node in tree.body if isinstance(node, ast.Expr) and is_check(node.value)]
    if not checks:
        return f"{title}\n# Your experiment:\n"
    (check,) = checks
    name, given, *rest = check.value.args
    if not (isinstance(given, ast.Name) and given.id == "answer" and isinstance(name, ast.Constant)):
        raise ValueError(f"the check must read th.exercise(name, answer, expected, …): {ast.unparse(check)}")
    needed = set().union(*(names(part, ast.Load) for part in [*rest, *check.value.keywords]))
    kept = [check]
    for node in reversed(tree.body[: tree.body.index(check)]):
        if isinstance(node, ast.Import | ast.ImportFrom) or defined(node) & needed:
            kept.insert(0, node)
            needed |= names(node, ast.Load)
    lines = source.splitlines()
    text = ["\n".join(lines[node.lineno - 1 : node.end_lineno]) for node in kept]
    return "\n".join([title, "answer = ...  # yours", *text]) + "\n"


def is_check(node) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "th.exercise"


def names(node, context) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, context)}


def defined(node) -> set[str]:
    """The names that a statement makes: assignments (in place too), functions, loops."""
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    targets = [
        one for part in ast.walk(node) if isinstance(part, ast.Assign | ast.AugAssign)
        for one in (part.targets if isinstance(part, ast.Assign) else [part.target])
    ]  # fmt: skip
    written = set().union(*(names(target, ast.Store) for target in targets)) if targets else set()
    for target in targets:  # x[i] = …, x.y = …: the name is loaded, and still changed
        for one in ast.walk(target):
            if isinstance(one, ast.Subscript | ast.Attribute):
                written |= names(one.value, ast.Load)
    return written


def unknown(cells: list, index: int) -> set[str]:
    """Names that the stub of cell `index` uses and nobody before it defines: the cut took too much."""
    known = set(dir(builtins))
    for cell in cells[:index]:
        if cell.cell_type == "code" and not is_solution(cell):
            known |= made(cell.source)
    text = stub(cells[index].source)
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


def student_version(notebook):
    """A copy with stubs in place of solutions."""
    notebook = nbformat.from_dict(notebook)
    for cell in notebook.cells:
        if is_solution(cell):
            cell.source, cell.metadata = stub(cell.source), nbformat.NotebookNode()
    return notebook


def with_failing_stubs(notebook):
    """A copy in which, before every solution, its stub is run and must fail as a stub: the test of the checks."""
    notebook = nbformat.from_dict(notebook)
    cells = []
    for cell in notebook.cells:
        if is_solution(cell) and "th.exercise(" in cell.source:
            body = "\n".join(f"    {line}" for line in stub(cell.source).splitlines())
            text = f'try:\n{body}\nexcept th.ClaimFailed as error:\n    assert "still the stub" in str(error), error\n'
            trial = nbformat.v4.new_code_cell(text + 'else:\n    raise AssertionError("the check passed on its stub")')
            trial.id = f"{cell.id[:50]}-stub"
            cells.append(trial)
        cells.append(cell)
    notebook.cells = cells
    return notebook


def write(sources: list[Path], folder: Path) -> list[Path]:
    """The student version of each notebook, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources:
        nbformat.write(student_version(nbformat.read(source, as_version=4)), folder / source.name)
    return [folder / source.name for source in sources]
