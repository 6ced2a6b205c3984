"""Weight edits as files: a small safetensors file that holds the factors, and for which model they were made."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..models import parts, state
from ..models.loading import model_name
from .edits import Edit, changes_of

FORMAT = "th_utils.edits"
PARTS = ("left", "right", "bias")


def save_edits(path: str | Path, edits: Sequence[Edit], model, note: str = "") -> Path:
    """Write edits of `model` to one safetensors file, whole or not at all; `load_edits` gives them back bit for bit.

    Beside the factors it holds the model's name, the norms of its unembedding and of the matrices to be edited, and
    `note`. Raises `ValueError` for edits that do not fit the model, and `OSError` where the file cannot be written; a
    file that was there before then stays as it was.
    """
    if state.edits(model):
        raise ValueError("save edits outside th.edited: the file tells the weights that they are meant for")
    for edit in edits:
        changes_of(model, edit)
    factors = {f"{i}.{part}": getattr(edit, part) for i, edit in enumerate(edits) for part in PARTS}
    tensors = {n: x.detach().to("cpu", copy=True).contiguous() for n, x in factors.items() if x is not None}
    about = {"model": model_name(model), "norms": _norms(model, edits), "note": note,
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
        made_for, norms = str(about["model"]), np.array(about["norms"], dtype=float)
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no file of edits, or damaged ({type(error).__name__}: {error})") from error
    if made_for != model_name(model):
        raise ValueError(f"{path} was made for the model {made_for!r}, this is {model_name(model)!r}")
    edits = [replace(edit, fingerprint=state.fingerprint(model)) for edit in made]
    for edit in edits:
        changes_of(model, edit)
    if not state.edits(model) and not np.allclose(_norms(model, edits), norms, rtol=1e-5):
        raise ValueError(f"{path} was made for other weights of {made_for!r}: another fold=, or trained since?")
    return edits


def _norms(model, edits: Sequence[Edit]) -> list[float]:
    """Numbers that folding and training change, and that are the same on every processor up to rounding."""
    views = [parts.head_matrix(model, edit.head[0], edit.matrix)[edit.head[1]] for edit in edits]
    return [x.double().norm().item() for x in (parts.unembedding(model)[0], *views)]
