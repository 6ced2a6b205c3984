"""What assistants are told is true of the code: every name is there, every trap does what its last line says."""

import ast
import re
import sys
from pathlib import Path

import pytest

import th_utils as th

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "_ext"))
import assistants  # noqa: E402

PAGE = (ROOT / "book" / "assistants.md").read_text(encoding="utf8")
TRAPS = dict(re.findall(r"^### (\d+\. .+?)$.*?```\{code-block\} python\n(.*?)```", PAGE, re.M | re.S))
SETTING = re.search(r"```python\n(.*?)```", PAGE, re.S)[1]


@pytest.fixture(scope="module")
def setting(tiny):
    """The names of the first snippet."""
    model, names = tiny("tiny-llama"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(th, "load_model", lambda: model, raising=False)
        exec(compile(SETTING, "the beginning", "exec"), names)
    return names


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_does_what_its_last_line_says(name, setting, refuses):
    setting = dict(setting)
    *first, last = ast.parse(TRAPS[name]).body
    said = TRAPS[name].strip().rsplit("# ", 1)[1]
    if error := re.match(r"(\w+Error): (.+)", said):
        with refuses(re.escape(error[2]), {"ValueError": ValueError, "TypeError": TypeError}[error[1]]):
            exec(TRAPS[name], setting)
    else:
        exec("\n".join(map(ast.unparse, [*first, ast.Assign([ast.Name("found")], last.value, lineno=0)])), setting)
        assert setting["found"] == ast.literal_eval(said)


def test_there_are_ten_traps_and_each_has_a_snippet():
    assert len(TRAPS) == 10 == len(re.findall(r"^### ", PAGE, re.M))


def test_every_public_name_is_listed_once_with_what_it_does():
    found = [entry for place in assistants.names().values() for entry in place]
    written = [re.split(r"[(]", name)[0] for name, _ in found]
    assert len(written) == len(set(written))
    modules = {"laws", "parts", "state", "stats", "tasks", "views", "live"}
    assert {name.split(".")[1] for name in written} == set(th.__all__)
    assert {name.removeprefix("th.") for name in written} >= set(th.__all__) - modules
    assert all(does for name, does in found if "(" in name)


def test_the_plain_text_knows_nothing_of_sphinx():
    text = assistants.full(PAGE)
    assert not re.search(r"\{(th|names|code-block)\}|<a ", text) and "th.path_patch(" in text
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert "notebooks/deeper/01_who_steps_in.html" in links and not [one for one in links if ".md" in one]
