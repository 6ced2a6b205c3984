"""The Laundry List task: N things are listed, all but one are ticked off in another order, the model names the rest.

"Today Ana needs to buy the lamp, the rope, and the coin. So far Ana has bought the coin and the lamp. Ana still needs
to buy the" -> rope. IOI is the case N = 2 with names. The task is that of Merullo et al. 2024; their prompts are not
published, so the frames and items are ours.

Items count from 0 in the order of the list. Named positions: "item 0", ... (first mentions), "ticked 0", ... (second
mentions, in the order they are ticked off) and END.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from .._guards import whole
from .ioi import NAMES
from .prompts import Prompts, encode, single_token_words, word_id

MAX_ITEMS = 20


class Frame(NamedTuple):
    """The three sentences of a prompt. `ask` of an index cue holds {cue}, and such a frame ticks nothing off."""

    listing: str
    ticking: str
    ask: str
    article: str = "the "
    joiner: str = " "


FRAMES = {
    "buy": Frame(
        "Today {who} needs to buy {items}.", "So far {who} has bought {ticked}.", "{who} still needs to buy the"
    ),
    "pack": Frame(
        "Today {who} must pack {items}.", "{who} has already packed {ticked}.", "Now {who} only has to pack the"
    ),
    "left": Frame(
        "Today {who} packed {items}.", "{who} took out {ticked}.", "The only thing left for {who} to take out is the"
    ),
    "colon": Frame("Shopping list: {items}.", "Already bought: {ticked}.", "Still to buy:", "", "\n"),
    "cue": Frame("Today {who} needs to buy {items}.", "", "The {cue} thing that {who} needs to buy is the"),
}
CUES = {"first": 0, "last": -1}

ITEMS = tuple(
    "apple axe bag ball banana basket bat bell belt bike blanket board boat bone book bottle bowl box bread brick "
    "broom brush bucket butter button cable cake camera candle candy cap card carpet carrot chain chair cheese chicken "
    "clock cloth coat coffee comb corn cup curtain desk dish doll drill drum egg fan feather fish flag flour flower "
    "fork frame fruit garlic gift glass glue guitar hammer hat helmet honey hook horn hose ink jacket jam jar juice "
    "kettle key kite knife ladder lamp lemon lens lock magnet map mask medicine milk mirror nail necklace needle net "
    "notebook oil onion orange oven paint pan paper peach pen pencil pepper phone piano pie pillow pipe pizza plant "
    "plate plug pot potato printer puzzle radio rice ring rod rope rug ruler salad salt sandwich saw screw seed "
    "shampoo sheet shell shirt shoe shovel skirt soap sock soup spoon sponge stamp stone stove sugar suit sword tape "
    "tea tent thread tie tile tire toast tomato torch towel toy tray umbrella vase vest violin wallet watch wheel "
    "whistle wine wire wool yarn".split()
)
# Control: single tokens that are rare as words and name no thing.
NONSENSE = tuple(
    "aph vern ther prot trem fert immun neb plex crypt cere spl squ thr bru cru hur jur mur nit pul qui sul tur vit "
    "wre xen zyg thym phag gluc hepat pept sulf benz meth eth pent lys nucle chrom embry larv spor fung pter gymn angi "
    "dic epid mes ect gast neur som peric chond lig".split()
)


def generate(
    model,
    n: int,
    n_items: int,
    seed: int = 0,
    *,
    frame: str = "buy",
    items: Sequence[str] | None = None,
    listed: bool = True,
    prepend_bos: bool = True,
) -> Prompts:
    """`n` prompts with lists of `n_items`: answer indices spread evenly, items, their order and all else random.

    `frame` is a name in `FRAMES`; "cue" asks for the first or last item instead of the missing one. `items` left to
    None are the built-in `ITEMS` filtered to single tokens of the model's tokenizer, without the frame's own words;
    for the control, pass `single_token_words(model.tokenizer, NONSENSE)`.
    `listed=False` leaves the list out and keeps the rest, so that the answer is unknowable: the prior.
    `distractor` is one of the ticked-off items, drawn at random (`corrupt` swaps it with the answer). `table` holds
    frame, who, items, answer_index, ticked (indices in the order of ticking) and rival (index of the distractor).

    Raises `ValueError` for n < 1, n_items outside 2-20 or above the number of items, an unknown frame, duplicate items,
    items that are not one token or stand in the frame, and for the "cue" frame with `listed=False`.
    """
    n, n_items = whole("n", n, 1), whole("n_items", n_items, 2, MAX_ITEMS)
    rng = np.random.default_rng(whole("seed", seed, 0))
    words = _words(frame)
    if frame == "cue" and not listed:
        raise ValueError("the cue frame asks about the list: it has no form with listed=False")
    pool = _pool(model.tokenizer, words, items)
    if n_items > len(pool):
        raise ValueError(f"n_items={n_items}, but there are only {len(pool)} items to draw from: give more items")
    people = sorted(set(single_token_words(model.tokenizer, NAMES)) - set(pool))
    if not people:
        raise ValueError("every name that is one token is also an item: leave some of the names out")
    allowed = sorted({i % n_items for i in CUES.values()}) if frame == "cue" else range(n_items)
    plan = [allowed[i] for _ in range(0, n, len(allowed)) for i in rng.permutation(len(allowed))][:n]
    rows = []
    for answer in plan:
        chosen = tuple(str(item) for item in rng.choice(pool, size=n_items, replace=False))
        ticked = tuple(int(i) for i in rng.permutation(n_items) if i != answer)
        rows.append((frame, str(rng.choice(people)), chosen, answer, ticked, int(rng.choice(ticked)), listed))
    columns = ["frame", "who", "items", "answer_index", "ticked", "rival", "listed"]
    return _build(model.tokenizer, pd.DataFrame(rows, columns=columns), prepend_bos)


def pools(model, n_pools: int, seed: int = 0, frames: Sequence[str] = ("buy", "pack", "left")) -> list[tuple[str, ...]]:
    """The built-in items dealt into disjoint pools, to choose on one and test on another.

    Words of the given frames are left out. Raises `ValueError` for unknown frames, no pool or more pools than items.
    """
    words = set().union(*map(_words, [frames] if isinstance(frames, str) else frames))
    items = _pool(model.tokenizer, words, None)
    n_pools = whole("n_pools", n_pools, 1, len(items))
    shuffled = [items[i] for i in np.random.default_rng(whole("seed", seed, 0)).permutation(len(items))]
    return [tuple(sorted(shuffled[i::n_pools])) for i in range(n_pools)]


def first_mentions(prompts: Prompts) -> Int[Tensor, "batch items"]:
    """Where every item of the list is first said, in the order of the list."""
    return _stacked(prompts, "item")


def second_mentions(prompts: Prompts) -> Int[Tensor, "batch ticked"]:
    """Where the ticked-off items are said again, in the order of ticking (`table.ticked` has their indices)."""
    return _stacked(prompts, "ticked")


def _stacked(prompts: Prompts, kind: str) -> Tensor:
    found = [prompts.positions[f"{kind} {i}"] for i in range(MAX_ITEMS) if f"{kind} {i}" in prompts.positions]
    if not found:
        raise ValueError(f"need prompts with positions '{kind} 0', ...: these have {sorted(prompts.positions)}")
    return torch.stack(found, 1)


def candidates(model, prompts: Prompts) -> Int[Tensor, "batch items"]:
    """Token ids of the items in the order of the list: what the accuracy among list items chooses from."""
    if "items" not in prompts.table:
        raise ValueError(f"these are not Laundry List prompts: their table has {list(prompts.table)}, and no 'items'")
    return torch.tensor([[word_id(model.tokenizer, item) for item in row] for row in prompts.table["items"]])


def corrupt(model, prompts: Prompts) -> Prompts:
    """The distractor's second mention becomes the answer's: now the distractor is the item left over.

    One token changes and all positions stay; `answer` and `distractor` stay those of the clean prompt, so that logit
    differences can be compared. Raises `ValueError` for prompts without a list or without ticking (the "cue" frame).
    """
    _, ticked_at, items = first_mentions(prompts), second_mentions(prompts), candidates(model, prompts)
    tokens, ticked = prompts.tokens.clone(), []
    for i, row in enumerate(prompts.table.itertuples()):
        k = row.ticked.index(row.rival)
        tokens[i, ticked_at[i, k]] = items[i, row.answer_index]
        ticked.append((*row.ticked[:k], row.answer_index, *row.ticked[k + 1 :]))
    table = prompts.table.assign(ticked=ticked, answer_index=prompts.table.rival, rival=prompts.table.answer_index)
    text = tuple(_text(row) for row in table.itertuples())
    return Prompts(tokens, prompts.answer, prompts.distractor, prompts.positions, text, table)


def reorder(model, prompts: Prompts, n_orders: int, seed: int = 0) -> Prompts:
    """Every prompt in `n_orders` random orders of its list; items, answer and the order of ticking stay.

    Prompt i becomes rows i·n_orders to (i+1)·n_orders − 1 (`table.source` holds i). Orders are drawn with
    replacement. Raises `ValueError` for fewer than two, and for prompts without a list or without ticking ("cue").
    """
    n_orders = whole("n_orders", n_orders, 2)
    rng = np.random.default_rng(whole("seed", seed, 0))
    first_mentions(prompts), second_mentions(prompts)
    rows = []
    for i, row in enumerate(prompts.table.to_dict("records")):
        for _ in range(n_orders):
            order = rng.permutation(len(row["items"]))
            place = {int(old): new for new, old in enumerate(order)}
            rows.append(
                row | {
                    "items": tuple(row["items"][old] for old in order), "answer_index": place[row["answer_index"]],
                    "ticked": tuple(place[t] for t in row["ticked"]), "rival": place[row["rival"]], "source": i,
                }
            )  # fmt: skip
    bos = model.tokenizer.bos_token_id
    made = _build(model.tokenizer, pd.DataFrame(rows), bos is not None and bool((prompts.tokens[:, 0] == bos).all()))
    # Of corrupted prompts, too, the answer is the one that the clean prompt had.
    answer, distractor = (ids.repeat_interleave(n_orders) for ids in (prompts.answer, prompts.distractor))
    return replace(made, answer=answer, distractor=distractor)


def _words(frame: str) -> set[str]:
    if frame not in tuple(FRAMES):
        raise ValueError(f"unknown frame {frame!r}: expected one of {tuple(FRAMES)}")
    return {"and", *CUES, *re.findall(r"[A-Za-z]+", re.sub(r"\{\w+\}", "", " ".join(FRAMES[frame])))}


def _pool(tokenizer, words: set[str], given: Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return tuple(item for item in single_token_words(tokenizer, ITEMS) if item not in words)
    # A set has another order in every Python process: the seed would not decide.
    if isinstance(given, str | Set):
        raise ValueError(f"items must be a list or tuple of words, got {type(given).__name__} {given!r}")
    given = tuple(given)
    for item in given:
        if not isinstance(item, str) or not item.strip():
            raise ValueError(f"items must be words, got {item!r}")
        word_id(tokenizer, item)
    bad = sorted({item for item in given if given.count(item) > 1 or item in words})
    if bad:
        raise ValueError(f"items must be distinct and no words of the frame, got {bad} twice or in the frame")
    return tuple(map(str, given))


def _join(words: Sequence[str], article: str) -> str:
    named = [article + word for word in words]
    if not article:
        return ", ".join(named)
    return " and ".join(named) if len(named) < 3 else f"{', '.join(named[:-1])}, and {named[-1]}"


def _text(row) -> str:
    frame = FRAMES[row.frame]
    cue = next((name for name, i in CUES.items() if i % len(row.items) == row.answer_index), "")
    parts = (frame.listing if row.listed else "", frame.ticking, frame.ask)
    words = {
        "who": row.who, "cue": cue, "items": _join(row.items, frame.article),
        "ticked": _join([row.items[i] for i in row.ticked], frame.article),
    }  # fmt: skip
    return frame.joiner.join(part for part in parts if part).format(**words)


def _build(tokenizer, table: pd.DataFrame, prepend_bos: bool) -> Prompts:
    text = tuple(_text(row) for row in table.itertuples())
    tokens, end = encode(tokenizer, text, prepend_bos)
    ids = torch.tensor([[word_id(tokenizer, item) for item in items] for items in table["items"]])
    inside = (torch.arange(tokens.shape[1]) <= end[:, None])[:, None]
    found = (tokens[:, None] == ids[..., None]) & inside  # [batch, items, pos]
    first = found.int().argmax(-1)
    last = tokens.shape[1] - 1 - found.flip(-1).int().argmax(-1)
    batch, index = torch.arange(len(table)), torch.tensor(table["answer_index"].to_numpy())
    frame, listed = FRAMES[table.frame[0]], bool(table.listed[0])
    expected = torch.full(ids.shape, int(listed) + int(bool(frame.ticking)))
    expected[batch, index] = int(listed)
    bad = (found.sum(-1) != expected).any(1)
    if bad.any():
        raise ValueError(f"an item is also another token of {text[int(bad.nonzero()[0])]!r}: leave it out")
    positions = {f"item {i}": first[:, i] for i in range(ids.shape[1])} if listed else {}
    if frame.ticking:
        ticked = torch.tensor(table["ticked"].tolist())
        positions |= {f"ticked {i}": last[batch, ticked[:, i]] for i in range(ticked.shape[1])}
    rival = torch.tensor(table["rival"].to_numpy())
    return Prompts(tokens, ids[batch, index], ids[batch, rival], positions | {"END": end}, text, table)


