"""The IOI circuit of the model in hand, found by measurement: who writes the answer, who steers them, who feeds those.

Path patching from the back to the front (Wang et al. 2022): movers by direct attribution and attention, then the heads
whose edges into the movers' queries matter (S-inhibition), then the heads whose edges into *their* values matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from .._guards import fit, numbers, whole
from ..classes import check_classes
from ..tasks import Prompts, ioi
from ..weights.heads import HeadWeights, check_head
from .attribution import Thresholds, head_table, mover_roles, source_roles
from .patching import patch_edges, patch_input
from .run import Run, run

Head = tuple[int, int]


def attention_gap(pattern: Float[Tensor, "*n batch seq"], prompts: Prompts) -> Float[Tensor, "*n batch"]:
    """Attention on the IO minus attention on S1: what S-inhibition is for. `pattern` are END's rows of one head."""
    io, s1 = (prompts.at(name).to(pattern.device) for name in ("IO", "S1"))
    pattern = numbers("pattern", pattern, nan=True)
    if not len(prompts) or pattern.shape[-2:] != prompts.tokens.shape:
        raise ValueError(
            f"pattern must end in [batch, seq] = {list(prompts.tokens.shape)} of the prompts, at least one, got "
            f"{list(pattern.shape)}"
        )
    batch = torch.arange(len(prompts), device=pattern.device)
    return pattern[..., batch, io] - pattern[..., batch, s1]


def clean_gap(clean: Run, prompts: Prompts, head: Head) -> Float[Tensor, " batch"]:
    """The attention gap of one head in a run, per prompt."""
    layer, index = check_head(head, len(clean.pattern), clean.pattern.shape[2])
    return attention_gap(clean.at(clean.pattern, axis=3)[layer, :, index], prompts)


def query_effects(
    model, weights: HeadWeights, clean: Run, new: Run, prompts: Prompts, movers: Sequence[Head]
) -> pd.DataFrame:
    """Share of each mover's attention gap that goes when one earlier head's edge into its query is patched.

    One row per sender "layer, head", one column per mover (0 where the sender is not earlier); 1 means the whole gap.
    """
    index = pd.MultiIndex.from_tuples(weights.heads, names=["layer", "head"])
    movers = [weights.check_head(mover) for mover in movers]
    effects = pd.DataFrame(0.0, index, pd.Index(movers, tupleize_cols=False))
    for mover in movers:
        before = clean_gap(clean, prompts, mover).mean()
        senders, patterns, _ = patch_edges(model, weights, clean, new, mover, "q")
        lost = (before - attention_gap(patterns, prompts).mean(-1)) / before
        effects.loc[senders, [mover]] = lost.cpu().numpy()[:, None]
    return effects


def value_effects(
    model, weights: HeadWeights, clean: Run, new: Run, prompts: Prompts, middle: Sequence[Head], movers: Sequence[Head]
) -> pd.DataFrame:
    """Share of the movers' mean attention gap that goes when a sender's edge into the *value* a middle head reads at S2
    is patched, and the middle head's changed output reaches the movers' queries directly: sender → middle → mover.

    One row per sender, one column per middle head. Needs runs with `positions="all"`.
    """
    index = pd.MultiIndex.from_tuples(weights.heads, names=["layer", "head"])
    middle, movers = ([weights.check_head(head) for head in some] for some in (middle, movers))
    effects = pd.DataFrame(0.0, index, pd.Index(middle, tupleize_cols=False))
    fit(clean, prompts)
    source = prompts.at("S2")
    for head in middle:
        if head[0] == 0:
            continue
        senders, _, z = patch_edges(model, weights, clean, new, head, "v", source=source)
        change = (z - clean.at(clean.z)[head[0], :, head[1]]) @ weights.W_O[head]
        lost = [_relative_loss(model, clean, prompts, mover, change) for mover in movers if mover[0] > head[0]]
        if lost:
            effects.loc[senders, [head]] = torch.stack(lost).mean(0).cpu().numpy()[:, None]
    return effects


def _relative_loss(model, clean: Run, prompts: Prompts, mover: Head, change: Tensor) -> Tensor:
    before = clean_gap(clean, prompts, mover).mean()
    patterns, _ = patch_input(model, clean, mover, "q", change)
    return (before - attention_gap(patterns, prompts).mean(-1)) / before


@dataclass(frozen=True)
class Circuit:
    """Heads by role, strongest first, with the numbers that decided.

    `roles`: role -> heads. `forced` names roles for which no head passed the thresholds and the strongest candidate was
    taken instead, so that code that needs one can go on (random weights; say so when you report it).
    `table`: one row per head (`attribution.head_table`); `effects`: path-patching effects on the movers' queries.
    """

    roles: dict[str, list[Head]]
    forced: tuple[str, ...]
    table: pd.DataFrame = field(repr=False)
    effects: pd.DataFrame = field(repr=False)

    def __getitem__(self, role: str) -> list[Head]:
        if role not in self.roles:
            raise KeyError(f"no role {role!r}: the roles are {sorted(self.roles)}")
        return self.roles[role]


def find_circuit(
    model,
    weights: HeadWeights,
    prompts: Prompts | None = None,
    clean: Run | None = None,
    new: Run | None = None,
    thresholds: Thresholds | None = None,
    n: int = 96,
    seed: int = 0,
) -> Circuit:
    """Find name movers, S-inhibition heads and the others on IOI prompts, by `thresholds`.

    Without `prompts`, `n` of them are generated and run, clean and with the ABC corruption (some seconds). S-inhibition
    heads are those whose edge carries at least `thresholds.effect` of the gap of the movers on average.
    """
    n = whole("n", n)
    if prompts is None:
        prompts = ioi.generate(model, n, seed)
    thresholds = thresholds or Thresholds()
    clean = run(model, prompts, "all") if clean is None else clean
    new = run(model, ioi.corrupt(model, prompts, "ABC", seed + 1), "all") if new is None else new
    table = head_table(model, weights, clean, prompts)
    roles = mover_roles(table, thresholds) | source_roles(table, thresholds)
    forced = []
    roles["name mover"] = [head for head in roles["name mover"] if head[0] > 0]
    if not roles["name mover"]:
        late = table[table.index.get_level_values("layer") >= max(1, weights.n_layers // 2)]
        roles["name mover"] = [tuple(map(int, late["share"].idxmax()))]
        forced.append("name mover")
    effects = query_effects(model, weights, clean, new, prompts, roles["name mover"])
    mean = effects.mean(axis=1).sort_values(ascending=False)
    roles["S-inhibition"] = [tuple(map(int, head)) for head in mean.index[mean >= thresholds.effect]]
    if not roles["S-inhibition"]:
        first = min(mover[0] for mover in roles["name mover"])
        roles["S-inhibition"] = [tuple(map(int, next(head for head in mean.index if head[0] < first)))]
        forced.append("S-inhibition")
    return Circuit(roles, tuple(forced), table, effects)


check_classes(globals())
