"""Who writes the answer, and who looks where: direct logit attribution, attention by position, and head roles."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from .._guards import fit, fit_model, fit_run
from ..classes import check_classes
from ..models import parts
from ..tasks import Prompts
from ..weights.heads import HeadWeights
from .run import Run


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
def direct_logit_attribution(model, weights: HeadWeights, result: Run, prompts: Prompts) -> Attribution:
    """Split the logit difference into what each head, each MLP and the embedding write towards it.

    The final residual stream is a sum of writes; with the final normalisation's scale held at its value in this
    run, the logit difference is linear in it: contribution = write · (W_U[answer] − W_U[distractor]) / scale
    (LayerNorm's centring included). "Direct" leaves out what a write does through later layers.
    Raises `ValueError` for a model loaded with `fold=False`.
    """
    fit(result, prompts)
    fit_model(weights, model)
    fit_run(weights, result)
    W_U, b_U = parts.unembedding(model)
    answer, distractor = prompts.answer.to(W_U.device), prompts.distractor.to(W_U.device)
    resid, z = result.at(result.resid), result.at(result.z)
    direction = parts.centred(model, (W_U[:, answer] - W_U[:, distractor]).T.to(resid))
    # The model's own final norm gives the scale: with folded weights it divides by one number per prompt.
    scale = parts.norm_scale(model, resid[-1], parts.final_norm(model, resid[-1]))
    direction = direction / scale[:, None]
    heads = torch.einsum("lbhk,lhkd,bd->lhb", z, weights.W_O, direction)
    biases = [parts.output_bias(model, layer) for layer in range(weights.n_layers)]
    bias = torch.stack([direction @ b.to(direction) if b is not None else torch.zeros_like(scale) for b in biases])
    layers = torch.einsum("lbd,bd->lb", resid.diff(dim=0), direction)
    constant = 0.0 if b_U is None else (b_U[answer] - b_U[distractor]).to(resid)
    return Attribution(heads, layers - heads.sum(1) - bias, (resid[0] * direction).sum(-1), bias.sum(0) + constant)


def attention_between(result: Run, prompts: Prompts, query: str, key: str) -> Float[Tensor, "layers heads batch"]:
    """Attention probability of every head from one named position to another, per prompt."""
    fit(result, prompts)
    query_at, key_at = (prompts.at(name).to(result.end.device) for name in (query, key))
    pattern = result.at(result.pattern, query_at, axis=3)
    return pattern[:, torch.arange(len(result), device=pattern.device), :, key_at].permute(1, 2, 0)


def previous_token_attention(result: Run) -> Float[Tensor, "layers heads batch"]:
    """Mean attention of every head to the token just before, over all positions of each prompt but the first two.

    The first token is left out as query (nothing before it) and as key (many heads rest there).
    """
    if result.positions != "all":
        raise ValueError("previous-token attention needs every position: call run(..., positions='all')")
    before = result.pattern.diagonal(-1, dim1=-2, dim2=-1)
    index = torch.arange(1, result.tokens.shape[1], device=before.device)
    valid = (index >= 2) & (index <= result.end[:, None])
    weight = valid / valid.sum(1, keepdim=True).clamp_min(1)
    return torch.einsum("lbhp,bp->lhb", before, weight.to(before))


@dataclass(frozen=True)
class Thresholds:
    """What a head must do to be given a role; move them and see how the circuit changes.

    `attention`: mean attention probability between the two positions that define the role; `attribution`: direct
    contribution as a share of the mean logit difference; `effect`: share of the movers' attention difference
    (IO − S1) that disappears when the head's edge into their queries is patched.
    """

    attention: float = 0.25
    attribution: float = 0.03
    effect: float = 0.2


def head_table(model, weights: HeadWeights, clean: Run, prompts: Prompts) -> pd.DataFrame:
    """Mean numbers of every head on a task with positions IO, S1, S1+1, S2, END, one row per head "layer.head".

    `attribution`: direct contribution to the logit difference, `share`: the same as a share of the mean logit
    difference; the other columns are mean attention probabilities between two positions.
    """
    direct = direct_logit_attribution(model, weights, clean, prompts)
    columns = {"attribution": direct.heads, "share": direct.heads / direct.total.mean()}
    for query, key in (("END", "IO"), ("END", "S1"), ("END", "S2"), ("S2", "S1"), ("S2", "S1+1")):
        columns[f"{query}→{key}"] = attention_between(clean, prompts, query, key)
    columns["previous token"] = previous_token_attention(clean)
    index = pd.MultiIndex.from_tuples(weights.heads, names=["layer", "head"])
    return pd.DataFrame({name: values.mean(-1).flatten().cpu().numpy() for name, values in columns.items()}, index)


def mover_roles(table: pd.DataFrame, thresholds: Thresholds = Thresholds()) -> dict[str, list[tuple[int, int]]]:
    """Heads that write the answer at END, strongest first, by the thresholds.

    - "name mover": looks at the IO (more than at S1) and pushes the IO up;
    - "negative name mover": looks at the IO and pushes it down;
    - "subject suppressor": looks at S2 and still favours the IO, so it must push the subject down.
    """
    looks_io = (table["END→IO"] >= thresholds.attention) & (table["END→IO"] > table["END→S1"])
    up, down = table["share"] >= thresholds.attribution, table["share"] <= -thresholds.attribution
    chosen = {
        "name mover": looks_io & up,
        "negative name mover": looks_io & down,
        "subject suppressor": (table["END→S2"] >= thresholds.attention) & ~looks_io & up,
    }
    return {role: _ranked(table[mask], "share") for role, mask in chosen.items()}


def source_roles(table: pd.DataFrame, thresholds: Thresholds = Thresholds()) -> dict[str, list[tuple[int, int]]]:
    """Heads defined by where they look: duplicate token (S2→S1), induction (S2→S1+1), previous token."""
    columns = {"duplicate token": "S2→S1", "induction": "S2→S1+1", "previous token": "previous token"}
    return {role: _ranked(table[table[c] >= thresholds.attention], c) for role, c in columns.items()}


def _ranked(rows: pd.DataFrame, column: str) -> list[tuple[int, int]]:
    order = rows[column].abs().sort_values(ascending=False).index
    return [(int(layer), int(head)) for layer, head in order]


check_classes(globals())
