"""The attention weights of a model as weight space needs them, copied."""

import torch

from ..weights.heads import HeadWeights
from . import laws, parts
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
    if any(isinstance(gain, torch.Tensor) or gain != 1 for gain in gains):
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
