"""Who writes the answer: the logit difference as a sum of direct contributions."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..models import laws, parts
from .metrics import require_complete
from .record import Run, require_current


@dataclass(frozen=True)
class Attribution:
    """Direct contributions to logit(answer) − logit(distractor) at END, per prompt; they sum to it exactly.

    `heads`: [layers, heads, batch]; `mlps`: [layers, batch]; `embedding`: [batch]; `bias`: [batch] (b_O and b_U).
    """

    heads: Float[Tensor, "layers heads batch"]
    mlps: Float[Tensor, "layers batch"]
    embedding: Float[Tensor, " batch"]
    bias: Float[Tensor, " batch"]

    @property
    def total(self) -> Float[Tensor, " batch"]:
        """The sum of all contributions: the logit difference itself."""
        return self.heads.sum((0, 1)) + self.mlps.sum(0) + self.embedding + self.bias


@torch.no_grad()
def direct_logit_attribution(model, result: Run) -> Attribution:
    """Split the logit difference into what each head, each MLP and the embedding write towards it.

    The final residual stream is a sum of writes; with the final normalisation's scale held at its value in this
    run, the logit difference is linear in it: contribution = write · (W_U[answer] − W_U[distractor]) / scale
    (LayerNorm's centring included). A norm after attention is held at its scale, too. "Direct" leaves out what a
    write does through later layers. W_O is read from the model, so that inside `th.edited` edited heads get what they
    write there.
    Logits are those before a soft cap. Raises `ValueError` for runs of another model, stopped early, under other
    edits, or with hooks at `hook_resid_pre` or `hook_attn_out`, which are neither heads nor MLPs.
    """
    require_complete(model, result)
    streams = [f"blocks.{layer}.hook_resid_pre" for layer in range(1, result.n_layers)]
    require_current(model, result, ["hook_attn_out", *streams])
    direction, constant = laws.answer_direction(model, result.prompts.answer, result.prompts.distractor)
    resid, z = result.at().resid, result.at().z
    norm, heads, bias = laws.final_law(model), [], []
    constant = constant + direction @ norm.bias
    # The final norm divides by one number per prompt, which the model itself tells.
    direction = norm.adjoint(direction) / laws.final_scale(model, resid[-1])[:, None]
    # Layer by layer, as stacking all W_O would copy them, and W_O towards the direction first, which is least work.
    for layer, out in enumerate(z):
        (gain, shift), scale = laws.write_law(model, layer), laws.write_scale(model, layer, out.transpose(0, 1))
        before = direction * gain
        towards = torch.einsum("hkd,bd->hbk", parts.head_matrix(model, layer, "W_O"), before)
        heads.append(torch.einsum("hbk,hbk->hb", out, towards) / scale)
        added = parts.output_bias(model, layer)
        bias.append((direction * shift).sum(-1) + (0.0 if added is None else before @ added / scale))
    heads, bias = torch.stack(heads), torch.stack(bias)
    layers = torch.einsum("lbd,bd->lb", resid.diff(dim=0), direction)
    return Attribution(heads, layers - heads.sum(1) - bias, (resid[0] * direction).sum(-1), bias.sum(0) + constant)


def previous_token_attention(result: Run) -> Float[Tensor, "layers heads batch"]:
    """Average every head's attention to the token just before, over all positions of each prompt but the first two.

    The first token is left out as query (nothing before it) and as key (many heads rest there).
    Raises `ValueError` for a run that keeps END only.
    """
    if result.pattern.shape[3] != result.tokens.shape[1]:
        raise ValueError("previous-token attention needs every position: name places in run(..., positions=), or 'all'")
    before = result.pattern.diagonal(-1, dim1=-2, dim2=-1)
    index = torch.arange(1, result.tokens.shape[1], device=before.device)
    valid = (index >= 2) & (index <= result.end[:, None])
    weight = valid / valid.sum(1, keepdim=True).clamp_min(1)
    return torch.einsum("lbhp,bp->lhb", before, weight.to(before))
