"""What a model does around its heads: the laws of norms, of what attention writes, of logits.

Nothing here is known by a model's name. What a norm does, and how logits come from the last stream, is found by trying.
At the scales that its norms have in a run a model's direct path is linear (Elhage et al. 2021).
"""

import inspect
from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..weights.composition import rotate as rotate  # chapters turn queries and keys with it
from .parts import device_of, head_matrix, probe, shape, unembedding

CLOSE = 2e-3  # two ways to compute log-probabilities agree when they differ by less
_LOGITS: WeakKeyDictionary = WeakKeyDictionary()  # model -> how its logits come from W_U and b_U


def rotary(model, resid: Tensor, positions: Int[Tensor, "batch pos"], layer: int = 0) -> tuple[Tensor, Tensor] | None:
    """Compute cos and sin `[batch, pos, 1, rotary_dim]` of a layer for these positions, or None without rotary ones."""
    part = getattr(model, "rotary_emb", None)
    if model.cfg.positional_embedding_type != "rotary" or part is None:
        return None
    part, kinds = part.original_component, getattr(model.original_model.config, "layer_types", None)
    several = kinds and "layer_type" in inspect.signature(part.forward).parameters  # layers with bases of their own
    cos, sin = part(resid, positions, *([kinds[layer]] if several else []))
    return cos.unsqueeze(2), sin.unsqueeze(2)


def attention_input(model, layer: int, resid: Tensor) -> Tensor:
    """Compute what the heads of a layer read: the normalised residual stream."""
    return model.blocks[layer].ln1(resid)


def attention_scale(model, layer: int) -> float:
    """Return the number that a layer's attention divides scores by: its own, or √d_head where it has none."""
    scaling = getattr(model.blocks[layer].attn.original_component, "scaling", None)
    return 1 / scaling if scaling else float(model.cfg.d_head) ** 0.5


class Norm(NamedTuple):
    """The law of a norm, `gain · (x − mean) / scale + bias`; the mean is taken off only where it `centres`."""

    centres: bool
    gain: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]

    def linear(self, x: Tensor) -> Tensor:
        """Compute what the norm makes of `x` at scale 1, its bias aside."""
        return self.centred(x) * self.gain

    def adjoint(self, direction: Tensor) -> Tensor:
        """Compute the direction before the norm whose product with `x` is that of `direction` with `linear(x)`."""
        return self.centred(direction * self.gain)

    def centred(self, x: Tensor) -> Tensor:
        """Return `x`, without its mean where the norm takes that off."""
        return x - x.mean(-1, keepdim=True) if self.centres else x


def _law(part, width: int, like: Tensor) -> Norm:
    """Find a norm's law by trying it."""
    probe = torch.ones(width).to(like)
    probe[1::2] = -1.0  # its mean is 0 and its root mean square 1, so its scale is 1
    bias, plain, moved = part(torch.stack([0 * probe, probe, probe + 1])[None])[0]
    return Norm(torch.allclose(plain, moved, rtol=1e-3, atol=1e-4), (plain - bias) * probe, bias)


def _scale(part, resid: Tensor) -> Tensor:
    """Compute the number that a norm divides each `resid` by, [...]; `ValueError` for a norm of another law."""
    law = _law(part, resid.shape[-1], resid)
    made, seen = part(resid) - law.bias, law.linear(resid)
    scale = seen.norm(dim=-1) / made.norm(dim=-1)
    if not torch.allclose(made, seen / scale[..., None], rtol=1e-3, atol=1e-3):
        raise ValueError("a norm of this model is not gain · x / scale + bias: nothing linear can be said of it")
    return scale


def input_law(model, layer: int) -> Norm:
    """Return the law of the norm before a layer's heads."""
    return _law(model.blocks[layer].ln1, model.cfg.d_model, model.W_E)


def input_scale(model, layer: int, resid: Float[Tensor, "... d_model"]) -> Tensor:
    """Compute the number that the norm before a layer's heads divides each `resid` by, [...]."""
    return _scale(model.blocks[layer].ln1, resid)


def head_norm(model, layer: int, name: str) -> Norm | None:
    """Return the law of the norm on a layer's queries ("q") or keys ("k"), of each head or across all, or None."""
    norm = getattr(model.blocks[layer].attn, f"{name}_norm", None)
    weight = getattr(getattr(norm, "original_component", None), "weight", None)
    if getattr(norm, "original_component", None) is None:
        return None
    return _law(norm, model.cfg.d_head if weight is None else weight.numel(), model.W_E)


def final_norm(model, resid: Tensor) -> Tensor:
    """Compute the normalised stream that the unembedding reads."""
    return model.ln_final(resid)


def final_law(model) -> Norm:
    """Return the law of the final norm."""
    return _law(model.ln_final, model.cfg.d_model, model.W_E)


def final_scale(model, resid: Float[Tensor, "... d_model"]) -> Tensor:
    """Compute the number that the final norm divides each `resid` by, [...]."""
    return _scale(model.ln_final, resid)


def _post_norm(model, layer: int):
    """Return the norm between attention's output and the stream, or None."""
    return model.blocks[layer].ln1_post if "ln1_post" in model.blocks[layer].submodules else None


def _multiplier(model, layer: int) -> float:
    """Return the number that some models multiply by what attention adds."""
    return getattr(model.blocks[layer], "residual_contribution_scale", 1.0)


