"""The state of a model: a checksum of its weights, edits in force, the reader's own hooks, whether runs are right."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary
from zlib import crc32

import torch
from torch import Tensor

from .._guards import refuse_autocast, version

_FINGERPRINTS: WeakKeyDictionary = WeakKeyDictionary()  # model -> tensors, their versions, checksums
_EDITS: WeakKeyDictionary = WeakKeyDictionary()


def of_model(model, name: str):
    """Return an attribute of a model; `TypeError` for what is no `TransformerBridge`."""
    if (found := getattr(model, name, None)) is None:
        raise TypeError(f"model must be a TransformerBridge from th.load_model(), got {model!r:.80}")
    return found


def fingerprint(model) -> str:
    """Return a checksum of parameters, stored buffers and configuration; what was written to since is read anew.

    `.data` and fused optimisers aside. Weights, runs, channels and edits carry it, so that those of another model of
    the same shape are refused. It stays the same inside `th.edited`, which gives the weights back.
    """
    modules = _modules(model)  # first: it forgets the fingerprint of a model in which a part was replaced
    if model not in _FINGERPRINTS:
        places = [(inside["_parameters"], ()) for _, _, inside, *_ in modules if inside["_parameters"]]
        places += [(inside["_buffers"], inside["_non_persistent_buffers_set"])
                   for _, _, inside, *_ in modules if inside["_buffers"]]  # fmt: skip
        config = {name: x for name, x in model.original_model.config.to_dict().items() if not name.startswith("_")}
        _FINGERPRINTS[model] = places, [], [], [], crc32(repr(sorted(config.items(), key=str)).encode())
    places, _, stamps, sums, config = _FINGERPRINTS[model]
    tensors = [x for place, passing in places for name, x in place.items() if x is not None and name not in passing]
    now = [(id(tensor), tensor.data_ptr(), version(tensor)) for tensor in tensors]
    if now != stamps and not (sums and edits(model)):
        before = dict(zip(stamps, sums, strict=True))
        sums = [before[stamp] if stamp in before else checksum(x) for stamp, x in zip(now, tensors, strict=True)]
        _FINGERPRINTS[model] = places, tensors, now, sums, config  # with the tensors: no address is used again
    return f"{crc32(repr((config, sums)).encode()):08x}"


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
    modules = _modules(model)
    if any(inside["training"] for _, _, inside, *_ in modules):
        raise ValueError("the model is in training mode, in which dropout makes runs random: call model.eval()")
    weight = model.W_E
    if weight.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"the model is in {weight.dtype}, too coarse, and has lost digits: load it anew")
    refuse_autocast()
    hooked, wholes = _hooked(modules), (model, model.original_model, model.original_model.base_model)
    for name, module in hooked.items():
        if name.startswith(("ln_final", "unembed")) or module in wholes:
            raise ValueError(
                f"the model has a hook of its own at {name}, where runs do not come by: call reset_hooks()"
            )
    return frozenset(hooked)


@contextmanager
def unhooked(model) -> Iterator[None]:
    """Inside, the reader's own hooks are off."""
    saved = []
    for module in _hooked(_modules(model)).values():
        for kind in ("_forward_hooks", "_forward_pre_hooks"):
            hooks = getattr(module, kind)
            saved.append((module, kind, hooks))
            setattr(module, kind, OrderedDict((n, hook) for n, hook in hooks.items() if _is_library(module, n, hook)))
    try:
        yield
    finally:
        for module, kind, hooks in saved:
            setattr(module, kind, hooks)


def _hooked(modules: list[tuple]) -> dict[str, torch.nn.Module]:
    found = {}
    for name, module, inside, _, _, forward in modules:
        if inside["_forward_hooks"] or inside["_forward_pre_hooks"]:
            hooks = (*module._forward_hooks.items(), *module._forward_pre_hooks.items())
            if not all(_is_library(module, n, hook) for n, hook in hooks):
                point = hasattr(module, "fwd_hooks")  # by the name that readers know
                found[module.name if point else name] = module
        if inside.get("forward") is not forward:  # it was given another one since
            found[name] = module
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


def _modules(model) -> list[tuple[str, torch.nn.Module, dict, dict, str, object]]:
    """List the parts of a model, once: they are asked for in every re-run.

    Name, part, its attributes, the parts beside it and its name there, and its `forward` if that is its own. A copy of
    the model gets a list of its own, and so does a model in which a part was replaced.
    """
    kept = of_model(model, "cfg") and model.__dict__
    owner, listed = kept.get("_th_modules", (0, ()))
    if owner != id(model) or any(beside.get(key) is not part for _, part, _, beside, key, _ in listed):
        found = {}
        for prefix, root in (("", model), ("original_model.", model.original_model)):
            known = dict(root.named_modules())
            for name, part in known.items():
                above, _, key = name.rpartition(".")
                beside = known[above]._modules if key else {"": part}
                shown = (prefix + name).replace("_original_component.", "") or "the whole model"
                found.setdefault(id(part), (shown, part, part.__dict__, beside, key, part.__dict__.get("forward")))
        kept["_th_modules"] = id(model), list(found.values())
        _FINGERPRINTS.pop(model, None)
    return kept["_th_modules"][1]
