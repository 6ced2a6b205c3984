"""The attention weights of a model as weight space needs them, copied; and a model made of such weights."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..weights.heads import HeadWeights
from . import laws, parts
from .hub import quiet_transformers
from .state import edits, fingerprint


def head_weights(model) -> HeadWeights:
    """Copy the attention weights out of a model (see `HeadWeights` for shapes and conventions).

    Raises `ValueError` for a model whose layers are not all made of heads of one shape.
    """
    parts.require_heads(model)
    size = parts.shape(model)
    layers, stacked = range(size.layers), {}
    for letter in "QKVO":
        stacked[f"W_{letter}"] = torch.stack([parts.head_matrix(model, i, f"W_{letter}") for i in layers])
    for letter in "QKV":
        rows = [parts.head_bias(model, i, f"b_{letter}") for i in layers]
        missing = stacked[f"W_{letter}"].new_zeros(stacked[f"W_{letter}"].shape[1], size.d_head)
        stacked[f"b_{letter}"] = torch.stack([missing if row is None else row for row in rows])
    for letter in "QK":
        norms = [laws.head_norm(model, i, letter.lower()) for i in layers]
        if any(norm is not None for norm in norms):
            _gained(stacked, letter, norms)
    gains = [laws.write_law(model, i)[0] for i in layers]
    if any(isinstance(gain, Tensor) or gain != 1 for gain in gains):
        ones = stacked["W_O"].new_ones(size.d_model)
        stacked["gain_O"] = torch.stack([gain * ones for gain in gains])
        stacked["W_O"] = stacked["W_O"] * stacked["gain_O"][:, None, None]
    for name, values in stacked.items():
        if name[-1] != "O" and values.shape[1] != size.heads:  # shared by a group of query heads
            stacked[name] = values.repeat_interleave(size.groups, dim=1)
    # Copied inside `th.edited` they are the weights of another model.
    return HeadWeights(**stacked, fingerprint=fingerprint(model) + " edited" * bool(edits(model)))


def _gained(stacked: dict, letter: str, norms: list) -> None:
    """Multiply gains of the norms of queries or keys into the matrices; a norm may be of each head or span all."""
    W, b = stacked[f"W_{letter}"], stacked[f"b_{letter}"]  # [layers, heads, d_model, d_head], [layers, heads, d_head]
    gains = torch.ones_like(b)
    for i, norm in enumerate(norms):
        if norm is not None:
            gains[i] = norm.gain.view(-1, b.shape[-1]).expand_as(b[i])
            W[i], b[i] = ((x - x.mean(-1, keepdim=True)) if norm.centres else x for x in (W[i], b[i]))
    stacked |= {f"gain_{letter}": gains, f"W_{letter}": W * gains[:, :, None], f"b_{letter}": b * gains}


def write_model(folder: str | Path, heads: HeadWeights, words: Sequence[str], embedding: Float[Tensor, "words d_model"],
                positions: Float[Tensor, "context d_model"]) -> None:  # fmt: skip
    """Write a GPT-2 without MLPs, set by hand, as a model directory for `th.load_model`.

    Texts are `words` with spaces between; the first begins every text, the last stands for unknown ones. `embedding`
    unembeds, too. Norms only centre and scale. Raises `RuntimeError` unless d_model is heads × d_head and shapes fit.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    config = GPT2Config(vocab_size=len(words), n_positions=len(positions), n_embd=heads.d_model, n_layer=heads.n_layers,
                        n_head=heads.n_heads, bos_token_id=0, eos_token_id=0)  # fmt: skip
    with torch.random.fork_rng(devices=[]):  # the constructor draws weights
        model = GPT2LMHeadModel(config)
    state = {name: torch.zeros_like(x) if ".mlp." in name else x for name, x in model.state_dict().items()}
    state |= {"transformer.wte.weight": embedding, "lm_head.weight": embedding, "transformer.wpe.weight": positions}
    for i in range(heads.n_layers):
        at, qkv = f"transformer.h.{i}.attn.c_", (heads.W_Q[i], heads.W_K[i], heads.W_V[i])
        state[at + "attn.weight"] = torch.cat(qkv).transpose(0, 1).flatten(1)
        state[at + "attn.bias"] = torch.cat([heads.b_Q[i], heads.b_K[i], heads.b_V[i]]).flatten()
        state[at + "proj.weight"] = heads.W_O[i].flatten(0, 1)
    model.load_state_dict(state)
    tokens = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[-1]))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with quiet_transformers():
        model.save_pretrained(folder)
        PreTrainedTokenizerFast(tokenizer_object=tokens, bos_token=words[0], eos_token=words[0]).save_pretrained(folder)
