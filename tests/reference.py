"""Independent, written-out versions of what th_utils computes: dense matrices, no shared code."""

from types import SimpleNamespace

import torch
from transformers.models.gpt_neox.modeling_gpt_neox import apply_rotary_pos_emb as rotate_neox
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as rotate_llama

import th_utils as th


class TransformerBridge(SimpleNamespace):
    """What stands in for a model where a test needs one that has nothing but what it is given."""


def random_weights(layers=3, heads=4, d_model=24, d_head=5, seed=0, dtype=torch.float64) -> th.HeadWeights:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(layers, heads, *shape, generator=generator, dtype=dtype)

    return th.HeadWeights(
        W_Q=draw(d_model, d_head), W_K=draw(d_model, d_head), W_V=draw(d_model, d_head),
        W_O=draw(d_head, d_model),
        b_Q=draw(d_head), b_K=draw(d_head), b_V=draw(d_head),
    )  # fmt: skip


def normalise(model, x):
    """LayerNorm or RMSNorm without gain and bias: what is left of the norms after folding."""
    if "RMS" not in model.cfg.normalization_type:
        x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + model.cfg.eps).sqrt()


def angles(model, positions):
    """cos and sin [1, n, rotary_dim] from the Hugging Face model's own rotary module."""
    rotary = next(m for m in model.original_model.modules() if type(m).__name__.endswith("RotaryEmbedding"))
    return rotary(torch.zeros(1), positions[None])


def rotated(model, q, k):
    """Queries and keys [batch, heads, seq, d_head] turned by Hugging Face's own function."""
    if model.cfg.positional_embedding_type != "rotary":
        return q, k
    cos, sin = angles(model, torch.arange(q.shape[2]))
    return (rotate_neox if cos.shape[-1] < model.cfg.d_head else rotate_llama)(q, k, cos, sin)


def scores(model, weights, layer, query_stream, key_stream):
    """Attention scores [batch, heads, seq, seq] before masking, from residual streams."""
    q = torch.einsum("bsd,hdk->bhsk", normalise(model, query_stream), weights.W_Q[layer]) + weights.b_Q[layer][:, None]
    k = torch.einsum("bsd,hdk->bhsk", normalise(model, key_stream), weights.W_K[layer]) + weights.b_K[layer][:, None]
    q, k = rotated(model, q, k)
    return q @ k.mT / weights.d_head**0.5


def attention(model, weights, layer, query_stream, key_stream, value_stream):
    """Patterns [batch, heads, seq, seq] and head outputs z [batch, seq, heads, d_head] of one layer."""
    v = torch.einsum("bsd,hdk->bhsk", normalise(model, value_stream), weights.W_V[layer]) + weights.b_V[layer][:, None]
    s = scores(model, weights, layer, query_stream, key_stream)
    pattern = s.masked_fill(torch.ones(s.shape[-2:]).triu(1).bool(), -torch.inf).softmax(-1)
    return pattern, (pattern @ v).transpose(1, 2)


def dense(weights, head, mode):
    """W_OV ("OV"), or the reader matrix of mode Q, K or V, as d_model × d_model."""
    W_Q, W_K, W_V, W_O = (getattr(weights, name)[head] for name in ("W_Q", "W_K", "W_V", "W_O"))
    return {"OV": W_V @ W_O, "V": W_V @ W_O, "Q": W_Q @ W_K.T, "K": W_K @ W_Q.T}[mode]


def at(values, index):
    """values[b, index[b]] for every prompt b."""
    return values[torch.arange(len(index)), index]
