"""Indirect object identification (Wang et al. 2022): "Then, Ana and Bob went to the store. Bob gave a ring to" -> Ana.

The indirect object IO is the name said once, the subject S the one said twice. In the order "ABBA" the IO is named
first, in "BABA" the subject. Named positions: IO, S1 (first mention of S), S1+1, S2 (second mention) and END.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from .._guards import whole
from ..models import parts
from .prompts import Prompts, Span, data, enough, fill, single_token_words, tokenise, word_id

ORDERS = ("ABBA", "BABA")
CORRUPTIONS = ("ABC", "S2->IO", "S2->random")
_data = data("ioi")
# {first} and {second} are the two names in the order of the prompt, {S} the subject's second mention.
TEMPLATES = tuple(_data["templates"])
PLACES, OBJECTS, NAMES = (tuple(_data[kind]) for kind in ("places", "objects", "names"))


def generate(
    model, n: int, seed: int = 0, *, templates: Sequence[int] | None = None, orders: Sequence[str] = ORDERS,
    names: Sequence[str] | None = None, places: Sequence[str] | None = None, objects: Sequence[str] | None = None,
    prepend_bos: bool | None = None,
) -> Prompts:  # fmt: skip
    """Make `n` IOI prompts, spread evenly over templates and orders, with random distinct names, places and objects.

    `templates` are indices into `TEMPLATES`. Names, places and objects left to None are the built-in lists filtered to
    single tokens of the model's tokenizer. `table` holds template, order, IO, S, place, object. The same seed gives the
    same prompts with any model that keeps the same words.
    Raises `ValueError` for n < 1, templates or orders that do not exist, fewer than two names, a tokenizer with too few
    of the built-in words, and names that are not one token or are also another word of their prompt.
    """
    n, tokenizer = whole("n", n), parts.tokenizer(model)
    templates = range(len(TEMPLATES)) if templates is None else templates
    cells = [(whole("template", t, 0, len(TEMPLATES) - 1), order) for t in templates for order in orders]
    if not cells or not set(orders) <= set(ORDERS):
        raise ValueError(f"need at least one template and an order from {ORDERS}, got orders {tuple(orders)}")
    names = enough(tokenizer, "names", NAMES, 2) if names is None else names
    places = enough(tokenizer, "places", PLACES, 1) if places is None else places
    objects = enough(tokenizer, "objects", OBJECTS, 1) if objects is None else objects
    rng = np.random.default_rng(seed)
    plan = [cells[i] for _ in range(0, n, len(cells)) for i in rng.permutation(len(cells))][:n]
    rows = []
    for template, order in plan:
        io, s = rng.choice(sorted(set(names)), size=2, replace=False)
        place, thing = rng.choice(places), rng.choice(objects)
        rows.append((template, order, str(io), str(s), str(place), str(thing)))
    table = pd.DataFrame(rows, columns=["template", "order", "IO", "S", "place", "object"])

    text, spans = zip(*(_fill(row, row.IO, row.S, row.S) for row in table.itertuples()), strict=True)
    pairs = list(zip(table.IO, table.S, strict=True))
    tokens, positions, ids = tokenise(tokenizer, text, spans, pairs, prepend_bos)
    return Prompts(tokens, ids[:, 0], ids[:, 1], positions | {"S1+1": positions["S1"] + 1}, text, table)


def _fill(row, io: str, s1: str, s2: str) -> tuple[str, dict[str, Span]]:
    """Fill in the template of a row of `table` with these names; return the text and where they stand."""
    a, b = ("first", "second") if row.order == "ABBA" else ("second", "first")
    words = {a: io, b: s1, "S": s2, "place": row.place, "object": row.object}
    text, spans = fill(TEMPLATES[row.template], words)
    return text, {"IO": spans[a], "S1": spans[b], "S2": spans["S"]}


def corrupt(model, prompts: Prompts, kind: Literal["ABC", "S2->IO", "S2->random"], seed: int = 0) -> Prompts:
    """Exchange names in IOI prompts, token for token, so that all positions stay where they are.

    - "ABC": three unrelated names; who is repeated is unknowable (Wang et al.'s reference distribution).
    - "S2->IO": the second mention of S becomes the IO, so the roles and the right answer swap.
    - "S2->random": the second mention becomes a third name; nobody is repeated.

    `answer` and `distractor` stay those of the clean prompt, so that logit differences can be compared. New names are
    the built-in ones and those of the prompts; `ValueError` where they are fewer than five.
    """
    rng, tokenizer = np.random.default_rng(seed), parts.tokenizer(model)
    names = {*single_token_words(tokenizer, NAMES), *prompts.table.IO, *prompts.table.S}
    if len(names) < 5 and kind != "S2->IO":
        raise ValueError(f"{kind!r} takes three other names, these prompts and the built-in list have {sorted(names)}")
    tokens, text = prompts.tokens.clone(), []
    for i, row in enumerate(prompts.table.itertuples()):
        others = sorted(names - {row.IO, row.S})
        new = [str(name) for name in rng.choice(others, size=min(3, len(others)), replace=False)]
        said = {"ABC": new, "S2->IO": [row.IO, row.S, row.IO], "S2->random": [row.IO, row.S, *new[2:]]}[kind]
        for position, name in zip(("IO", "S1", "S2"), said, strict=True):
            tokens[i, prompts.at(position)[i]] = word_id(tokenizer, name)
        text.append(_fill(row, *said)[0])
    return Prompts(tokens, prompts.answer, prompts.distractor, prompts.positions, tuple(text), prompts.table)
