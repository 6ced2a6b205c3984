"""Live widgets with both ipywidgets that readers have: 8, which is installed, and 7.7, which Colab ships."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(sys.prefix) / "ipywidgets7"  # tools/bootstrap.py installs it there
CELLS = (
    "import ipywidgets, th_utils as th; print(ipywidgets.__version__)",
    """TEXT = "A dial to turn", "One bar for each of two settings of the dial."
settings, asked = [{"scale": 0.0}, {"scale": 1.0}], []
dial = th.live.edit_dial(settings, lambda one: asked.append(one) or {"gain": one["scale"]}, *TEXT)
dial""",
    """(slider,) = [child for child in dial.children if hasattr(child, "min")]
slider.value = 0.5  # as a hand would turn it
print(asked, type(dial.result).__name__)""",
    "from tqdm.auto import tqdm; print(len(list(tqdm(range(3)))))",
)


def environment(version: str) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in ("TH_STATIC", "TQDM_DISABLE")}
    env |= {"OMP_NUM_THREADS": "1", "JUPYTER_PREFER_ENV_PATH": "1"}
    if version == "7":
        if not FOLDER.is_dir():
            reason = f"{FOLDER} is missing: make installs it"
            pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
        env |= {"PYTHONPATH": str(FOLDER), "TH_IPYWIDGETS": "7.7."}
    return env


@pytest.mark.parametrize("version", ["7", "8"])
def test_edit_dial_turns_in_a_kernel(version, monkeypatch):
    for name, value in (env := environment(version)).items():
        monkeypatch.setenv(name, value)
    for name in {"TH_STATIC", "TQDM_DISABLE"} - set(env):
        monkeypatch.delenv(name, raising=False)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()  # a cell that fails raises
    which, shown, turned, bar = (cell.outputs for cell in notebook.cells)
    assert which[0].text.startswith(f"{version}.")
    assert "application/vnd.jupyter.widget-view+json" in shown[0].data
    assert turned[0].text == "[{'scale': 0.0}, {'scale': 0.5}] View\n"
    assert [one.text for one in bar if one.output_type == "stream" and one.name == "stdout"] == ["3\n"]


def test_widget_tests_pass_with_ipywidgets_7():
    """The tests of the dial itself; the pages that browsers open hold no ipywidgets, so those run once."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_widgets.py", "-k", "slider"]
    done = subprocess.run(command, cwd=ROOT, env=environment("7"), capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout and "skipped" not in done.stdout, done.stdout
