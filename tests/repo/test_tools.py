"""The build tools: what invalidates an executed notebook, and what a reader sees when set-up cannot work."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]
BOOTSTRAP = ROOT / "tools" / "bootstrap.py"
sys.path.insert(0, str(ROOT / "tools"))  # build.py imports its neighbours


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def build(project, monkeypatch):
    module = load("build")
    for name, path in {
        "ROOT": ".",
        "BUILD": "_build",
        "CACHES": "_build/.jupyter_cache",
        "REPORTS": "_build/reports",
        "RUNS": ".nbmake",
    }.items():
        monkeypatch.setattr(module, name, project / path)
    return module


@pytest.fixture
def project(tmp_path):
    """The smallest checkout that has everything a key depends on."""
    for name, text in {
        "th_utils/a.py": "A = 1\n",
        "th_utils/views/view.js": "let a;\n",
        "constraints.txt": "a==1\n",
        "book/index.md": "# A\n",
        "README.md": "#\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def notebook(code: str = "6 * 7", prose: str = "# Title"):
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return new_notebook(cells=[new_markdown_cell(prose), new_code_cell(code)], metadata=metadata)


# --- the key ---


CODE = ["th_utils/a.py", "th_utils/b.py", "th_utils/views/view.js", "constraints.txt"]
PROSE = ["book/index.md", "README.md", "th_utils/__pycache__/a.pyc", "notebooks/0.ipynb"]


@pytest.mark.parametrize("name", CODE)
def test_key_changes_with_code_and_pins(build, project, name):
    before = build.cache_key("m")
    (project / name).write_text("changed = 1\n")
    assert build.cache_key("m") != before


def test_key_changes_when_a_module_is_renamed_or_removed(build, project):
    keys = [build.cache_key("m")]
    (project / "th_utils" / "a.py").rename(project / "th_utils" / "b.py")
    keys.append(build.cache_key("m"))
    (project / "th_utils" / "b.py").unlink()
    keys.append(build.cache_key("m"))
    assert len(set(keys)) == 3


def test_key_changes_with_the_model(build, project):
    assert build.cache_key("smollm2-135m") != build.cache_key("tiny-gpt2")


@pytest.mark.parametrize("name", PROSE)
def test_key_ignores_prose_and_byte_code(build, project, name):
    before = build.cache_key("m")
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text("changed")
    assert build.cache_key("m") == before


# --- one execution ---


@pytest.fixture
def execute(build, project, monkeypatch):
    """Runs the execute stage with nbmake replaced by a recorder; returns the names of what it was given."""

    def run() -> list[str]:
        ran = []

        def record(arguments, report, env):
            cases = []
            for path in map(Path, arguments):
                if path.suffix != ".ipynb":
                    continue
                ran.append(path.name)
                done = nbformat.read(path, as_version=4)
                code = done.cells[1]
                code.outputs = [new_output("execute_result", {"text/plain": "42"}, execution_count=1)]
                code.metadata["execution"] = {"timing": "nbmake writes some"}
                nbformat.write(done, path)
                inside = "<failure/>" if "fail" in code.source else ""
                inside += '<properties><property name="peak MB" value="1"/></properties>'
                cases.append(f'<testcase name="{path.name}" time="1.5">{inside}</testcase>')
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
            return not any("failure" in case for case in cases)

        monkeypatch.setattr(build, "pytest", record)
        monkeypatch.setattr(build, "fetch", lambda model: None)
        try:
            build.execute("m")
        except build.Failed:
            ran.append("failed")
        return ran

    return run


def test_notebook_is_executed_once_per_key(execute, project):
    nbformat.write(notebook(), project / "notebooks" / "0.ipynb")
    assert execute() == ["0.ipynb"]
    assert execute() == []
    nbformat.write(notebook(prose="# Another title"), project / "notebooks" / "0.ipynb")
    assert execute() == []
    nbformat.write(notebook(code="6 * 8"), project / "notebooks" / "0.ipynb")
    assert execute() == ["0.ipynb"]
    (project / "th_utils" / "a.py").write_text("A = 2\n")
    assert execute() == ["0.ipynb"]


def test_failing_notebook_is_run_again_and_does_not_spoil_the_others(execute, project):
    nbformat.write(notebook(), project / "notebooks" / "0.ipynb")
    nbformat.write(notebook(code="fail"), project / "notebooks" / "1.ipynb")
    assert execute() == ["0.ipynb", "1.ipynb", "failed"]
    assert execute() == ["1.ipynb", "failed"]


def test_cache_holds_outputs_and_time(build, execute, project):
    nbformat.write(notebook(), project / "notebooks" / "0.ipynb")
    execute()
    cache = build.open_cache("m")
    record = cache.match_cache_notebook(notebook())
    assert record.data["execution_seconds"] == 1.5
    _, merged = cache.merge_match_into_notebook(notebook())
    assert merged.cells[1].outputs[0].data["text/plain"] == "42"


def test_old_caches_are_dropped_and_the_one_in_use_is_kept(build, project):
    for age in range(build.KEPT_CACHES + 3):
        path = build.CACHES / f"old{age}"
        path.mkdir(parents=True)
        os.utime(path, (1000 + age, 1000 + age))
    build.open_cache("m")
    build.prune_caches()
    left = {path.name for path in build.CACHES.iterdir()}
    assert len(left) == build.KEPT_CACHES and build.cache_key("m") in left and "old0" not in left


# --- set-up that cannot work ends in one line ---


@pytest.fixture
def bootstrap(tmp_path, monkeypatch):
    module = load("bootstrap")
    (tmp_path / "hashes").mkdir()
    for name in ("pyproject.toml", "hashes/torch.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for name, path in {
        "ROOT": ".",
        "VENV": ".venv",
        "STAMP": ".venv/talking-heads.json",
        "PIP_LOG": "_build/logs/pip.log",
    }.items():
        monkeypatch.setattr(module, name, str(tmp_path / path))
    return module


def test_old_python_is_refused_in_one_line(bootstrap, monkeypatch):
    monkeypatch.setattr(bootstrap, "OLDEST", (9, 0))
    with pytest.raises(SystemExit) as stop:
        bootstrap.main([])
    assert "Python 9.0 or newer is needed" in str(stop.value) and "\n" not in str(stop.value)


def test_bootstrap_has_no_syntax_that_an_old_python_cannot_read():
    """No f-string, annotation, walrus and so on: they would end in a SyntaxError, not in the line."""
    import ast

    tree = ast.parse(BOOTSTRAP.read_text(encoding="utf8"))
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Nonlocal, ast.YieldFrom)
    assert not [node for node in ast.walk(tree) if isinstance(node, newer)]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert not node.args.kwonlyargs and node.returns is None
            assert not any(one.annotation for one in node.args.args)
        if isinstance(node, ast.Raise):
            assert node.cause is None


def test_python_without_venv_is_refused_in_one_line(bootstrap, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        bootstrap.main([])
    assert "has no module venv" in str(stop.value) and "\n" not in str(stop.value)


def test_full_disk_is_refused_before_anything_is_made(bootstrap, monkeypatch):
    monkeypatch.setattr(bootstrap, "NEEDED_GB", 10**9)
    with pytest.raises(SystemExit) as stop:
        bootstrap.main([])
    assert "GB free" in str(stop.value) and not os.path.exists(bootstrap.VENV)


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("WARNING: Retrying ... NewConnectionError(...)\nERROR: No matching distribution", "cannot reach"),
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "no disk space"),
        ("ERROR: first\nERROR: Cannot install a and b", "Cannot install a and b"),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n"
            "    a==1 from http://user:secret@mirror/a-1.whl#sha256=55 (from -r hashes/rest.txt (line 5)):\n"
            "        Expected sha256 11\n        Expected     or 22\n             Got        55\n\n",
            "a-1.whl has sha256 55, which hashes/ does not list",
        ),
    ],
)
def test_pip_failure_is_explained(bootstrap, output, line):
    assert line in bootstrap.explain(output) and "\n" not in bootstrap.explain(output)


def test_half_finished_environment_is_made_anew(bootstrap, monkeypatch):
    calls = []
    monkeypatch.setattr(bootstrap, "pip", lambda arguments, what: calls.append(what))
    os.makedirs(bootstrap.VENV)
    leftover = Path(bootstrap.VENV) / "leftover"
    leftover.touch()
    bootstrap.install()
    assert not leftover.exists() and len(calls) == 5
    bootstrap.install()
    assert len(calls) == 5, "a finished environment must not be installed again"
    with open(Path(bootstrap.ROOT) / "hashes" / "torch.txt", "a") as handle:
        handle.write("# changed\n")
    bootstrap.install()
    assert len(calls) == 10


@pytest.mark.parametrize("build", ["+cpu", ""])
def test_torch_goes_first_and_decides_whether_cuda_is_installed(bootstrap, monkeypatch, build):
    calls = []

    def pip(arguments, what):
        calls.append(" ".join(arguments))
        if "--no-index" in arguments and not build:
            raise bootstrap.Stop("No matching distribution found for torch")
        if "hashes/torch.txt" in arguments:
            (Path(bootstrap.VENV) / f"lib/python3.11/site-packages/torch-2.13.0{build}.dist-info").mkdir(parents=True)

    monkeypatch.setattr(bootstrap, "pip", pip)
    bootstrap.install()
    first = ["--no-index --no-deps -r hashes/torch.txt"] + ["--no-deps -r hashes/torch.txt"] * (not build)
    assert calls[: len(first)] == first
    (rest,) = [call for call in calls if "hashes/rest.txt" in call]
    assert ("hashes/cuda.txt" in rest) == (not build)


def test_a_torch_that_is_not_listed_stops_the_set_up(bootstrap, monkeypatch):
    def pip(arguments, what):
        calls.append(arguments)
        raise bootstrap.Stop("installing torch failed: torch-2.whl has sha256 55, which hashes/ does not list")

    calls = []
    monkeypatch.setattr(bootstrap, "pip", pip)
    with pytest.raises(SystemExit, match="does not list"):
        bootstrap.main([])
    assert len(calls) == 1 and not os.path.exists(bootstrap.STAMP)


def test_unknown_target_is_refused_with_the_list():
    command = [sys.executable, str(ROOT / "tools" / "build.py"), "nonsense"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode and "expected one of book, test" in result.stderr
    assert "Traceback" not in result.stderr
