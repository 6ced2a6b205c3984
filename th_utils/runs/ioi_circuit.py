"""The IOI circuit of the model in hand, found by measurement: who writes the answer, who steers them, who feeds those.

Path patching from the back to the front (Wang et al. 2022): movers by direct attribution and attention, then the heads
whose edges into the movers' queries matter (S-inhibition), then the heads whose edges into *their* values matter.
Everything here speaks of prompts with the positions IO, S1, S1+1, S2 and END.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ..models import laws, parts
from ..tasks import ioi
from ..tasks.prompts import Prompts
from ..weights.heads import Head, check_head
from .attribution import direct_logit_attribution, previous_token_attention
from .patching import Edge, patch_edges, patch_input
from .record import Run
from .run import run


@dataclass(frozen=True)
class Thresholds:
    """What a head must do to be given a role.

    `attention`: mean attention probability between the two positions that define the role; `attribution`: direct
    contribution as a share of the mean logit difference; `effect`: share of the movers' attention difference
    (IO − S1) that disappears when the head's edge into their queries is patched.
    """

    attention: float = 0.25
    attribution: float = 0.03
    effect: float = 0.2


def head_table(model, clean: Run) -> pd.DataFrame:
    """Tabulate mean numbers of every head, one row per (layer, head), from a run with positions "all" or ["S2"].

    `attribution`: direct contribution to the logit difference, `share`: the same as a share of the mean logit
    difference; the other columns are mean attention probabilities between two positions.
    """
    direct = direct_logit_attribution(model, clean)
    columns = {"attribution": direct.heads, "share": direct.heads / direct.total.mean()}
    for query, key in (("END", "IO"), ("END", "S1"), ("END", "S2"), ("S2", "S1"), ("S2", "S1+1")):
        columns[f"{query}→{key}"] = clean.at(query).looks_at(key)
    columns["previous token"] = previous_token_attention(clean)
    means = {name: values.mean(-1).flatten().cpu().numpy() for name, values in columns.items()}
    return pd.DataFrame(means, _index(model))


def _index(model) -> pd.MultiIndex:
    layers, heads, *_ = parts.shape(model)
    return pd.MultiIndex.from_product([range(layers), range(heads)], names=["layer", "head"])


def mover_roles(table: pd.DataFrame, thresholds: Thresholds = Thresholds()) -> dict[str, list[Head]]:
    """List the heads that write the answer at END, strongest first, by the thresholds.

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


def source_roles(table: pd.DataFrame, thresholds: Thresholds = Thresholds()) -> dict[str, list[Head]]:
    """List heads by where they look: duplicate token (S2→S1), induction (S2→S1+1), previous token."""
    columns = {"duplicate token": "S2→S1", "induction": "S2→S1+1", "previous token": "previous token"}
    return {role: _ranked(table[table[c] >= thresholds.attention], c) for role, c in columns.items()}


def _ranked(rows: pd.DataFrame, column: str) -> list[Head]:
    order = rows[column].abs().sort_values(ascending=False).index
    return [(int(layer), int(head)) for layer, head in order]


def attention_gap(pattern: Float[Tensor, "*n batch seq"], prompts: Prompts) -> Float[Tensor, "*n batch"]:
    """Compute attention on the IO minus attention on S1, what S-inhibition is for, from END's rows of one head.

    Raises `ValueError` for rows of other prompts than these in number or length.
    """
    return prompts.pick(pattern, "IO") - prompts.pick(pattern, "S1")


def clean_gap(clean: Run, head: Head) -> Float[Tensor, " batch"]:
    """Compute the attention gap of one head in a run, per prompt."""
    head = check_head(head, clean.n_layers, clean.pattern.shape[2])
    return attention_gap(clean.at().pattern[head], clean.prompts)


def query_effects(model, clean: Run, new: Run, movers: Sequence[Head]) -> pd.DataFrame:
    """Measure the share of each mover's attention gap that goes when one earlier head's edge into its query is patched.

    One row per sender "layer, head", one column per mover (0 where the sender is not earlier); 1 means the whole gap.
    """
    effects = pd.DataFrame(0.0, _index(model), pd.Index(movers, tupleize_cols=False))
    for mover in movers:
        found = patch_edges(model, clean, new, Edge(mover, "q"))
        effects.loc[list(found.senders), [mover]] = _lost(found, clean.prompts).cpu().numpy()[:, None]
    return effects


