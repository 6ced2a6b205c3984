"""The one file that reaches inside a TransformerLens `TransformerBridge`; everything else works on plain tensors.

The functions here are the equations of one pre-norm transformer block (row vectors, rotary left out of the notation)
as GPT-2, GPT-NeoX (attention and MLP in parallel, partly rotary) and Llama (grouped queries, gated MLP) have it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from weakref import WeakKeyDictionary
from zlib import crc32

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .._guards import refuse_autocast, version
from ..weights.composition import rotate as rotate  # the engine and the chapters turn queries and keys with it
from ..weights.heads import HeadWeights

MATRICES = ("W_Q", "W_K", "W_V", "W_O")
_FINGERPRINTS: WeakKeyDictionary = WeakKeyDictionary()  # model -> parameters, their versions, checksum
_EDITS: WeakKeyDictionary = WeakKeyDictionary()


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
    cfg = _of(model, "cfg")
    groups = cfg.n_heads // (cfg.n_key_value_heads or cfg.n_heads)
    own = model.original_model.config  # some models look no further back than this
    window = getattr(own, "sliding_window", None) or getattr(own, "window_size", None) or cfg.n_ctx
    return Shape(cfg.n_layers, cfg.n_heads, groups, cfg.d_model, cfg.d_head, cfg.d_vocab, min(cfg.n_ctx, window))


def tokenizer(model):
    """Return the model's tokenizer."""
    return _of(model, "tokenizer")


def _of(model, name: str):
    if (found := getattr(model, name, None)) is None:
        raise TypeError(f"model must be a TransformerBridge from th.load_model(), got {model!r:.80}")
    return found


def fingerprint(model) -> str:
    """Return a checksum of the parameters; those written to since are read anew (`.data` and fused optimisers aside).

    Weights, runs, channels and edits carry it, so that those of another model of the same shape are refused. It stays
    the same inside `th.edited`, which gives the weights back.
    """
    if model not in _FINGERPRINTS:
        _FINGERPRINTS[model] = [part._parameters for part in _of(model, "modules")() if part._parameters], [], [], []
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


def probe(vocab: int, context: int) -> Int[Tensor, "batch pos"]:
    """Return two short texts of arbitrary tokens, to try a model with."""
    return (torch.arange(24) % min(50, vocab)).view(2, 12)[:, :context]


def require_ready(model) -> None:
    """Raise unless runs of this model are right: evaluation mode, full precision, no hooks of the reader's own.

    Raises `TypeError` for anything but a `TransformerBridge`, `ValueError` for a state in which numbers would be wrong.
    """
    points = _of(model, "hook_dict")  # made anew each time, which takes a while
    if any(point.training for point in (model, *points.values())):  # points follow the part they are in
        raise ValueError("the model is in training mode, in which dropout makes runs random: call model.eval()")
    weight = model.W_E
    if weight.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"the model is in {weight.dtype}, too coarse, and has lost digits: load it anew")
    refuse_autocast()
    if hooked := [name for name, point in points.items() if point.fwd_hooks or point.bwd_hooks]:
        named = f"{', '.join(hooked[:3])}{' …' * (len(hooked) > 3)}"
        raise ValueError(f"the model has hooks of its own at {named}: call model.reset_hooks() and give them as hooks=")


