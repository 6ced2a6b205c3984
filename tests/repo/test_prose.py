"""Files, commands, links, messages, addresses and names that the prose mentions are there, and everywhere the same."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import tiny_models
import yaml

import th_utils as th
from th_utils import tasks
from th_utils.models.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "_ext"))
import api  # noqa: E402

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "book").rglob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
STORED = [f"book/reports/{one.stem}.html" for one in (ROOT / "th_utils" / "report" / "data").iterdir()]  # built
EXAMPLES = {"config.json", "_build/student", "_build/course", "grades.csv"}  # a model's, and made by tools
FILE = re.compile(r"[\w.-]+(/[\w.-]+)*(/|\.(py|md|yml|toml|txt|cff|js|json|ipynb))")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))
OWNER, NAME = CONFIG["repository"]["url"].removeprefix("https://github.com/").split("/")
# The page of a repository, a file in it, Colab's and pip's spellings of both.
MENTION = re.compile(
    r"(?:github\.com|raw\.githubusercontent\.com|colab\.research\.google\.com/github)[/:]([\w-]+/[\w-]+)(?:\.git)?"
    r"(?:@([\w./-]*\w)|/(?:blob|tree|raw|edit)/([\w-]+)(?:/([\w./-]*\w))?)?"
)


def read(*parts: str) -> str:
    return Path(ROOT, *parts).read_text(encoding="utf8")


def tracked() -> list[str]:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listing.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(params=PAGES, ids=lambda path: path.stem)
def text(request):
    return request.param.read_text(encoding="utf8")


def quoted(text: str) -> list[str]:
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.S))


def commands(text: str) -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", text, flags=re.S)
    lines = [line.split(" #")[0].removeprefix("$ ").strip() for block in blocks for line in block.splitlines()]
    return lines + [one for one in quoted(text) if re.match(r"(make|pip|python|git) ", one)]


def test_files_and_names_of_the_module_exist(text):
    named = {one for one in quoted(text) if FILE.fullmatch(one)} - EXAMPLES
    known = {path.name for folder in ("th_utils", "tools", "tests") for path in (ROOT / folder).rglob("*")}
    assert not [one for one in named if not (ROOT / one).exists() and one not in known]
    for name in re.findall(r"`th\.(?!name`)([a-z]\w*(?:\.\w+)*)", text):  # `th.name` stands for any
        found = th
        for part in name.split("."):
            assert hasattr(found, part), f"th.{name}"
            found = getattr(found, part)


def test_commands_name_targets_variables_extras_and_pins_that_exist(text):
    makefile, pins = read("Makefile"), read("constraints.txt").split()
    targets, used = (set(re.findall(one, makefile, re.M)) for one in (r"^([a-z]+):", r"\b([A-Z_]+)\b"))
    for command in commands(text):
        for word in command.split()[1:] if command.startswith("make ") else []:
            assert (word.split("=")[0] in used) if "=" in word else (word in targets), command
        for extras in re.findall(r"\.\[([\w,]+)\]", command):
            assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"]), command
        assert all(pin in pins for pin in re.findall(r"torch==[\d.]+", command)), command


@pytest.mark.real
def test_examples_of_the_module_run(text, default_model, monkeypatch):
    monkeypatch.setattr(th, "load_model", lambda: default_model, raising=False)
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.S):
        exec(compile(block, "an example", "exec"), {})


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda path: path.stem)
def test_relative_links_lead_to_tracked_files(path):
    text, names = path.read_text(encoding="utf8"), tracked() + STORED
    if path.suffix == ".ipynb":
        text = "\n".join(one.source for one in nbformat.reads(text, 4).cells if one.cell_type == "markdown")
    for target in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.S)):
        assert (path.parent / target).resolve().relative_to(ROOT).as_posix() in names, target


def test_every_mention_of_the_repository_is_the_configured_address_and_branch():
    """Files that are linked to are tracked; the set-up cells install from the branch; the workflow writes one more."""
    names, naming, branch = tracked(), set(), CONFIG["repository"]["branch"]
    for file in names:
        for path, at, other, linked in MENTION.findall((ROOT / file).read_bytes().decode("utf8", "replace")):
            if {OWNER, NAME} & set(path.split("/")):  # else somebody else's
                assert path == f"{OWNER}/{NAME}" and (at or other or branch) in (branch, "rendered"), (
                    f"{file}: {path} {at}{other}"
                )
                assert not linked or linked in names, f"{file}: {linked}"
                naming.add(file)
    assert naming >= {
        "_config.yml",
        "CITATION.cff",
        "pyproject.toml",
        *(one for one in names if one.endswith(".ipynb")),
    }


def test_package_citation_and_book_agree():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == PROJECT["version"] == th.__version__
    assert citation["repository-code"] == PROJECT["urls"]["Source"] == CONFIG["repository"]["url"]
    assert citation["title"].startswith(f"{CONFIG['title']}: ")
    assert [one["name"] for one in citation["authors"]] == [CONFIG["author"]] == [PROJECT["authors"][0]["name"]]
    entry = re.search(r"@inproceedings\{merullo2024talking,(.*?)\n\}", read("book", "references.bib"), re.S)[1]
    paper, cited = citation["preferred-citation"], dict(re.findall(r"(\w+) = \{(.*?)\}", entry))
    assert (paper["title"], str(paper["year"])) == (cited["title"], cited["year"])
    assert " and ".join(f"{a['family-names']}, {a['given-names']}" for a in paper["authors"]) == cited["author"]


def test_the_models_page_names_every_model_and_the_api_pages_every_module():
    page = read("book", "models.md")
    assert all(f"`{card.name}`" in page and card.sha256 in page and card.file in page for card in MODELS.values())
    paths = [path for path in (ROOT / "th_utils").rglob("*.py") if path.stem not in ("__init__", "__main__", "_guards")]
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    pages = "".join(path.read_text(encoding="utf8") for path in (ROOT / "book" / "api").glob("*.md"))
    packages = " ".join(re.findall(r"^```\{package\} (.+)$", pages, re.M)).split()
    assert sorted(module for package in packages for module in api.modules(package)) == sorted(modules)


def test_every_message_that_troubleshooting_quotes_is_one_of_ours_and_has_advice():
    page = read("book", "troubleshooting.md")
    files = [*(ROOT / "th_utils").rglob("*.py"), *(ROOT / "tools").glob("*.py"), ROOT / "Makefile"]
    source = re.sub(r"\"\s*\n\s*f?\"", "", "\n".join(path.read_text(encoding="utf8") for path in files))
    ours = re.findall(r"^### (`+) ?(.+?) ?\1$", page.split("## Elsewhere")[0], re.M)
    assert len(ours) > 10
    for _, message in ours:  # whole, with … for what the code fills in
        said = r"(?:\{(?:[^{}]|\{[^{}]*\})*\}|[^\n]*?)".join(map(re.escape, message.split("…")))
        assert re.search(said, source), message
    assert all(len(part.split("\n\n")[1].split()) >= 8 for part in page.split("### ")[1:])


def test_what_contributors_are_told_about_tasks_and_live_figures_holds():
    """A live figure is a .py and a .js of one name; the script calls `enliven` once, with the kind the other gives."""
    folder = Path(tasks.__file__).parent
    with_generate = {path.stem for path in folder.glob("*.py") if "\ndef generate(" in path.read_text(encoding="utf8")}
    assert set(tiny_models.TASKS) == with_generate <= set(dir(tasks))
    scripts = [path for path in (ROOT / "th_utils" / "views" / "live").glob("*.js") if path.stem != "live"]
    assert scripts
    for path in scripts:
        kind = path.stem.replace("_", "-")
        assert path.read_text(encoding="utf8").count(f'enliven("{kind}", ') == 1
        assert f'.enlivened("{kind}", ' in path.with_suffix(".py").read_text(encoding="utf8")
