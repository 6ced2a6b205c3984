"""Properties of the stored notebooks, read without running them."""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from statistics import median

import nbformat
import pytest
import yaml

from th_utils.models.registry import DEFAULT, MODELS

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(ROOT / "_ext"))
import fold  # noqa: E402
from test_concept_test import CAUTIOUS  # noqa: E402
from toc import contents  # noqa: E402

MAIN = sorted((ROOT / "notebooks").glob("*.ipynb"))
DEEPER = sorted((ROOT / "notebooks" / "deeper").glob("*.ipynb"))
PATHS = [*MAIN, *DEEPER]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))
DIRECTIVE = re.compile(r"^\s*(`{3,}|:{3,})\{|\{[a-z:]+\}`", re.MULTILINE)
RUNGS = ["recall", "modify", "implement", "investigate"]
RUNG = re.compile(r"^### Exercise (\d+) \((\w+), (\d+) min(, open)?\)$", re.M)
HINT = re.compile(r"^<details><summary>Hint (\d)</summary>(.+)</details>$", re.M)
ONE_WAY = re.compile(r"^<details><summary>One way to do it \(solution\)</summary>(.+)</details>$", re.M)
HOW = """The {} exercises take about {} minutes in all: open the three hints one at a time, call your result `answer`
where there is a check (`th.exercise` compares it and says what is missing), and open the folded solution last."""
OPTION = re.compile(r"^<details><summary>([A-D])\. (.+)</summary>(Yes|No): (.+)</details>$", re.M)


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture(params=MAIN, ids=lambda path: path.stem)
def chapter(request):
    return nbformat.read(request.param, as_version=4)


def cells(notebook, kind: str) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def folded(cell) -> bool:
    return bool(fold.FOLDED & set(cell.metadata.get("tags", [])))


def setup_cell(path: Path) -> str:
    return cells(nbformat.read(path, as_version=4), "code")[0].source