def value_effects(model, clean: Run, new: Run, middle: Sequence[Head], movers: Sequence[Head]) -> pd.DataFrame:
    """Measure the share of the movers' mean gap that goes along sender → middle head's *value* at S2 → mover's query.

    The edge from a sender into the value that a middle head reads at S2 is patched, and the middle head's changed
    output reaches the movers' queries directly. One row per sender, one column per middle head. Needs runs with
    positions "all" or ["S2"].
    """
    effects = pd.DataFrame(0.0, _index(model), pd.Index(middle, tupleize_cols=False))
    for layer, head in middle:
        later = [mover for mover in movers if mover[0] > layer]
        if layer == 0 or not later:
            continue
        found = patch_edges(model, clean, new, Edge((layer, head), "v", source="S2"))
        change = laws.write_changes(model, layer, clean.at().z[layer], [head] * len(found.z), found.z)
        lost = [_lost(patch_input(model, clean, Edge(mover, "q"), change), clean.prompts) for mover in later]
        effects.loc[list(found.senders), [(layer, head)]] = torch.stack(lost).mean(0).cpu().numpy()[:, None]
    return effects


def _lost(found, prompts: Prompts) -> Float[Tensor, " n"]:
    """Share of a mover's mean gap that goes under each change."""
    before = attention_gap(found.clean_pattern, prompts).mean()
    return (before - attention_gap(found.pattern, prompts).mean(-1)) / before


@dataclass(frozen=True)
class Circuit:
    """Heads by role, strongest first, with the numbers that decided.

    `roles`: role -> heads. `forced` names roles for which no head passed the thresholds and the strongest candidate was
    taken instead, so that code that needs one can go on (random weights; say so when you report it).
    `table`: one row per head (`head_table`); `effects`: path-patching effects on the movers' queries.
    """

    roles: dict[str, list[Head]]
    forced: tuple[str, ...]
    table: pd.DataFrame = field(repr=False)
    effects: pd.DataFrame = field(repr=False)

    def __getitem__(self, role: str) -> list[Head]:
        return self.roles[role]


def find_circuit(
    model, clean: Run | None = None, new: Run | None = None, thresholds: Thresholds = Thresholds(), n: int = 96,
    seed: int = 0,
) -> Circuit:  # fmt: skip
    """Find name movers, S-inhibition heads and the others on IOI prompts, by `thresholds`.

    `clean`, with positions "all" or ["S2"], and `new` are runs of IOI prompts and of these under the ABC corruption.
    Without them `n` prompts are generated and run (some seconds). S-inhibition heads are those whose edge carries at
    least `thresholds.effect` of the gap of the movers on average.
    """
    clean = run(model, ioi.generate(model, n, seed), ["S2"]) if clean is None else clean
    new = run(model, ioi.corrupt(model, clean.prompts, "ABC", seed + 1), caches=clean.n_layers) if new is None else new
    table = head_table(model, clean)
    roles = mover_roles(table, thresholds) | source_roles(table, thresholds)
    forced = []
    roles["name mover"] = [head for head in roles["name mover"] if head[0] > 0]
    if not roles["name mover"]:
        late = table[table.index.get_level_values("layer") >= max(1, clean.n_layers // 2)]
        roles["name mover"] = [tuple(map(int, late["share"].idxmax()))]
        forced.append("name mover")
    effects = query_effects(model, clean, new, roles["name mover"])
    mean = effects.mean(axis=1).sort_values(ascending=False)
    roles["S-inhibition"] = [tuple(map(int, head)) for head in mean.index[mean >= thresholds.effect]]
    if not roles["S-inhibition"]:
        first = min(mover[0] for mover in roles["name mover"])
        roles["S-inhibition"] = [tuple(map(int, next(head for head in mean.index if head[0] < first)))]
        forced.append("S-inhibition")
    return Circuit(roles, tuple(forced), table, effects)