def attention_write(model, layer: int, z: Float[Tensor, "... heads d_head"]) -> Tensor:
    """Compute what attention adds to the stream when its heads give z: z W_O + b_O, then a norm and a multiplier."""
    out, after = model.blocks[layer].attn.o(z.flatten(-2)), _post_norm(model, layer)
    return (out if after is None else after(out)) * _multiplier(model, layer)


def write_law(model, layer: int) -> tuple[Float[Tensor, " d_model"] | float, Float[Tensor, " d_model"] | float]:
    """Return gain and bias with which attention adds `gain · (z W_O + b_O) / write_scale + bias` to the stream.

    They are 1 and 0 in most models; else those of a norm after attention, or a multiplier.
    """
    after, factor = _post_norm(model, layer), _multiplier(model, layer)
    if after is None:
        return factor, 0.0
    law = _law(after, model.cfg.d_model, model.W_E)
    return law.gain * factor, law.bias * factor


def write_scale(model, layer: int, z: Float[Tensor, "... heads d_head"]) -> Tensor | float:
    """Compute the number that a norm after attention divides by at these z, [...]; 1 where there is none."""
    after = _post_norm(model, layer)
    return 1.0 if after is None else _scale(after, model.blocks[layer].attn.o(z.flatten(-2)))


def write_changes(
    model,
    layer: int,
    z: Float[Tensor, "heads batch d_head"],
    heads: Sequence[int],
    new: Float[Tensor, "n batch d_head"],
) -> Float[Tensor, "n batch d_model"]:
    """Compute what the stream gets more in n cases: in case i head `heads[i]` gives `new[i]` in place of its z.

    A norm after attention reacts.
    """
    heads = list(heads)
    if _post_norm(model, layer) is None:
        moved = (new - z[heads]) * write_law(model, layer)[0]
        return torch.einsum("nbk,nkd->nbd", moved, head_matrix(model, layer, "W_O")[heads])
    before = z.transpose(0, 1)  # [batch, heads, d_head]
    after = before.repeat(len(heads), 1, 1, 1)
    after[torch.arange(len(heads)), :, heads] = new
    return attention_write(model, layer, after) - attention_write(model, layer, before)


class Logits(NamedTuple):
    """How logits come from a normalised stream: `cap · tanh(factor · (x W_U + b_U) / cap)`; None caps nothing."""

    factor: float
    cap: float | None

    def of(self, plain: Tensor) -> Tensor:
        """Compute logits from x W_U + b_U."""
        plain = plain if self.factor == 1 else plain * self.factor
        return plain if self.cap is None else self.cap * torch.tanh(plain / self.cap)


@torch.no_grad()
def logit_law(model) -> Logits:
    """Find how a model's logits come from W_U and b_U, by one pass of two short texts, the first time.

    Raises `ValueError` for a model whose logits come otherwise.
    """
    if model not in _LOGITS:
        seen: list[Tensor] = []
        handle = model.ln_final.register_forward_hook(lambda _, args, out: seen.append(out))
        try:
            size = shape(model)
            own = model(probe(size.vocab, size.context).to(device_of(model)))[:, ::4].double()  # some positions do
        finally:
            handle.remove()
        plain = _plain_logits(model, seen[-1][:, ::4]).double()  # a decoder may use its last norm on the embedding too
        # Up to a constant for each token, which an unembedding that is centred leaves out.
        cap = float(getattr(model.cfg, "output_logits_soft_cap", None) or 0)
        cap = cap if cap > 0 else None
        straight = own if cap is None else cap * torch.atanh((own / cap).clamp(-0.99, 0.99))
        straight, centred = (x - x.mean(-1, keepdim=True) if cap is None else x for x in (straight, plain))
        told = torch.ones_like(own) if cap is None else (own.abs() < 0.9 * cap).double()  # capped ones say nothing
        factor = float((straight * centred * told).sum() / (centred.square() * told).sum())
        law = Logits(1.0 if abs(factor - 1) < 1e-4 else factor, cap)
        gap = (law.of(plain).log_softmax(-1) - own.log_softmax(-1)).abs().max()
        if not gap < CLOSE:
            raise ValueError(f"logits do not follow from this model's last norm and W_U (log p differ by {gap:.1g})")
        _LOGITS[model] = law
    return _LOGITS[model]


def _plain_logits(model, states: Float[Tensor, "... d_model"]) -> Float[Tensor, "... vocab"]:
    W_U, b_U = unembedding(model)
    product = states @ W_U
    return product if b_U is None else product + b_U


def unembed(model, states: Float[Tensor, "... d_model"]) -> Float[Tensor, "... vocab"]:
    """Compute logits of normalised states, x W_U + b_U, and what the model makes of that (`logit_law`)."""
    return logit_law(model).of(_plain_logits(model, states))


def answer_direction(model, answer: Int[Tensor, " batch"], distractor: Int[Tensor, " batch"]):
    """Return D [batch, d_model] and a constant c with logit(answer) − logit(distractor) = `final_norm(x)`·D + c.

    Logits are those before a soft cap. `final_law(model).adjoint(D)` is the same direction before the final norm.
    """
    (W_U, b_U), factor = unembedding(model), logit_law(model).factor
    difference = (W_U[:, answer] - W_U[:, distractor]).T * factor
    return difference, 0.0 if b_U is None else (b_U[answer] - b_U[distractor]) * factor
