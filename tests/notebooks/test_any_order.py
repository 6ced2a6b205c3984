"""The chapters once more, backwards in one kernel and in an empty folder: they show what the book shows.

The run for the book is one fresh kernel for each chapter. Here every chapter runs among what the later ones have left.
"""

import ast
import os
import re
import sys
from pathlib import Path

import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import build  # noqa: E402

CHAPTERS = sorted(path.name for path in (ROOT / "notebooks").rglob("*.ipynb"))
# Not compared: a picture, whose numbers are in its alternative text, and float error, which th.identity limits.
MAY_DIFFER = re.compile(r"data:image/[^\"')]+|(?<=largest gap )[-+\de.]+")
START = """
import os, matplotlib, sklearn, torch
import th_utils as th
model = th.load_model()  # libraries set variables when they are first used; not every chapter loads it
_folder = os.getcwd()

def _state():
    return {"style": dict(matplotlib.rcParams), "folder": os.getcwd(), "files": os.listdir(_folder),
            "variables": dict(os.environ), "threads": torch.get_num_threads(), "numbers": torch.get_default_dtype()}

_before = _state()
"""
# What a chapter has to leave as it was. Runs in the kernel, beside the chapters' own names.
LEFT = """
def _left():
    now, fresh = _state(), th.load_model().original_model.state_dict()
    found = [what for what in now if now[what] != _before[what]]
    if any(not torch.equal(value, fresh[name]) for name, value in model.original_model.state_dict().items()):
        found.append("weights")
    if any(point.fwd_hooks or point.bwd_hooks for point in model.hook_dict.values()):
        found.append("hooks")
    if torch.is_grad_enabled() or any(parameter.requires_grad for parameter in model.parameters()):
        found.append("gradients")
    return found

_left()
"""
SPOILING = """
model.blocks[0].attn.o.original_component.weight[0, 0] += 1
model.hook_embed.add_hook(lambda value, hook: value)
torch.set_grad_enabled(True), torch.set_num_threads(3), torch.set_default_dtype(torch.float64)
matplotlib.rcParams["font.size"], os.environ["HOME"] = 3, "elsewhere"
os.mkdir("new"), os.chdir("new")
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    """Chapter -> what it shows in the book, what it shows here, and what it has left; run when the first test asks."""
    model = build.tiny_model(build.STUB_MODEL)  # the stubs of the exercises run here too
    cache, chapters = build.open_cache(model), build.sources(model)
    if missing := [name for name, one in chapters.items() if not build.is_cached(cache, one)]:
        say = pytest.fail if os.environ.get("TH_BOOK_BUILT") else pytest.skip  # set by make, which has just run them
        say(f"not run on {model} yet, make check does: {missing}")
    book = {name: cache.merge_match_into_notebook(one)[1] for name, one in chapters.items()}
    whole = new_notebook(cells=[new_code_cell(START)])
    parts = {name: [new_code_cell(cell.source) for cell in code(book[name])] for name in reversed(CHAPTERS)}
    for cells in [*parts.values(), parts.setdefault("control", [new_code_cell(SPOILING)])]:
        cells.append(new_code_cell(LEFT))
        whole.cells += cells
    with pytest.MonkeyPatch.context() as patch:
        for name, value in build.run_environment(model).items():
            patch.setenv(name, value)
        path = {"metadata": {"path": str(tmp_path_factory.mktemp("empty"))}}
        NotebookClient(whole, timeout=build.CELL_TIMEOUT, kernel_name="python3", resources=path).execute()
    return {
        name: (
            [texts(cell) for cell in code(book[name])] if name in book else [],
            [texts(cell) for cell in cells[:-1]],
            ast.literal_eval(cells[-1].outputs[0].data["text/plain"]),
        )
        for name, cells in parts.items()
    }


def code(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell) -> list[str]:
    """All that a cell shows as text, line by line; stderr is left out: Python shows a warning once per process."""
    shown = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
    for output in cell.outputs:
        shown += "".join(text for kind, text in sorted(output.get("data", {}).items()) if "text/" in kind)
    return MAY_DIFFER.sub("…", shown).splitlines()


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_shows_the_same_in_a_used_kernel_and_an_empty_folder(found, name):
    in_the_book, here, _ = found[name]
    assert in_the_book == here


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_leaves_weights_hooks_gradients_styles_and_the_folder_as_they_were(found, name):
    assert found[name][2] == []


def test_what_a_chapter_can_leave_behind_is_seen(found):
    assert sorted(found["control"][2]) == [
        "files", "folder", "gradients", "hooks", "numbers", "style", "threads", "variables", "weights",
    ]  # fmt: skip
