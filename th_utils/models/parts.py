"""The one place that reaches inside a TransformerLens `TransformerBridge`.

Everything else in `th_utils` works on plain tensors. When TransformerLens changes, this file changes.

The functions here speak about one pre-norm transformer block as equations (row vectors, rotary left out of the
notation), and hold for the three families the book uses: GPT-2, GPT-NeoX (attention and MLP in parallel, part of
each head rotary) and Llama (grouped-query heads, rotary, gated MLP).

A model may be split (`load_model(device_map=)`): activations stay on the device of the embedding, and each function
takes them to its part and back. Parts on disk are loaded for as long as they are used, and computed on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor

MATRICES = ("W_Q", "W_K", "W_V", "W_O")


def heads_shape(model) -> tuple[int, int]:
    """(layers, query heads per layer)."""
    return model.cfg.n_layers, model.cfg.n_heads


def kv_groups(model) -> int:
    """Query heads that share one key/value head (1 without grouped-query attention)."""
    return model.cfg.n_heads // (model.cfg.n_key_value_heads or model.cfg.n_heads)


@contextmanager
def _loaded(part) -> Iterator[None]:
    """Inside the block the weights of a component are in memory, also where they are kept on disk."""
    if any(weight.is_meta for weight in part.parameters()):
        from accelerate.utils import align_module_device

        with align_module_device(part.original_component):
            yield
    else:
        yield


def _through(model, part, x: Tensor) -> Tensor:
    """What a component makes of `x`, on the device of `x` also where the component lies on another one."""
    if getattr(model.cfg, "n_devices", 1) == 1:
        return part(x)
    device = next(part.parameters()).device
    return part(x if device.type == "meta" else x.to(device)).to(x.device)


def offloaded(model, layer: int) -> bool:
    """Whether the weights of a layer are kept on disk: they can be read, but not changed."""
    return output_linear(model, layer).weight.is_meta


def head_matrix(model, layer: int, name: str) -> Float[Tensor, "heads rows cols"]:
    """A *view* of one layer's W_Q, W_K, W_V `[heads, d_model, d_head]` or W_O `[heads, d_head, d_model]`.

    Writing into it edits the model (not where the layer is `offloaded`). Keys and values of grouped-query models have
    fewer heads.
    """
    attn = model.blocks[layer].attn
    linear = getattr(attn, name[-1].lower())
    with _loaded(linear):
        view, weight = getattr(attn, name), linear.weight
    if view.untyped_storage().data_ptr() != weight.untyped_storage().data_ptr():
        raise RuntimeError(
            f"{name} of layer {layer} is a copy, not a view: this TransformerLens version cannot be edited in place. "
            "Install the version pinned in constraints.txt."
        )
    return view.detach()


def head_bias(model, layer: int, name: str) -> Float[Tensor, "heads d_head"] | None:
    """b_Q, b_K or b_V of one layer, or None where the architecture has none (Llama)."""
    attn = model.blocks[layer].attn
    with _loaded(getattr(attn, name[-1].lower())):
        bias = getattr(attn, name)
    return None if bias is None else bias.detach()


def output_linear(model, layer: int) -> torch.nn.Module:
    """The module whose `bias` is b_O: Llama has none, and an edit may give it one for a while."""
    return model.blocks[layer].attn.o.original_component


def output_bias(model, layer: int) -> Float[Tensor, " d_model"] | None:
    """b_O of one layer, or None."""
    with _loaded(model.blocks[layer].attn.o):
        bias = output_linear(model, layer).bias
    return None if bias is None else bias.detach()


def embed(model, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
    """The residual stream before layer 0 (learned positions added where the model has them)."""
    resid = model.embed(tokens)
    if model.cfg.positional_embedding_type == "standard":
        with _loaded(model.pos_embed):
            resid = resid + model.W_pos[: tokens.shape[1]].to(resid)
    return resid


def rotary(model, resid: Tensor, positions: Int[Tensor, "batch pos"]) -> tuple[Tensor, Tensor] | None:
    """cos and sin `[batch, pos, 1, rotary_dim]` for these positions, or None without rotary embeddings."""
    if model.cfg.positional_embedding_type != "rotary":
        return None
    cos, sin = model.rotary_emb.original_component(resid, positions)
    return cos.unsqueeze(2), sin.unsqueeze(2)


def rotate(x: Float[Tensor, "*any d_head"], angles: tuple[Tensor, Tensor] | None) -> Tensor:
    """Apply the rotation to the first `rotary_dim` dimensions of each head."""
    if angles is None:
        return x
    cos, sin = (angle.to(x.device) for angle in angles)
    n = cos.shape[-1]
    turned, rest = x[..., :n], x[..., n:]
    half = torch.cat([-turned[..., n // 2 :], turned[..., : n // 2]], dim=-1)
    return torch.cat([turned * cos + half * sin, rest], dim=-1)


def attention_input(model, layer: int, resid: Tensor) -> Tensor:
    """What the heads of a layer read: the normalised residual stream."""
    return _through(model, model.blocks[layer].ln1, resid)


def project(model, layer: int, name: str, x: Tensor) -> Float[Tensor, "... heads d_head"]:
    """Queries ("q"), keys ("k") or values ("v") of a layer from its normalised input, before rotation."""
    return _through(model, getattr(model.blocks[layer].attn, name), x).unflatten(-1, (-1, model.cfg.d_head))


def attention_scale(model) -> float:
    """The number attention scores are divided by, √d_head."""
    return float(model.cfg.d_head) ** 0.5


def attention_output(model, layer: int, z: Float[Tensor, "... heads d_head"]) -> Tensor:
    """z W_O summed over heads, plus b_O."""
    return _through(model, model.blocks[layer].attn.o, z.flatten(-2))


def mlp_output(model, layer: int, resid_pre: Tensor, resid_mid: Tensor) -> Tensor:
    """The MLP's write. In parallel blocks (GPT-NeoX) it reads the stream before attention."""
    block = model.blocks[layer]
    read = _through(model, block.ln2, resid_pre if model.cfg.parallel_attn_mlp else resid_mid)
    return _through(model, block.mlp, read)


