"""The state of a model: a checksum of its weights, edits in force, the reader's own hooks, whether runs are right."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary
from zlib import crc32

import torch
from torch import Tensor

from .._guards import refuse_autocast, version

_FINGERPRINTS: WeakKeyDictionary = WeakKeyDictionary()  # model -> parameters, their versions, checksum
_EDITS: WeakKeyDictionary = WeakKeyDictionary()


def of_model(model, name: str):
    """Return an attribute of a model; `TypeError` for what is no `TransformerBridge`."""
    if (found := getattr(model, name, None)) is None:
        raise TypeError(f"model must be a TransformerBridge from th.load_model(), got {model!r:.80}")
    return found


def fingerprint(model) -> str:
    """Return a checksum of the parameters; those written to since are read anew (`.data` and fused optimisers aside).

    Weights, runs, channels and edits carry it, so that those of another model of the same shape are refused. It stays
    the same inside `th.edited`, which gives the weights back.
    """
    if model not in _FINGERPRINTS:
        _FINGERPRINTS[model] = [part._parameters for _, part, _ in _modules(model) if part._parameters], [], [], []
    places, _, stamps, sums = _FINGERPRINTS[model]
    tensors = [tensor for place in places for tensor in place.values() if tensor is not None]
    now = [(id(tensor), tensor.data_ptr(), version(tensor)) for tensor in tensors]
    if now != stamps and not (sums and edits(model)):
        before = dict(zip(stamps, sums, strict=True))
        sums = [before[stamp] if stamp in before else checksum(x) for stamp, x in zip(now, tensors, strict=True)]
        _FINGERPRINTS[model] = places, tensors, now, sums  # holding the tensors, so that no address is used again
    return f"{crc32(repr(sums).encode()):08x}"


def checksum(x: Tensor) -> int:
    """Compute a checksum of a tensor's bytes."""
    return crc32(x.detach().cpu().flatten().contiguous().view(torch.uint8).numpy())


def edits(model) -> frozenset[tuple]:
    """Return the edits of the model's weights in force, as (layer, which weights, checksum of the edit)."""
    return _EDITS.get(model, frozenset())


@contextmanager
def editing(model, changes: frozenset[tuple]) -> Iterator[None]:
    """Note edits for the length of a block; `ValueError` where the same weights are being edited already."""
    fingerprint(model)  # that of the weights as they are before
    if taken := sorted({change[:2] for change in changes} & {change[:2] for change in edits(model)}):
        raise ValueError(f"layer {taken[0][0]}: {taken[0][1]} is being edited already: give all edits to one edited()")
    _EDITS[model] = edits(model) | changes
    try:
        yield
    finally:
        _EDITS[model] -= changes


def require_ready(model) -> frozenset[str]:
    """Raise unless runs of this model are right; return where the reader has hooked the model itself.

    Those hooks, TransformerLens' or PyTorch's, act in whole runs, which remember them. What runs a part again is then
    refused where it would leave them out. Raises `TypeError` for anything but a `TransformerBridge`, `ValueError` for
    training mode, half precision, autocast, and hooks on what follows the blocks, where runs end.
    """
    if any(inside["training"] for *_, inside in _modules(model)):
        raise ValueError("the model is in training mode, in which dropout makes runs random: call model.eval()")
    weight = model.W_E
    if weight.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"the model is in {weight.dtype}, too coarse, and has lost digits: load it anew")
    refuse_autocast()
    hooked = frozenset(_hooked(model))
    if late := [name for name in hooked if name.startswith(("ln_final", "unembed"))]:
        raise ValueError(f"the model has a hook of its own at {late[0]}, and runs end before it: call reset_hooks()")
    return hooked


@contextmanager
def unhooked(model) -> Iterator[None]:
    """Inside, the reader's own hooks are off."""
    saved = []
    for module in _hooked(model).values():
        for kind in ("_forward_hooks", "_forward_pre_hooks"):
            hooks = getattr(module, kind)
            saved.append((module, kind, hooks))
            setattr(module, kind, OrderedDict((n, hook) for n, hook in hooks.items() if _is_library(module, n, hook)))
    try:
        yield
    finally:
        for module, kind, hooks in saved:
            setattr(module, kind, hooks)


def _hooked(model) -> dict[str, torch.nn.Module]:
    found = {}
    for name, module, inside in _modules(model):
        if inside["_forward_hooks"] or inside["_forward_pre_hooks"]:
            hooks = (*module._forward_hooks.items(), *module._forward_pre_hooks.items())
            if not all(_is_library(module, n, hook) for n, hook in hooks):
                point = hasattr(module, "fwd_hooks")  # by the name that readers know
                found[module.name if point else name.replace("_original_component.", "")] = module
    return found


def _is_library(module, number: int, hook) -> bool:
    """Tell whether a library put a hook there for itself; at hook points, those that stay through `reset_hooks()`."""
    for handle in getattr(module, "fwd_hooks", ()):
        if handle.hook.id == number:  # the hook is TransformerLens' wrapper of another function
            return handle.is_permanent and _of_library(handle.user_hook)
    return _of_library(hook)


def _of_library(function) -> bool:
    module = getattr(function, "__module__", None) or ""
    return module.startswith(("transformer_lens.", "transformers.", "accelerate."))


def _modules(model) -> list[tuple[str, torch.nn.Module, dict]]:
    """List the parts of a model by name, with their attributes, once: they are asked for in every re-run."""
    kept = of_model(model, "cfg") and model.__dict__
    if "_th_modules" not in kept:
        named = of_model(model, "named_modules")()
        kept["_th_modules"] = [(name, module, module.__dict__) for name, module in named]
    return kept["_th_modules"]
