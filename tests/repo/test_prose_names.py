"""Files, commands and names that the prose for readers and contributors mentions are there."""

import re
import tomllib
from pathlib import Path

import pytest

import th_utils as th
from th_utils import tasks
from th_utils.models import loading as models
from th_utils.models import pypi as fetch
from th_utils.models import tiny

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "book").glob("*.md"))]
EXAMPLES = {"th_utils/static/kind.js", "config.json", "_build/student"}  # a placeholder, a model's, made by make
FILE = re.compile(r"[\w.-]+(/[\w.-]+)*(/|\.(py|md|yml|toml|txt|cff|js|json|ipynb))")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]["optional-dependencies"]


@pytest.fixture(params=PAGES, ids=lambda path: path.stem)
def text(request):
    return request.param.read_text(encoding="utf8")


def quoted(text: str) -> list[str]:
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.S))


def commands(text: str) -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", text, flags=re.S)
    lines = [line.split(" #")[0].removeprefix("$ ").strip() for block in blocks for line in block.splitlines()]
    return lines + [one for one in quoted(text) if re.match(r"(make|pip|python|git) ", one)]


def test_files_exist(text):
    named = {one for one in quoted(text) if FILE.fullmatch(one)} - EXAMPLES
    known = {path.name for folder in ("th_utils", "tools", "tests") for path in (ROOT / folder).rglob("*")}
    assert not [one for one in named if not (ROOT / one).exists() and one not in known]


def test_names_of_the_module_exist(text):
    for name in re.findall(r"`th\.(?!name`)([a-z]\w*(?:\.\w+)*)", text):  # `th.name` stands for any
        found = th
        for part in name.split("."):
            assert hasattr(found, part), f"th.{name}"
            found = getattr(found, part)


def test_make_targets_and_variables_exist(text):
    makefile = (ROOT / "Makefile").read_text(encoding="utf8")
    targets, used = (set(re.findall(one, makefile, re.M)) for one in (r"^([a-z]+):", r"\b([A-Z_]+)\b"))
    for command in commands(text):
        for word in command.split()[1:] if command.startswith("make ") else []:
            assert (word.split("=")[0] in used) if "=" in word else (word in targets), command


def test_extras_and_pins_are_right(text):
    pins = (ROOT / "constraints.txt").read_text(encoding="utf8").split()
    for command in commands(text):
        for extras in re.findall(r"\.\[([\w,]+)\]", command):
            assert set(extras.split(",")) <= set(EXTRAS), command
        assert all(pin in pins for pin in re.findall(r"torch==[\d.]+", command)), command


def test_set_up_of_a_hub_is_what_the_module_reads(tmp_path, monkeypatch, capsys):
    """The variable and the command of the recipe for JupyterHub, on a model that needs no network."""
    recipe = (ROOT / "book" / "teaching.md").read_text(encoding="utf8").split("## Running it for many")[1]
    lines = commands(recipe)
    assert "python -m th_utils.models fetch" in lines and any(line.startswith("export TH_CACHE=") for line in lines)
    monkeypatch.setenv("TH_CACHE", str(tmp_path / "weights"))
    assert fetch.cache_dir() == tmp_path / "weights"
    assert models.main(["fetch", "tiny-llama"]) == 0 and "nothing to fetch" in capsys.readouterr().out


def test_what_contributors_are_told_about_tasks_holds():
    folder = Path(tasks.__file__).parent
    with_generate = {path.stem for path in folder.glob("*.py") if "\ndef generate(" in path.read_text(encoding="utf8")}
    assert set(tiny.TASKS) == with_generate <= set(tasks.__all__)


def test_what_contributors_are_told_about_live_figures_holds():
    """Every script calls `enliven` once, with the kind that some function of the module hands to `enlivened`."""
    source = "\n".join(path.read_text(encoding="utf8") for path in (ROOT / "th_utils").glob("*.py"))
    kinds = set(re.findall(r"enlivened\(\s*\"(\w+)\"", source))
    scripts = {path.stem for path in (ROOT / "th_utils" / "static").glob("*.js")} - {"live"}
    assert kinds == scripts
    for kind in kinds:
        script = (ROOT / "th_utils" / "static" / f"{kind}.js").read_text(encoding="utf8")
        assert script.count(f'enliven("{kind}", ') == 1
