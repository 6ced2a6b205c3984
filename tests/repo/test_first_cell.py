"""The first cell of a chapter: it takes every model by name, and refuses a wrong name at once, in words."""

import traceback
from pathlib import Path

import nbformat
import pytest
import torch
from IPython.core.inputtransformer2 import TransformerManager

from th_utils.models import loading as models
from th_utils.models.registry import DEFAULT, MODELS, find_card

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = nbformat.read(ROOT / "notebooks" / "00_first_look.ipynb", as_version=4)  # the same in all: another test
SOURCE = next(cell.source for cell in CHAPTER.cells if cell.cell_type == "code")


@pytest.fixture
def first_cell(capsys):
    """Runs the cell and returns what it prints; afterwards the process is as before."""
    code = compile(TransformerManager().transform_cell(SOURCE), "first cell", "exec")

    def run() -> str:
        exec(code, {})
        return capsys.readouterr().out

    yield run
    models.pick_card()
    torch.set_grad_enabled(True)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_be_named_in_th_model(name, first_cell, monkeypatch):
    monkeypatch.setenv("TH_MODEL", name)
    assert f" · model {name}" in first_cell()
    assert find_card().name == name


def test_without_th_model_it_is_the_default_model(first_cell, monkeypatch):
    for unset in (lambda: monkeypatch.setenv("TH_MODEL", ""), lambda: monkeypatch.delenv("TH_MODEL")):
        unset()
        assert f" · model {DEFAULT} · " in first_cell()


@pytest.mark.parametrize("name", ["gpt-2", "GPT2", "meta-llama/Llama-3.2-1B", "smollm2-135m "])
def test_a_wrong_name_in_th_model_is_refused_in_the_first_cell(name, first_cell, monkeypatch):
    """With the names there are, and from our own code: no library has been asked for the model before."""
    monkeypatch.setenv("TH_MODEL", name)
    with pytest.raises(ValueError, match=f"unknown model '{name}'. Known names: {', '.join(MODELS)}; or") as caught:
        first_cell()
    asked = [frame.filename for frame in traceback.extract_tb(caught.tb)]
    assert "first cell" in asked and not any("torch" in file or "transformers" in file for file in asked)


def test_a_folder_without_a_model_in_th_model_is_refused_in_the_first_cell(first_cell, monkeypatch, tmp_path):
    monkeypatch.setenv("TH_MODEL", str(tmp_path))
    with pytest.raises(models.ModelNotFound, match="config.json"):
        first_cell()
