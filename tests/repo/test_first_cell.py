"""The first cell of a chapter: it takes every model by name, and refuses a wrong name at once, in words."""

from pathlib import Path

import nbformat
import pytest
import torch
from IPython.core.inputtransformer2 import TransformerManager

from th_utils.models.registry import DEFAULT, MODELS, pick_card

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = nbformat.read(ROOT / "notebooks" / "00_first_look.ipynb", as_version=4)  # the same in all: another test
SOURCE = next(cell.source for cell in CHAPTER.cells if cell.cell_type == "code")


@pytest.fixture
def first_cell():
    """Runs the cell; afterwards the process is as before."""
    code = compile(TransformerManager().transform_cell(SOURCE), "first cell", "exec")
    yield lambda: exec(code, {})
    pick_card()
    torch.set_grad_enabled(True)


@pytest.mark.parametrize("name", ["", *MODELS])
def test_every_model_can_be_named_in_th_model(name, first_cell, monkeypatch, capsys):
    monkeypatch.setenv("TH_MODEL", name)
    first_cell()
    assert f" · model {name or DEFAULT} " in capsys.readouterr().out


def test_a_wrong_name_in_th_model_is_refused_in_the_first_cell(first_cell, monkeypatch):
    monkeypatch.setenv("TH_MODEL", "gpt-2")
    with pytest.raises(ValueError, match=f"unknown model 'gpt-2': expected one of {', '.join(MODELS)}, or"):
        first_cell()