def test_notebook_is_valid_runs_on_python3_and_stores_nothing_that_a_run_made(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3" and "widgets" not in notebook.metadata
    for cell in cells(notebook, "code"):
        assert cell.source.strip() and cell.outputs == [] and cell.execution_count is None, cell.source[:80]


def test_cells_are_folded_as_the_tool_folds_them(path):
    text = path.read_text(encoding="utf8")
    assert fold.folded(text) == text, "run make fold"


def test_setup_cell_is_the_same_everywhere(path):
    assert setup_cell(path) == setup_cell(PATHS[0])


def test_setup_cell_installs_from_the_address_of_the_book(path):
    """pip needs the branch, or a fork that lives on another one would install somebody else's."""
    repository = CONFIG["repository"]
    assert f'"th-utils @ git+{repository["url"]}@{repository["branch"]}"' in setup_cell(path)
    assert setup_cell(path).count("github.com") == 1


def test_setup_cell_changes_no_version_that_is_installed(path):
    """What is there goes into the file that the install is held to, before anything is installed."""
    before, install = re.findall(r"^ +%pip (.+)$", setup_cell(path), re.M)
    (kept,) = re.findall(r"list --format=freeze > (\S+)", before)
    assert install.startswith(f"install -q -c {kept} ")
    assert not re.search(r"-U\b|--upgrade|--force|--pre\b|==", install)


def test_setup_cell_offers_the_models_in_a_form_of_colab(path):
    source = setup_cell(path)
    assert source.startswith("# @title ") and len(source.splitlines()) <= 12
    ((default, offered),) = re.findall(r'^MODEL = "(\S+)"  # @param (\[.+?\]) \{allow-input: true\}$', source, re.M)
    offered = json.loads(offered)
    # Nobody can be asked for a yes to terms in a notebook: such a model is named by hand, its terms accepted before.
    assert default == DEFAULT and set(offered) == {name for name, card in MODELS.items() if not card.terms}
    assert source.endswith("\nth.setup(MODEL)")


def test_code_cells_are_short(path, notebook):
    sources = [re.sub("^# @title .*", "", cell.source) for cell in cells(notebook, "code")]
    lengths = [sum(bool(line.strip()) for line in source.splitlines()) for source in sources]
    assert median(lengths) <= 8 or path in DEEPER
    assert max(lengths) <= 25


def test_a_chapter_shows_the_cells_that_measure_and_folds_the_rest(chapter):
    end = next(i for i, cell in enumerate(chapter.cells) if cell.source.startswith("## Check yourself"))
    shown = [cell for cell in chapter.cells[:end] if cell.cell_type == "code" and not folded(cell)]
    assert len(shown) <= 12, [cell.source.splitlines()[0] for cell in shown]


def test_a_chapter_has_at_most_forty_cells_of_code_before_its_questions(chapter):
    """What the argument can spare stands on a deeper page."""
    end = next(i for i, cell in enumerate(chapter.cells) if cell.source.startswith("## Check yourself"))
    assert sum(cell.cell_type == "code" for cell in chapter.cells[:end]) <= 40


def test_lines_of_code_fit_beside_the_text(chapter):
    """The set-up cell has its own test: a form of Colab is one line."""
    lines = [line for cell in cells(chapter, "code")[1:] for line in cell.source.splitlines()]
    assert not [line for line in lines if len(line) > 88]


def test_a_section_says_whose_question_it_is(path, notebook):
    text = "\n".join(cell.source for cell in cells(notebook, "markdown"))
    heads = re.findall(r"^## \d+\. .*\n\n(.*)", text, re.MULTILINE)
    assert path in DEEPER or (heads and all(re.fullmatch(r"\*(From|Ours)\b.*\.\*", line) for line in heads))


def test_no_myst_syntax_that_colab_shows_raw(notebook):
    for cell in cells(notebook, "markdown"):
        assert not DIRECTIVE.search(cell.source), cell.source[:80]


def test_one_title_and_no_skipped_heading_level(notebook):
    """One h1, and levels that go down one step at a time: screen readers navigate by them."""
    fenced = re.compile(r"```.*?```", re.DOTALL)
    text = "\n".join(fenced.sub("", cell.source) for cell in cells(notebook, "markdown"))
    levels = [len(marks) for marks in re.findall(r"^(#{1,6})\s", text, re.MULTILINE)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


def test_every_exercise_is_followed_by_its_solution(chapter):
    kinds = []  # E for an exercise, S for a solution
    for cell in chapter.cells:
        if cell.cell_type == "markdown":
            kinds += re.findall("^### (E)xercise ", cell.source, re.M)
        if "solution" in cell.metadata.get("tags", []):
            kinds.append("S")
    assert re.fullmatch("(ES+){3,}", "".join(kinds))


def test_every_exercise_is_a_rung_with_minutes_and_three_hints(chapter):
    """The ladder from recall to investigate; the minutes add up, and an open exercise tells one way to do it."""
    text = "\n\n".join(cell.source for cell in cells(chapter, "markdown"))
    opening, *exercises = re.split(r"^(?=### Exercise )", text.split("\n## Exercises\n", 1)[1], flags=re.M)
    rungs = [RUNG.match(one) for one in exercises]
    assert all(rungs), [one.splitlines()[0] for one, rung in zip(exercises, rungs, strict=True) if not rung]
    numbers, kinds, minutes, is_open = zip(*(rung.groups() for rung in rungs), strict=True)
    assert [int(number) for number in numbers] == list(range(1, len(rungs) + 1))
    assert set(kinds) == set(RUNGS) and list(kinds) == sorted(kinds, key=RUNGS.index)
    count = ["three", "four", "five", "six"][len(rungs) - 3]
    assert opening.split() == HOW.format(count, sum(map(int, minutes))).split()
    for exercise, kind, alone in zip(exercises, kinds, is_open, strict=True):
        exercise = exercise.split("\n## ")[0]
        assert [number for number, _ in HINT.findall(exercise)] == list("123"), exercise[:80]
        assert exercise.count("<summary>Hint") == 3, exercise[:80]
        assert bool(alone) == (kind == "investigate"), exercise[:80]
        if kind == "investigate":
            (plan,) = ONE_WAY.findall(exercise)
            assert 60 <= len(plan.split()) <= 150, exercise[:80]


def test_quiz_explains_every_answer(chapter):
    """Four questions right before the exercises, each with one right option, and a reason behind every option."""
    (at,) = [i for i, cell in enumerate(chapter.cells) if cell.source.startswith("## Exercises\n")]
    first, *others = (cell.source for cell in chapter.cells[at - 4 : at])
    opening = "## Check yourself\n\nDecide before you open an answer; each one explains itself.\n\n"
    assert first.startswith(opening)
    rights = []
    for number, question in enumerate([first.removeprefix(opening), *others], 1):
        asked, options = question.split("\n\n")
        assert re.match(rf"\*\*Question {number}\.\*\* .+\?$", asked, re.S), asked
        found = OPTION.findall(options)
        assert len(found) == len(options.splitlines()) in (3, 4), options
        assert [letter for letter, *_ in found] == list("ABCD"[: len(found)])
        rights += [letter for letter, _, verdict, _ in found if verdict == "Yes"]
        assert len(rights) == number, f"exactly one option is right: {asked}"
        assert all(len(reason.split()) >= 12 for *_, reason in found), options
    assert len(set(rights)) > 1, "the right answer is always the same letter"
    assert asked.startswith("**Question 4.** Suppose ") and len(asked.split()) <= 62, "the last supposes another case"


def test_neither_place_nor_length_nor_caution_tells_the_right_option_of_a_last_question():
    letters, longest, shortest = Counter(), 0, 0
    for path in MAIN:
        notebook = nbformat.read(path, as_version=4)
        (last,) = (cell.source for cell in notebook.cells if cell.source.startswith("**Question 4.**"))
        length = {letter: len(option) for letter, option, _, _ in OPTION.findall(last)}
        ((right, option),) = ((one, text) for one, text, verdict, _ in OPTION.findall(last) if verdict == "Yes")
        letters[right] += 1
        longest += max(length, key=length.get) == right
        shortest += min(length, key=length.get) == right
        assert not CAUTIOUS.search(option), option
    assert max(letters.values()) <= 5 and longest <= 4 and shortest <= 4, letters


def test_folds_are_closed_and_hold_html(notebook):
    """A line that begins with a tag is no Markdown: backticks and dollars in it would stand on the page as they are."""
    for source in [cell.source for cell in cells(notebook, "markdown")]:
        assert source.count("<details") == source.count("</details>"), source[:80]
        assert not re.search(r"^<details.*(`|\$[^$]+\$)", source, re.M), source[:80]


def test_chapter_of_the_contents_exists():
    named = {page for _, pages in contents(ROOT) for page in pages}
    files = {path.relative_to(ROOT).with_suffix("").as_posix() for path in PATHS}
    assert {name for name in named if name.startswith("notebooks/")} == files
