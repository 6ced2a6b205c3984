"""The Laundry List task: N things are listed, all but one are ticked off in another order, the model names the rest.

"Today Ana needs to buy the lamp, the rope, and the coin. So far Ana has bought the coin and the lamp. Ana still needs
to buy the" -> rope. IOI is the case N = 2 with names. The task is that of Merullo et al. 2024; their prompts are not
published, so the frames and items are ours.

Items count from 0 in the order of the list. Named positions: "item 0", ... (first mentions), "ticked 0", ... (second
mentions, in the order they are ticked off) and END.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from .._guards import whole
from ..models import parts
from .ioi import NAMES
from .prompts import Prompts, Span, data, encode, enough, fill, prefix, single_token_words, tokenise, word_id


class Frame(NamedTuple):
    """The three sentences of a prompt. `ask` of an index cue holds {cue}, and such a frame ticks nothing off."""

    listing: str
    ticking: str
    ask: str
    article: str = "the "
    joiner: str = " "


CUES = {"first": 0, "last": -1}
_data = data("laundry_list")
FRAMES = {name: Frame(**frame) for name, frame in _data["frames"].items()}
ITEMS = tuple(_data["items"])
NONSENSE = tuple(_data["nonsense"])  # control: single tokens that are rare as words and name no thing


def generate(
    model, n: int, n_items: int, seed: int = 0, *, frame: str = "buy", items: Sequence[str] | None = None,
    listed: bool = True, prepend_bos: bool | None = None,
) -> Prompts:  # fmt: skip
    """Make `n` prompts with lists of `n_items`: answer indices spread evenly, items, their order and all else random.

    `frame` is a name in `FRAMES`; "cue" asks for the first or last item instead of the missing one. `items` left to
    None are the built-in `ITEMS` filtered to single tokens of the model's tokenizer, without the frame's own words;
    for the control, pass `single_token_words(model.tokenizer, NONSENSE)`.
    `listed=False` leaves the list out and keeps the rest, so that the answer is unknowable: the prior.
    `distractor` is one of the ticked-off items, drawn at random (`corrupt` swaps it with the answer). `table` holds
    frame, who, items, answer_index, ticked (indices in the order of ticking) and rival (index of the distractor).

    Raises `ValueError` for n < 1, fewer than two items or more than there are (in this tokenizer), items that are not
    one token or are also another word of their prompt, and for the "cue" frame with `listed=False`.
    """
    n, n_items, tokenizer = whole("n", n), whole("n_items", n_items, 2), parts.tokenizer(model)
    if frame == "cue" and not listed:
        raise ValueError("the cue frame asks about the list: it has no form with listed=False")
    items = _items(tokenizer, [frame], n_items) if items is None else items
    people = sorted(set(single_token_words(tokenizer, NAMES) or NAMES) - set(items))  # may be of any length
    rng = np.random.default_rng(seed)
    allowed = sorted({i % n_items for i in CUES.values()}) if frame == "cue" else range(n_items)
    plan = [allowed[i] for _ in range(0, n, len(allowed)) for i in rng.permutation(len(allowed))][:n]
    rows = []
    for answer in plan:
        chosen = tuple(str(item) for item in rng.choice(items, size=n_items, replace=False))
        ticked = tuple(int(i) for i in rng.permutation(n_items) if i != answer)
        rows.append((frame, str(rng.choice(people)), chosen, answer, ticked, int(rng.choice(ticked)), listed))
    columns = ["frame", "who", "items", "answer_index", "ticked", "rival", "listed"]
    return _build(tokenizer, pd.DataFrame(rows, columns=columns), prepend_bos)


def pools(model, n_pools: int, seed: int = 0, frames: Sequence[str] = ("buy", "pack", "left")) -> list[tuple[str, ...]]:
    """Deal the built-in items into disjoint pools, to choose on one and test on another.

    Words of the given frames are left out. Raises `ValueError` for no pool or more pools than items.
    """
    items = _items(parts.tokenizer(model), [frames] if isinstance(frames, str) else frames, 1)
    n_pools = whole("n_pools", n_pools, 1, len(items))
    shuffled = [items[i] for i in np.random.default_rng(seed).permutation(len(items))]
    return [tuple(sorted(shuffled[i::n_pools])) for i in range(n_pools)]


def candidates(model, prompts: Prompts) -> Int[Tensor, "batch items"]:
    """Return the token ids of the items in the order of the list: what the accuracy among list items chooses from."""
    tokenizer = parts.tokenizer(model)
    return torch.tensor([[word_id(tokenizer, item) for item in items] for items in prompts.table["items"]])


def corrupt(model, prompts: Prompts) -> Prompts:
    """Tick off the answer in place of the distractor: now the distractor is the item left over.

    One token changes and all positions stay; `answer` and `distractor` stay those of the clean prompt, so that logit
    differences can be compared. Raises `ValueError` for prompts without a list or without ticking (the "cue" frame).
    """
    prompts.numbered("item")  # refuses prompts without a list
    ticked_at, ids = prompts.numbered("ticked"), candidates(model, prompts)
    tokens, ticked = prompts.tokens.clone(), []
    for i, row in enumerate(prompts.table.itertuples()):
        k = row.ticked.index(row.rival)
        tokens[i, ticked_at[i, k]] = ids[i, row.answer_index]
        ticked.append((*row.ticked[:k], row.answer_index, *row.ticked[k + 1 :]))
    table = prompts.table.assign(ticked=ticked, answer_index=prompts.table.rival, rival=prompts.table.answer_index)
    text = tuple(_fill(row)[0] for row in table.itertuples())
    return Prompts(tokens, prompts.answer, prompts.distractor, prompts.positions, text, table)


def reorder(model, prompts: Prompts, n_orders: int, seed: int = 0) -> Prompts:
    """Put the list of every prompt in `n_orders` random orders; items, answer and the order of ticking stay.

    Prompt i becomes rows i·n_orders to (i+1)·n_orders − 1 (`table.source` holds i). Orders are drawn with
    replacement. Raises `ValueError` for fewer than two, and for prompts without a list or without ticking ("cue").
    """
    n_orders, rng, tokenizer = whole("n_orders", n_orders, 2), np.random.default_rng(seed), parts.tokenizer(model)
    prompts.numbered("item"), prompts.numbered("ticked")  # refuses prompts without
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
    start = prompts.tokens[0, : prompts.end[0] - encode(tokenizer, prompts.text[:1], False)[1][0]].tolist()
    result = _build(tokenizer, pd.DataFrame(rows), None if start == prefix(tokenizer) else bool(start))
    # Of corrupted prompts, too, the answer is the one that the clean prompt had.
    answer, distractor = (ids.repeat_interleave(n_orders) for ids in (prompts.answer, prompts.distractor))
    return replace(result, answer=answer, distractor=distractor)


def _items(tokenizer, frames: Sequence[str], needed: int) -> tuple[str, ...]:
    """Return the built-in items that are one token and no words of the frames; `ValueError` for too few."""
    sentences = " ".join(" ".join(FRAMES[frame]) for frame in frames)
    said = {"and", *CUES, *re.findall(r"[A-Za-z]+", re.sub(r"\{\w+\}", "", sentences))}
    return enough(tokenizer, "items", [item for item in ITEMS if item not in said], needed)


def _join(words: list[str], article: str) -> str:
    """Write an enumeration: "the lamp, the rope, and the coin", or "lamp, rope, coin" without an article."""
    named = [article + word for word in words]
    if not article:
        return ", ".join(named)
    return " and ".join(named) if len(named) < 3 else f"{', '.join(named[:-1])}, and {named[-1]}"


def _fill(row) -> tuple[str, dict[str, Span]]:
    """Write the prompt of a row of `table`; return the text and where the named words stand."""
    frame = FRAMES[row.frame]
    items = {f"item {i}": item for i, item in enumerate(row.items)} if row.listed else {}
    ticked = {f"ticked {k}": row.items[i] for k, i in enumerate(row.ticked)} if frame.ticking else {}
    sentences = (frame.listing if row.listed else "", frame.ticking, frame.ask)
    template = frame.joiner.join(sentence for sentence in sentences if sentence)
    for field, names in (("{items}", items), ("{ticked}", ticked)):
        template = template.replace(field, _join([f"{{{name}}}" for name in names], frame.article))
    cue = next((word for word, i in CUES.items() if i % len(row.items) == row.answer_index), "")
    text, spans = fill(template, items | ticked | {"who": row.who, "cue": cue})
    return text, {name: spans[name] for name in items | ticked}


def _build(tokenizer, table: pd.DataFrame, prepend_bos: bool | None) -> Prompts:
    text, spans = zip(*map(_fill, table.itertuples()), strict=True)
    tokens, positions, ids = tokenise(tokenizer, text, spans, list(table["items"]), prepend_bos)
    rows = torch.arange(len(text))
    answer, rival = (ids[rows, torch.tensor(table[column].to_numpy())] for column in ("answer_index", "rival"))
    return Prompts(tokens, answer, rival, positions, text, table)
