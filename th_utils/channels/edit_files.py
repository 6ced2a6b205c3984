"""Weight edits as files: a small safetensors file that holds the factors, and for which model they were made."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..classes import check_classes
from ..models import parts
from ..models.loading import model_name
from ..weights.heads import HeadWeights, label
from .edits import Edit, _checked_view

FORMAT, VERSION = "th_utils.edits", 1
PARTS = ("left", "right", "bias")


def describe_edits(weights: HeadWeights, edits: Edit | Sequence[Edit]) -> pd.DataFrame:
    """What edits change, one row each: name, head, matrix, rank, change, relative, bias.

    `rank` is the number of columns of the left factor (the rank of the change, or more), `change` the Frobenius norm
    ‖left·right‖, `relative` its share of the norm of the unedited matrix in `weights` (NaN where that is 0), `bias` the
    norm of what is added to b_O or b_Q (0 for nothing). Raises `ValueError` for no edits, heads that `weights` lacks or
    factors of other shapes.
    """
    rows = []
    for edit in _listed(edits):
        head = weights.check_head(edit.head)
        if edit.matrix not in parts.MATRICES:
            raise ValueError(f"edit {edit.name!r} changes {edit.matrix!r}: expected one of {parts.MATRICES}")
        matrix, rank = getattr(weights, edit.matrix)[head], edit.right.shape[0]
        left, right = tuple(edit.left.shape), tuple(edit.right.shape)
        if (left, right) != ((len(matrix), rank), (rank, matrix.shape[1])):
            raise ValueError(f"edit {edit.name!r} is {left} @ {right}, the matrix is {tuple(matrix.shape)}")
        size, unedited = (edit.left @ edit.right).norm().item(), matrix.norm().item()
        bias = 0.0 if edit.bias is None else edit.bias.norm().item()
        relative = size / unedited if unedited else float("nan")
        rows.append((edit.name, label(head), edit.matrix, rank, size, relative, bias))
    return pd.DataFrame(rows, columns=["name", "head", "matrix", "rank", "change", "relative", "bias"])


def save_edits(path: str | Path, edits: Edit | Sequence[Edit], model, note: str = "") -> Path:
    """Write edits of `model` to one safetensors file, whole or not at all; `load_edits` gives them back bit for bit.

    Beside the factors it holds the model's name and the norm of its unembedding, which folding the norms changes, and
    `note`. Call it with the unedited model or inside `th.edited`. Raises `ValueError` for edits that do not fit the
    model, and `OSError` where the file cannot be written; a file that was there before then stays as it was.
    """
    path, flat = Path(path), _listed(edits)
    for edit in flat:
        _checked_view(model, edit)
    tensors = {
        f"{i}.{part}": getattr(edit, part).detach().to("cpu", copy=True).contiguous()
        for i, edit in enumerate(flat)
        for part in PARTS
        if getattr(edit, part) is not None
    }
    about = {
        "version": VERSION, "model": model_name(model), "unembedding": _fingerprint(model), "note": note,
        "edits": [{"name": edit.name, "head": list(edit.head), "matrix": edit.matrix} for edit in flat],
    }  # fmt: skip
    content = save(tensors, metadata={FORMAT: json.dumps(about)})
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def load_edits(path: str | Path, model) -> list[Edit]:
    """The edits in a file written by `save_edits`, on the model's device, for `th.edited(model, edits)`.

    Nothing in the file is executed. Raises `FileNotFoundError`, and `ValueError` for a file that is damaged or of
    another kind, for an unknown version, and for edits of another model, of the same model folded otherwise
    (`load_model(fold=...)`), or that do not fit.
    """
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder, not a file of edits")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})[FORMAT])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
        if about["version"] == VERSION:
            flat = [_edit(i, one, tensors, parts.device_of(model)) for i, one in enumerate(about["edits"])]
            made_for, norm = str(about["model"]), float(about["unembedding"])
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is no file of edits, or damaged ({type(error).__name__}: {error})") from error
    if about["version"] != VERSION:
        raise ValueError(f"{path} has version {about['version']!r}, this th_utils reads {VERSION}: update it")
    if tensors:
        raise ValueError(f"{path} holds tensors that belong to no edit: {sorted(tensors)}")
    if made_for != model_name(model):
        raise ValueError(f"{path} was made for the model {made_for!r}, this is {model_name(model)!r}")
    found = _fingerprint(model)
    if not abs(found - norm) <= 1e-5 * found:
        raise ValueError(
            f"{path} was made for other weights of {made_for!r} (norm of the unembedding {norm:.6g}, here "
            f"{found:.6g}): was the model loaded with another fold=?"
        )
    for edit in flat:
        _checked_view(model, edit)
    return flat


def _listed(edits: Edit | Sequence[Edit]) -> list[Edit]:
    flat = [edits] if isinstance(edits, Edit) else list(edits)
    if not flat or not all(isinstance(edit, Edit) for edit in flat):
        raise ValueError(f"need one edit or a flat list of edits, got {[type(edit).__name__ for edit in flat]}")
    return flat


def _edit(i: int, about: dict, tensors: dict[str, torch.Tensor], device: torch.device) -> Edit:
    layer, head = about["head"]
    if not all(type(n) is int for n in (layer, head)) or not all(isinstance(about[k], str) for k in ("name", "matrix")):
        raise ValueError(f"edit {i} is described as {about}")
    left, right = (tensors.pop(f"{i}.{part}").to(device) for part in PARTS[:2])
    bias = tensors.pop(f"{i}.bias", None)
    return Edit(about["name"], (layer, head), about["matrix"], left, right, None if bias is None else bias.to(device))


def _fingerprint(model) -> float:
    return parts.unembedding(model)[0].double().norm().item()


check_classes(globals())
