"""What is inside a TransformerLens `TransformerBridge`: sizes, tokenizer, attention matrices, unembedding."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .state import of_model

MATRICES = ("W_Q", "W_K", "W_V", "W_O")


class Shape(NamedTuple):
    """The sizes of a model; `groups` query heads share one key/value head."""

    layers: int
    heads: int
    groups: int
    d_model: int
    d_head: int
    vocab: int
    context: int


def shape(model) -> Shape:
    """Read the sizes of a model."""
    cfg = of_model(model, "cfg")
    groups = cfg.n_heads // (cfg.n_key_value_heads or cfg.n_heads)
    own = model.original_model.config.get_text_config()
    rope, limits = getattr(own, "rope_parameters", None) or {}, [cfg.n_ctx]
    if rope.get("rope_type") == "longrope":  # from there on positions depend on the longest prompt of a batch
        limits.append(rope.get("original_max_position_embeddings") or cfg.n_ctx)
    if getattr(own, "attn_temperature_tuning", False):  # from there on queries are scaled by their column
        limits.append(getattr(own, "floor_scale", None) or cfg.n_ctx)
    return Shape(cfg.n_layers, cfg.n_heads, groups, cfg.d_model, cfg.d_head, cfg.d_vocab, int(min(limits)))


def kind(model) -> str:
    """Return the name of the model's class in transformers."""
    return type(model.original_model).__name__


def tokenizer(model):
    """Return the model's tokenizer."""
    return of_model(model, "tokenizer")


def require_heads(model) -> None:
    """Raise `ValueError`, with the reason, unless every layer of a model has attention heads of one shape."""
    size = shape(model)
    for name, what in (("blocks", "no list of blocks"), ("ln_final", "no norm before its unembedding")):
        if getattr(model, name, None) is None:
            raise ValueError(f"it has {what}")
    for layer in range(size.layers):
        attn = getattr(model.blocks[layer], "attn", None)
        if any(getattr(getattr(attn, part, None), "original_component", None) is None for part in "qkvo"):
            raise ValueError(f"layer {layer} has no attention heads with a query, key, value and output matrix each")
        kv_heads = size.heads // size.groups
        for name, heads in zip(MATRICES, (size.heads, kv_heads, kv_heads, size.heads), strict=True):
            found, width = tuple(getattr(attn, name).shape), (size.d_model, size.d_head)
            wanted = (heads, *(width[::-1] if name == "W_O" else width))
            if found != wanted:
                raise ValueError(f"{name} of layer {layer} is {found}, expected {wanted}: heads of several shapes")


def head_matrix(model, layer: int, name: str) -> Float[Tensor, "heads rows cols"]:
    """Return a *view* of one layer's W_Q, W_K, W_V `[heads, d_model, d_head]` or W_O `[heads, d_head, d_model]`.

    Writing into it edits the model. Keys and values of grouped-query models have fewer heads.
    """
    attn = model.blocks[layer].attn
    view, weight = getattr(attn, name), getattr(attn, name[-1].lower()).weight
    if view.untyped_storage().data_ptr() != weight.untyped_storage().data_ptr():
        fix = "install the TransformerLens of constraints.txt"
        raise RuntimeError(f"{name} of layer {layer} is a copy, not a view, and cannot be edited in place: {fix}")
    return view.detach()


def head_bias(model, layer: int, name: str) -> Float[Tensor, "heads d_head"] | None:
    """Return b_Q, b_K or b_V of one layer, or None where the architecture has none (Llama)."""
    bias = getattr(model.blocks[layer].attn, name)
    return None if bias is None else bias.detach()


def output_linear(model, layer: int) -> torch.nn.Module:
    """Return the module whose `bias` is b_O: Llama has none, and an edit may give it one for a while."""
    return model.blocks[layer].attn.o.original_component


def output_bias(model, layer: int) -> Float[Tensor, " d_model"] | None:
    """Return b_O of one layer, or None."""
    bias = output_linear(model, layer).bias
    return None if bias is None else bias.detach()


def unembedding(model) -> tuple[Float[Tensor, "d_model vocab"], Float[Tensor, " vocab"] | None]:
    """Return W_U and b_U."""
    return model.W_U.detach(), None if model.b_U is None else model.b_U.detach()


def device_of(model) -> torch.device:
    """Return the device of the model."""
    return model.W_E.device


def probe(vocab: int, context: int) -> Int[Tensor, "batch pos"]:
    """Return two short texts of arbitrary tokens, to try a model with."""
    return (torch.arange(24) % min(50, vocab)).view(2, 12)[:, :context]
