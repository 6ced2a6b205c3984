"""What the report measures, one function per section: `(model, settings, found) -> dict` of plain JSON values.

`found` holds the sections before. An estimate is written as `{"value", "low", "high", "n"}`, with a 95% interval over
`n` prompts (stats.mean, stats.share, stats.bootstrap). Heads, components and settings are chosen on one half of the
names, templates and nouns, and every effect is measured on the other half. What each number is, chapters 01 to 04 say.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

import th_utils as th

from ..models import parts
from ..tasks import ioi, single_token_words
from ..tasks.prompts import Prompts

ABLE = 0.6  # what the interval of the accuracy must lie above; chance is one half
LOST = 0.1  # share of the movers' gap that must go with a head or a component for it to matter
ROWS = 4  # so many heads of one role are reported, the strongest first


@dataclass(frozen=True)
class Settings:
    """How much is measured. `prompts`: of IOI, in each half; `lists`: prompts per length; the rest counts controls.

    112 prompts hold every template of each half in both orders equally often. `circuits`: passes with random circuits.
    """

    prompts: int = 112
    lists: int = 100
    lengths: tuple[int, ...] = (2, 3, 5, 8)
    steered: int = 5
    circuits: int = 3
    directions: int = 5
    null: int = 1000
    seed: int = 0


QUICK = Settings(prompts=28, lists=24, circuits=1, directions=2, null=200)


def halves(model, settings: Settings) -> tuple[Prompts, Prompts]:
    """Make IOI prompts to choose on, and prompts of other names and templates to test on."""
    names, n = single_token_words(parts.tokenizer(model), ioi.NAMES), len(ioi.TEMPLATES)
    return tuple(
        ioi.generate(model, settings.prompts, settings.seed + i, names=names[i::2], templates=range(i, n, 2))
        for i in (0, 1)
    )


def task(model, settings: Settings, found: dict) -> dict:
    """Measure IOI: accuracy between the two names, top-1, logit difference; the control repeats no name."""
    prompts = halves(model, settings)[1]
    run, once = (th.run(model, p) for p in (prompts, ioi.corrupt(model, prompts, "S2->random", settings.seed)))
    ld, n = th.logit_difference(model, run), len(prompts)
    accuracy = th.stats.share(ld > 0)
    orders = {order: ld[rows] for order, rows in zip(ioi.ORDERS, (abba(prompts), ~abba(prompts)), strict=True)}
    return {
        "n": n, "accuracy": plain(accuracy, n), "top1": plain(th.stats.share(th.top1(model, run)), n),
        "logit_difference": average(ld), "orders": {order: average(of) for order, of in orders.items()},
        "control": {"no name repeated": average(th.logit_difference(model, once))},
        "example": prompts.text[0], "chance": 0.5, "needed": ABLE, "able": bool(accuracy.low > ABLE),
    }  # fmt: skip


def circuit(model, settings: Settings, found: dict) -> dict:
    """Find the IOI circuit on one half; on the other, keep only it, or only all else, beside random circuits."""
    (choose, prompts), seed = halves(model, settings), settings.seed
    clean, new = th.run(model, choose, ["S2"]), th.run(model, ioi.corrupt(model, choose, "ABC", seed + 2))
    circuit = th.find_circuit(model, clean, new)
    movers, direct = circuit["name mover"], th.direct_logit_attribution(model, clean)

    def lost(head: tuple[int, int]) -> torch.Tensor:
        edges = [(m, th.patch_edges(model, clean, new, th.Edge(m), [head])) for m in movers if m[0] > head[0]]
        gaps = [(th.clean_gap(clean, m), th.attention_gap(found.pattern[0], choose)) for m, found in edges]
        return torch.stack([(before - after) / before.mean() for before, after in gaps]).mean(0)

    def written(head: tuple[int, int]) -> dict:
        return {"what": "share of the logit difference", **ratio(direct.heads[head], direct.total)}

    measures = dict.fromkeys(("name mover", "negative name mover", "subject suppressor"), written) | {
        "S-inhibition": lambda head: {"what": "share of the gap of later movers", **average(lost(head))},
        "induction": lambda head: {"what": "attention S2→S1+1", **average(clean.at("S2").looks_at("S1+1")[head])},
        "duplicate token": lambda head: {"what": "attention S2→S1", **average(clean.at("S2").looks_at("S1")[head])},
    }
    rows = [{"role": role, "head": h, **of(h)} for role, of in measures.items() for h in circuit[role][:ROWS]]
    others = circuit.effects.mean(axis=1).drop(circuit["S-inhibition"])
    return {
        "n": len(choose), "thresholds": asdict(th.Thresholds()), "forced": circuit.forced, "roles": circuit.roles,
        "heads": rows, "control": {"head": others.idxmax(), "value": float(others.max())},
        "effects": circuit.effects.to_numpy().T.round(5).tolist(),  # one list per mover, over all heads in order
        "faithfulness": _faithfulness(model, prompts, sorted(set(sum(circuit.roles.values(), []))), settings),
    }  # fmt: skip


def _faithfulness(model, prompts: Prompts, kept: list, settings: Settings) -> dict:
    """Shares of the logit difference with other heads resample-ablated; each block of prompts has a random circuit."""
    weights, ld = th.head_weights(model), th.logit_difference(model, th.run(model, prompts))
    new = th.run(model, ioi.corrupt(model, prompts, "ABC", settings.seed + 3), "all")
    replacement, new = th.ablated(new, new, "resample"), None
    size = prompts.table.groupby(["template", "order"]).ngroups  # a block holds every template in both orders once
    blocks = torch.arange(len(prompts)) // size

    def mask(heads: list) -> torch.Tensor:
        return torch.tensor([head in heads for head in weights.heads]).view(weights.n_layers, weights.n_heads)

    def left(kept: torch.Tensor) -> torch.Tensor:
        return th.logit_difference(model, th.keep_heads(model, prompts, replacement, kept))

    def by_block(kept: torch.Tensor) -> list[float]:
        after = left(kept[blocks])
        return [float(after[blocks == b].mean() / ld[blocks == b].mean()) for b in blocks.unique()]

    n = int(blocks[-1]) + 1
    drawn = [mask(th.random_like(weights, kept, settings.seed + i)) for i in range(n * settings.circuits)]
    groups = torch.stack(drawn).split(n)
    return {
        "n": len(prompts), "size": len(kept), "of": len(weights.heads),
        "keep": ratio(left(mask(kept)), ld), "out": ratio(left(~mask(kept)), ld),
        "control": {"kept": sum(map(by_block, groups), []), "out": by_block(~groups[0])},
    }  # fmt: skip


def components(model, settings: Settings, found: dict) -> dict:
    """Rank components of the `carriers` into the movers' queries; nulls: rotated, empirical, any direction."""
    weights, (movers, senders) = th.head_weights(model), carriers(model, found)
    scores, edges = th.component_scores(weights, "Q", movers), []
    for writer, mover in ((w, m) for m in movers for w in senders if w[0] < m[0]):
        rank, how = scores.rank(writer, mover), {"n": settings.null, "seed": settings.seed}
        null = th.rotated_null(weights, "Q", writer, mover, **how)
        edges.append({
            "component": rank.part, "mover": mover, "score": rank.score, "rank": rank.rank, "of": rank.of, "z": rank.z,
            "z_rotated": float((rank.score - null.mean()) / null.std()), "null_high": float(null.quantile(0.999)),
        })  # fmt: skip
    carried = dict(zip(movers, found["circuit"]["effects"], strict=True))
    ranked = [(scores.rank(w, m), m) for m in movers for w in weights.heads if w[0] < m[0]]
    top = [
        {"component": r.part, "mover": m, "score": r.score, "carried": carried[m][weights.heads.index(r.part[:2])]}
        for r, m in sorted(ranked, key=lambda pair: -pair[0].score)[:10]
    ]
    shown = {th.label(w): scores.into(movers[0])[w].tolist() for w in senders if w[0] < movers[0][0]}
    band = th.random_band(weights, "Q", movers[0])
    return {"n": settings.null, "edges": edges, "top": top, "mover": movers[0], "scores": shown,
            "control": {"any direction": list(band)}}  # fmt: skip


