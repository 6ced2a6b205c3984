"""Fields to type into with both ipywidgets that readers have: 8, which is installed, and 7.7, which Colab ships."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[3]
SEVEN = Path(sys.prefix) / "ipywidgets7"  # the installation of the book puts it there
CELLS = (
    "import ipywidgets, th_utils as th; print(ipywidgets.__version__)",
    """from ipywidgets import Text, interactive
typed = []
field = interactive(lambda text: typed.append(text), text=Text("1 2", continuous_update=False))
field""",
    """(text,) = [child for child in field.children if hasattr(child, "placeholder")]
text.value = "3 4"  # as a reader would type it
print(typed)""",
    "from tqdm.auto import tqdm; print(len(list(tqdm(range(3)))))",
)


@pytest.mark.parametrize("version", ["7", "8"])
def test_a_kernel_hears_what_is_typed(version, monkeypatch):
    if version == "7" and not SEVEN.is_dir():
        reason = f"{SEVEN} is missing: make installs it"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    for name in ("TH_STATIC", "TQDM_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    folders = [str(SEVEN)] * (version == "7") + [str(ROOT)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()  # a cell that fails raises
    which, shown, turned, bar = (cell.outputs for cell in notebook.cells)
    assert which[0].text.startswith(f"{version}.")
    assert "application/vnd.jupyter.widget-view+json" in shown[0].data
    assert turned[0].text == "['1 2', '3 4']\n"
    assert [one.text for one in bar if one.output_type == "stream" and one.name == "stdout"] == ["3\n"]
