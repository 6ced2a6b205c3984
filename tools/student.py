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
    if not source.strip():
        raise ValueError("a solution cell is empty: write the solution, or take its tag away")
    title = re.sub(r"^# (@title )?(Solution to e|A start on e|E)xercise", "# Exercise", source.splitlines()[0])
    tree = ast.parse(source)
    checks = [node for node in tree.body if isinstance(node, ast.Expr) and is_check(node.value)]
    if len(checks) > 1 or len(checks) != sum(map(is_check, ast.walk(tree))):
        raise ValueError(f"a solution has at most one check, on a line of its own at the top level: {title}")
    if not checks:
        return f"{title}\n# Your experiment:\n"
    (check,) = checks
    name, given, *rest = [*check.value.args, None, None][: max(2, len(check.value.args))]
    if not (isinstance(given, ast.Name) and given.id == "answer" and isinstance(name, ast.Constant)):
        raise ValueError(f"the check must read th.exercise(name, answer, expected, …): {ast.unparse(check)}")
    needed = set().union(*(names(part, ast.Load) for part in [*rest, *check.value.keywords]))
    kept = [check]
    for node in reversed(tree.body[: tree.body.index(check)]):
        if isinstance(node, ast.Import | ast.ImportFrom) or defined(node) & needed:
            kept.insert(0, node)
            needed |= names(node, ast.Load)
    if any("answer" in names(node, ast.Store) for node in kept):
        raise ValueError(f"the check needs `answer` itself, so its stub would hold the solution: {ast.unparse(check)}")
    lines = source.splitlines()
    starts = [min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))]) for node in kept]
    text = ["\n".join(lines[start - 1 : node.end_lineno]) for start, node in zip(starts, kept, strict=True)]
    return "\n".join([title, "answer = ...  # yours", *text]) + "\n"


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
    made = [(source, student_version(nbformat.read(source, as_version=4))) for source in sources]
    if any(source.parent.resolve() == folder.resolve() for source in sources):
        raise ValueError(f"{folder} holds the sources: name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for source, notebook in made:
        nbformat.write(notebook, folder / source.name)
    return [folder / source.name for source in sources]


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    for path in write(sorted((root / "notebooks").glob("*.ipynb")), root / "_build" / "student"):
        print(path)
