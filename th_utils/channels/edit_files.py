"""Weight edits as files: a small safetensors file that holds the factors, and for which model they were made."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..models import parts
from ..models.loading import model_name
from ..weights.heads import HeadWeights, label
from .edits import Edit, changes_of

FORMAT = "th_utils.edits"
PARTS = ("left", "right", "bias")


def describe_edits(weights: HeadWeights, edits: Sequence[Edit]) -> pd.DataFrame:
    """Tabulate what edits change, one row each: name, head, matrix, rank, change, relative, bias.

    `rank` is the number of columns of the left factor (the rank of the change, or more), `change` the Frobenius norm
    ‖left·right‖, `relative` its share of the norm of the unedited matrix in `weights` (NaN where that is 0), `bias` the
    norm of what is added to b_O or b_Q (0 for nothing). Raises `ValueError` for heads that `weights` lacks.
    """
    rows = []
    for edit in edits:
        matrix = getattr(weights, edit.matrix)[weights.check_head(edit.head)]
        size, unedited = (edit.left @ edit.right).norm().item(), matrix.norm().item()
        bias = 0.0 if edit.bias is None else edit.bias.norm().item()
        relative = size / unedited if unedited else float("nan")
        rows.append((edit.name, label(edit.head), edit.matrix, len(edit.right), size, relative, bias))
    return pd.DataFrame(rows, columns=["name", "head", "matrix", "rank", "change", "relative", "bias"])


def save_edits(path: str | Path, edits: Sequence[Edit], model, note: str = "") -> Path:
    """Write edits of `model` to one safetensors file, whole or not at all; `load_edits` gives them back bit for bit.

    Beside the factors it holds the model's name and the norm of its unembedding, which folding the norms changes, and
    `note`. Raises `ValueError` for edits that do not fit the model, and `OSError` where the file cannot be written; a
    file that was there before then stays as it was.
    """
    for edit in edits:
        changes_of(model, edit)
    tensors = {
        f"{i}.{part}": getattr(edit, part).detach().to("cpu", copy=True).contiguous()
        for i, edit in enumerate(edits)
        for part in PARTS
        if getattr(edit, part) is not None
    }
    about = {"model": model_name(model), "unembedding": _norm(model), "note": note,
             "edits": [{"name": edit.name, "head": edit.head, "matrix": edit.matrix} for edit in edits]}  # fmt: skip
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_bytes(save(tensors, metadata={FORMAT: json.dumps(about)}))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def load_edits(path: str | Path, model) -> list[Edit]:
    """Read the edits in a file written by `save_edits`, on the model's device, for `th.edited(model, edits)`.

    Nothing in the file is executed. Raises `FileNotFoundError`, and `ValueError` for a file that is damaged or of
    another kind, and for edits of another model, of the same model folded otherwise (`load_model(fold=...)`), or that
    do not fit.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})[FORMAT])
            tensors = {name: file.get_tensor(name).to(parts.device_of(model), copy=True) for name in file.keys()}
        made = [
            Edit(one["name"], tuple(one["head"]), one["matrix"], *(tensors.get(f"{i}.{part}") for part in PARTS))
            for i, one in enumerate(about["edits"])
        ]
        made_for, norm = str(about["model"]), float(about["unembedding"])
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no file of edits, or damaged ({type(error).__name__}: {error})") from error
    if made_for != model_name(model):
        raise ValueError(f"{path} was made for the model {made_for!r}, this is {model_name(model)!r}")
    if not abs(_norm(model) - norm) <= 1e-5 * norm:
        raise ValueError(f"{path} was made for other weights of {made_for!r}: was the model loaded with another fold=?")
    edits = [replace(edit, fingerprint=parts.fingerprint(model)) for edit in made]
    for edit in edits:
        changes_of(model, edit)
    return edits


def _norm(model) -> float:
    """A number that folding changes, and that is the same on every processor up to rounding."""
    return parts.unembedding(model)[0].double().norm().item()