def head_weights(model) -> HeadWeights:
    """Copy the attention weights out of a model (see `HeadWeights` for shapes and conventions)."""
    size = shape(model)
    stacked = {}
    for name in MATRICES:
        layers = torch.stack([head_matrix(model, layer, name) for layer in range(size.layers)])
        stacked[name] = layers.repeat_interleave(size.groups, dim=1) if name in ("W_K", "W_V") else layers
    for name in ("b_Q", "b_K", "b_V"):
        rows = [head_bias(model, layer, name) for layer in range(size.layers)]
        if rows[0] is None:
            stacked[name] = torch.zeros(size.layers, size.heads, size.d_head).to(stacked["W_Q"])
        else:
            biases = torch.stack(rows)
            stacked[name] = biases.repeat_interleave(size.heads // biases.shape[1], dim=1)
    # Copied inside `th.edited` they are the weights of another model.
    return HeadWeights(**stacked, fingerprint=fingerprint(model) + " edited" * bool(edits(model)))


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


def embed(model, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
    """Compute the residual stream before layer 0 (learned positions added where the model has them)."""
    resid = model.embed(tokens)
    if model.cfg.positional_embedding_type == "standard":
        resid = resid + model.W_pos[: tokens.shape[1]]
    return resid


def rotary(model, resid: Tensor, positions: Int[Tensor, "batch pos"]) -> tuple[Tensor, Tensor] | None:
    """Compute cos and sin `[batch, pos, 1, rotary_dim]` for these positions, or None without rotary embeddings."""
    if model.cfg.positional_embedding_type != "rotary":
        return None
    cos, sin = model.rotary_emb.original_component(resid, positions)
    return cos.unsqueeze(2), sin.unsqueeze(2)


def attention_input(model, layer: int, resid: Tensor) -> Tensor:
    """Compute what the heads of a layer read: the normalised residual stream."""
    return model.blocks[layer].ln1(resid)


def project(model, layer: int, name: str, x: Tensor) -> Float[Tensor, "... heads d_head"]:
    """Compute queries ("q"), keys ("k") or values ("v") of a layer from its normalised input, before rotation."""
    return getattr(model.blocks[layer].attn, name)(x).unflatten(-1, (-1, model.cfg.d_head))


def attention_scale(model) -> float:
    """Return the number attention scores are divided by, √d_head."""
    return float(model.cfg.d_head) ** 0.5


def attention_output(model, layer: int, z: Float[Tensor, "... heads d_head"]) -> Tensor:
    """Compute z W_O summed over heads, plus b_O."""
    return model.blocks[layer].attn.o(z.flatten(-2))


def mlp_output(model, layer: int, resid_pre: Tensor, resid_mid: Tensor) -> Tensor:
    """Compute the MLP's write. In parallel blocks (GPT-NeoX) it reads the stream before attention."""
    block = model.blocks[layer]
    return block.mlp(block.ln2(resid_pre if model.cfg.parallel_attn_mlp else resid_mid))


def final_norm(model, resid: Tensor) -> Tensor:
    """Compute the normalised stream that the unembedding reads."""
    return model.ln_final(resid)


def centred(model, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
    """Compute what the normalisation sees of `x`: without its mean over d_model under LayerNorm, `x` under RMSNorm."""
    return x if "RMS" in model.cfg.normalization_type else x - x.mean(-1, keepdim=True)


def norm_scale(model, resid: Float[Tensor, "... d_model"], normalised: Float[Tensor, "... d_model"]) -> Tensor:
    """Compute the number that a normalisation without a gain (folded weights) has divided each `resid` by, [...].

    Raises `ValueError` for one with a gain.
    """
    seen = centred(model, resid)
    scale = seen.norm(dim=-1) / normalised.norm(dim=-1)
    if not torch.allclose(normalised, seen / scale[..., None], rtol=1e-3, atol=1e-3):
        raise ValueError("a norm of this model has a gain of its own: load it with fold=True")
    return scale


def unembedding(model) -> tuple[Float[Tensor, "d_model vocab"], Float[Tensor, " vocab"] | None]:
    """Return W_U and b_U."""
    return model.W_U.detach(), None if model.b_U is None else model.b_U.detach()


def unembed(model, states: Float[Tensor, "... d_model"]) -> Float[Tensor, "... vocab"]:
    """Compute logits of normalised states: x W_U + b_U."""
    W_U, b_U = unembedding(model)
    product = states @ W_U
    return product if b_U is None else product + b_U


def answer_direction(model, answer: Int[Tensor, " batch"], distractor: Int[Tensor, " batch"]):
    """Return W_U[answer] − W_U[distractor] `[batch, d_model]`, centred as the final norm does, and that of b_U."""
    W_U, b_U = unembedding(model)
    difference = centred(model, (W_U[:, answer] - W_U[:, distractor]).T)
    return difference, 0.0 if b_U is None else b_U[answer] - b_U[distractor]


def device_of(model) -> torch.device:
    """Return the device of the model."""
    return model.W_E.device
