"""Setting up .venv: one readable line where it cannot work, nothing unchecked, nothing twice."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import bootstrap  # noqa: E402


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """A folder of its own, and what pip is asked to install there; `torch` is the build that it would bring."""
    (tmp_path / "hashes").mkdir()
    for name in ("pyproject.toml", "hashes/torch.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    venv = tmp_path / ".venv"
    for name, path in {"ROOT": tmp_path, "VENV": venv, "PYTHON": venv / "bin" / "python",
                       "STAMP": venv / "talking-heads.json", "LOG": tmp_path / "pip.log"}.items():  # fmt: skip
        monkeypatch.setattr(bootstrap, name, path)
    made: list[str] = []
    monkeypatch.setattr(bootstrap, "run", lambda *command: (venv.mkdir(exist_ok=True), (0, ""))[1])
    monkeypatch.setattr(bootstrap, "pip", lambda what, *arguments: made.append(" ".join(map(str, arguments))))
    return made


def failure() -> str:
    """The one line that the reader sees."""
    line = bootstrap.main([])
    assert isinstance(line, str) and line.startswith("error: ") and "\n" not in line
    return line


def test_python_without_venv_is_refused(calls, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "has no module venv" in failure() and not calls


def test_full_disk_is_refused_before_anything_is_made(calls, monkeypatch):
    monkeypatch.setattr(bootstrap, "NEEDED_GB", 10**9)
    assert "GB free" in failure() and not bootstrap.VENV.exists()


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("WARNING: Retrying ... NewConnectionError(...)\nERROR: No matching distribution", "cannot reach"),
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "no disk space"),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n"
            "    a==1 from http://user:secret@mirror/a-1.whl#sha256=55 (from -r hashes/rest.txt (line 5)):\n"
            "        Expected sha256 11\n        Expected     or 22\n             Got        55\n\n",
            "a-1.whl has sha256 55, which hashes/ does not list",
        ),
    ],
)
def test_pip_failure_is_explained(output, line):
    assert line in bootstrap.explain(output) and "\n" not in bootstrap.explain(output)


def test_an_index_that_knows_nothing_for_a_moment_is_asked_again(tmp_path, monkeypatch):
    answers = [(1, "ERROR: No matching distribution found for jedi==1"), (0, "")]
    monkeypatch.setattr(bootstrap, "LOG", tmp_path / "pip.log")
    monkeypatch.setattr(bootstrap, "run", lambda *command: answers.pop(0))
    bootstrap.pip("jedi", "jedi==1")
    assert not answers


def test_half_finished_environment_is_made_anew_and_a_finished_one_left_alone(calls):
    bootstrap.VENV.mkdir()
    (bootstrap.VENV / "leftover").touch()
    assert bootstrap.main([]) == 0 and not (bootstrap.VENV / "leftover").exists() and len(calls) == 5
    assert bootstrap.main([sys.executable, "-c", "raise SystemExit(3)"]) == 3 and len(calls) == 5
    (bootstrap.ROOT / "hashes" / "torch.txt").write_text("changed\n")
    assert bootstrap.main([]) == 0 and len(calls) == 10


@pytest.mark.parametrize("build", ["+cpu", ""])
def test_torch_goes_first_and_decides_whether_cuda_is_installed(calls, monkeypatch, build):
    """From a folder of wheels where one has it, else from the index; each time from the list of hashes."""

    def pip(what, *arguments):
        calls.append(" ".join(map(str, arguments)))
        if "--no-index" in arguments and not build:
            raise bootstrap.Stop("No matching distribution found for torch")
        if what == "torch":
            (bootstrap.VENV / f"lib/python3.11/site-packages/torch-2.13.0{build}.dist-info").mkdir(parents=True)

    monkeypatch.setattr(bootstrap, "pip", pip)
    bootstrap.install()
    torch = "--no-deps -r hashes/torch.txt"
    assert calls[: 2 - bool(build)] == [f"{torch} --no-index", torch][: 2 - bool(build)]
    (rest,) = [call for call in calls if "hashes/rest.txt" in call]
    assert ("hashes/cuda.txt" in rest) == (not build)
    assert all("-r hashes/" in call for call in calls[:-1]) and calls[-1].startswith("--no-deps ")