def final_norm(model, resid: Tensor) -> Tensor:
    """The normalised stream that the unembedding reads."""
    return _through(model, model.ln_final, resid)


def centres(model) -> bool:
    """Whether the normalisation subtracts the mean over d_model (LayerNorm, unlike RMSNorm)."""
    return "RMS" not in model.cfg.normalization_type


def centred(model, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
    """What the normalisation sees of `x`: without its mean over d_model where the model subtracts it."""
    return x - x.mean(-1, keepdim=True) if centres(model) else x


def norm_scale(model, resid: Float[Tensor, "... d_model"], normalised: Float[Tensor, "... d_model"]) -> Tensor:
    """The number that a normalisation without a gain (folded weights) has divided each `resid` by, [...].

    Raises `ValueError` for one with a gain.
    """
    seen = centred(model, resid)
    scale = seen.norm(dim=-1) / normalised.norm(dim=-1)
    if not torch.allclose(normalised, seen / scale[..., None], rtol=1e-3, atol=1e-3):
        raise ValueError("a norm of this model has a gain of its own: load it with fold=True, which folds gains into "
                         "the weights")  # fmt: skip
    return scale


def unembedding(model) -> tuple[Float[Tensor, "d_model vocab"], Float[Tensor, " vocab"] | None]:
    """W_U and b_U, where they lie."""
    with _loaded(model.unembed):
        return model.W_U.detach(), None if model.b_U is None else model.b_U.detach()


def unembed(model, states: Float[Tensor, "... d_model"]) -> Float[Tensor, "... vocab"]:
    """Logits of normalised states: x W_U + b_U."""
    W_U, b_U = unembedding(model)
    product = states.to(W_U.device) @ W_U
    return (product if b_U is None else product + b_U).to(states.device)


def device_of(model) -> torch.device:
    """The device of the model's embedding, where everything is computed that is not part of the model."""
    device = model.embed.original_component.weight.device
    return torch.device("cpu") if device.type == "meta" else device