def abba(prompts: Prompts) -> torch.Tensor:
    """Tell which prompts name the IO first."""
    return torch.tensor((prompts.table.order == "ABBA").to_numpy())


def gap(run: th.Run, movers: Sequence) -> torch.Tensor:
    """Compute the movers' mean attention on the IO minus that on S1, per prompt."""
    return torch.stack([th.clean_gap(run, mover) for mover in movers]).mean(0)


def plain(estimate: th.Estimate, n: int) -> dict:
    """Write an estimate as JSON."""
    return {"value": float(estimate.value), "low": float(estimate.low), "high": float(estimate.high), "n": n}


def average(values: torch.Tensor) -> dict:
    """Estimate a mean over prompts, as JSON."""
    return plain(th.stats.mean(values), len(values))


def ratio(change: torch.Tensor, whole: torch.Tensor) -> dict:
    """Estimate one mean as a share of another, as JSON; prompts are resampled for both at once."""
    return plain(th.stats.bootstrap(lambda a, b: a.mean() / b.mean(), change, whole), len(whole))


def carriers(model, found: dict) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the movers, and the heads with which `LOST` of the movers' gap goes or more, the strongest first.

    The S-inhibition heads are those with a larger share. The bound was lowered when a second model had been seen, whose
    signal comes from several weaker heads. Raises `ValueError` where there is no circuit.
    """
    if "refused" in found["circuit"]:
        raise ValueError("the circuit was not measured, and this needs its heads")
    roles, effects = found["circuit"]["roles"], torch.tensor(found["circuit"]["effects"]).mean(0)
    kept = [i for i in effects.argsort(descending=True).tolist() if effects[i] >= LOST]
    senders = [divmod(i, parts.shape(model).heads) for i in kept] or roles["S-inhibition"]
    return [tuple(head) for head in roles["name mover"]], [tuple(head) for head in senders]
