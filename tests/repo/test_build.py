"""The build: what makes a notebook run again, and that what ran is found again."""

import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import build  # noqa: E402

STYLE = 'import builtins\n\ndef install():\n    builtins.HOUSE_STYLE = "checked"\n'


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The smallest checkout that has everything a key depends on, and a model directory."""
    for name, text in {
        "th_utils/a.py": "A = 1\n",
        "th_utils/views/view.js": "let a;\n",
        "constraints.txt": "a==1\n",
        "tests/house_style.py": STYLE,
        "notebooks/README.md": "#\n",
        "model/model.safetensors": "weights",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    for name, path in {"ROOT": ".", "BUILD": "_build", "CACHES": "_build/caches", "REPORTS": "_build/reports",
                       "STORED": "book/stored", "STYLED": "_build/styled", "TINY": "_build/tiny",
                       "RUNS": ".nbmake"}.items():  # fmt: skip
        monkeypatch.setattr(build, name, tmp_path / path)
    monkeypatch.setattr(build, "fetch", lambda model: None)
    return tmp_path


def test_the_measured_times_are_those_of_the_chapters():
    assert set(build.SECONDS) == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}


# --- the key ---


@pytest.mark.parametrize(
    "name", ["th_utils/a.py", "th_utils/b.py", "th_utils/views/view.js", "constraints.txt", "model/model.safetensors"]
)
def test_key_changes_with_code_pins_and_weights_and_with_the_model(project, name):
    before = build.cache_key(str(project / "model"))
    (project / name).write_text("changed = 1\n")
    assert len({before, build.cache_key(str(project / "model")), build.cache_key("gpt2")}) == 3


def test_key_ignores_prose_byte_code_and_where_a_model_lies(project):
    before = build.cache_key(str(project / "model"))
    for name in ("notebooks/README.md", "th_utils/__pycache__/a.pyc", "elsewhere/README.md"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("changed")
    shutil.move(project / "model", project / "elsewhere")
    assert build.cache_key(str(project / "elsewhere" / "model")) == before


@pytest.mark.parametrize("name", ["_toc.yml", "book/glossary.md", "_ext/look.py", "_ext/new.py", "th_utils/a.py"])
def test_pages_are_built_anew_when_something_changes_that_all_of_them_show(project, name):
    for path in ("_toc.yml", "book/glossary.md", "_ext/look.py"):
        (project / path).parent.mkdir(exist_ok=True)
        (project / path).write_text("a")
    before = build.state_of_pages(str(project / "model"))
    (project / name).write_text("changed = 1\n")
    assert build.state_of_pages(str(project / "model")) != before


def test_a_model_directory_is_named_whole_and_a_known_name_is_left_alone(project, monkeypatch):
    monkeypatch.chdir(project)
    for given, named in (("", "smollm2-135m"), ("gpt2", "gpt2"), ("./model", str(project / "model"))):
        monkeypatch.setenv("TH_MODEL", given)
        assert build.model_name() == named


def test_old_caches_are_dropped_and_the_one_in_use_is_kept(project):
    for age in range(build.KEPT_CACHES + 3):
        path = build.CACHES / f"old{age}"
        path.mkdir(parents=True)
        os.utime(path, (1000 + age, 1000 + age))
    build.open_cache("gpt2")
    left = {path.name for path in build.CACHES.iterdir()}
    assert len(left) == build.KEPT_CACHES and build.cache_key("gpt2") in left and "old0" not in left


# --- one execution ---


def write(project: Path, name: str, *sources: str, prose: str = "# Title") -> None:
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [new_markdown_cell(prose), *map(new_code_cell, sources)]
    nbformat.write(new_notebook(cells=cells, metadata=metadata), project / "notebooks" / name)


def executed(project: Path, model: str = "gpt2") -> dict[str, str]:
    """What Sphinx will find, by notebook: the texts that it shows."""
    cache, found = build.open_cache(model), {}
    for name, notebook in build.sources(model).items():
        if build.is_cached(cache, notebook):
            cells = cache.merge_match_into_notebook(notebook)[1].cells
            found[name] = "".join(out.text for cell in cells for out in cell.get("outputs", ()))
    return found


@pytest.mark.slow
def test_a_notebook_runs_once_and_a_failing_one_again_without_harm_to_the_others(project, monkeypatch):
    write(project, "0.ipynb", "print(6 * 7)", "print(HOUSE_STYLE)")
    write(project, "1.ipynb", "print(1)", "1 / 0")
    write(project, "2.ipynb", "1 / 0", "print(2)")
    with pytest.raises(build.Failed):
        build.execute("gpt2")
    assert executed(project) == {"0.ipynb": "42\nchecked\n"}
    write(project, "0.ipynb", "print(6 * 7)", "print(HOUSE_STYLE)", prose="# Another title")
    write(project, "1.ipynb", "print(1)", "print(1 / 1)")
    (project / "notebooks" / "2.ipynb").unlink()
    build.execute("gpt2")
    assert executed(project) == {"0.ipynb": "42\nchecked\n", "1.ipynb": "1\n1.0\n"}
    monkeypatch.setattr(build, "pytest", lambda *args, **variables: pytest.fail("nothing is left to run"))
    build.execute("gpt2")


@pytest.mark.slow
def test_without_the_house_style_no_notebook_runs(project):
    (project / "tests" / "house_style.py").write_text("1 / 0\n")
    write(project, "0.ipynb", "print(6 * 7)")
    with pytest.raises(build.Failed):
        build.execute("gpt2")
    assert executed(project) == {}


@pytest.mark.slow
def test_a_stored_notebook_is_taken_as_long_as_its_own_code_is_the_same(project, monkeypatch):
    model = build.DEFAULT_MODEL
    build.STORED.mkdir(parents=True)
    write(project, "long.ipynb", "print(6 * 7)")
    write(project, "short.ipynb", "print(1)")
    build.execute(model)
    build.store(["long.ipynb"])
    stored = nbformat.read(build.STORED / "long.ipynb", as_version=4)
    assert stored.metadata["stored"]["day"].startswith("20")
    stored.cells[0].outputs[0].text = "as stored\n"
    nbformat.write(stored, build.STORED / "long.ipynb")
    (project / "th_utils" / "a.py").write_text("A = 2\n")  # other code, another key
    build.execute(model)
    assert executed(project, model) == {"long.ipynb": "as stored\n", "short.ipynb": "1\n"}
    build.execute(model, ["long.ipynb"])
    assert executed(project, model)["long.ipynb"] == "42\n"
    write(project, "long.ipynb", "print(6 * 8)")
    build.execute(model)
    assert executed(project, model)["long.ipynb"] == "48\n"


def test_what_is_stored_belongs_to_pages_as_they_are():
    pages = sorted(path.name for path in (ROOT / "notebooks" / "deeper").glob("*.ipynb"))
    assert pages == sorted(path.name for path in (ROOT / "book" / "stored").iterdir()), "run make deeper PAGES=…"
    for name in pages:
        sources, stored = (
            [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
            for path in (ROOT / "notebooks" / "deeper" / name, ROOT / "book" / "stored" / name)
        )
        assert sources == stored, f"{name} has changed since it was stored: run make deeper PAGES={name[:-6]}"
