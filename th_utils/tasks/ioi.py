"""Indirect object identification (Wang et al. 2022): "Then, Ana and Bob went to the store. Bob gave a ring to" -> Ana.

The indirect object IO is the name said once, the subject S the one said twice. In the order "ABBA" the IO is named
first, in "BABA" the subject. Named positions: IO, S1 (first mention of S), S1+1, S2 (second mention) and END.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import torch

from .._guards import whole
from .prompts import Prompts, encode, single_token_words, word_id

ORDERS = ("ABBA", "BABA")
CORRUPTIONS = ("ABC", "S2->IO", "S2->random")

# {first} and {second} are the two names in the order of the prompt, {S} the subject's second mention.
TEMPLATES = (
    "Then, {first} and {second} went to the {place}. {S} gave a {object} to",
    "Then, {first} and {second} had a lot of fun at the {place}. {S} gave a {object} to",
    "Then, {first} and {second} were working at the {place}. {S} decided to give a {object} to",
    "Then, {first} and {second} were thinking about going to the {place}. {S} wanted to give a {object} to",
    "Then, {first} and {second} had a long argument, and afterwards {S} said to",
    "After {first} and {second} went to the {place}, {S} gave a {object} to",
    "When {first} and {second} got a {object} at the {place}, {S} decided to give it to",
    "When {first} and {second} got a {object} at the {place}, {S} decided to give the {object} to",
    "While {first} and {second} were working at the {place}, {S} gave a {object} to",
    "While {first} and {second} were commuting to the {place}, {S} gave a {object} to",
    "After the lunch, {first} and {second} went to the {place}. {S} gave a {object} to",
    "Afterwards, {first} and {second} went to the {place}. {S} gave a {object} to",
    "Then, {first} and {second} had a long argument. Afterwards {S} said to",
    "The {place} {first} and {second} went to had a {object}. {S} gave it to",
    "Friends {first} and {second} found a {object} at the {place}. {S} gave it to",
)
PLACES = ("store", "garden", "restaurant", "school", "hospital", "office", "house", "station")
OBJECTS = ("ring", "kiss", "bone", "basketball", "computer", "necklace", "drink", "snack")
NAMES = tuple(
    "Aaron Adam Alan Alex Alice Allen Amy Anderson Andre Andrew Andy Anna Anthony Arthur Austin Blake Brandon Brian "
    "Carter Charles Charlie Chris Christian Christina Christopher Clark Clay Cole Connor Crystal Dan Daniel David "
    "Dean Elizabeth Emily Eric Eva Ford Frank George Georgia Graham Grant Henry Ian Jack Jacob Jake James Jamie Jane "
    "Jason Jay Jennifer Jeremy Jessica John Jonathan Jordan Joseph Joshua Justin Kate Katie Keith Kelly Kevin Kyle "
    "Laura Leon Lewis Lisa Louis Luke Madison Maria Marie Mark Martin Mary Matt Matthew Max Melissa Michael Michelle "
    "Morgan Nathan Nick Nicole Patrick Paul Peter Philip Rachel Richard Robert Roman Ruby Ruth Ryan Sam Samuel Sarah "
    "Scott Sean Simon Sophia Stephanie Stephen Steve Steven Susan Taylor Thomas Tim Tom Tyler Victoria William".split()
)


def generate(
    model,
    n: int,
    seed: int = 0,
    *,
    templates: Sequence[int] | None = None,
    orders: Sequence[str] = ORDERS,
    names: Sequence[str] | None = None,
    places: Sequence[str] | None = None,
    objects: Sequence[str] | None = None,
    prepend_bos: bool = True,
) -> Prompts:
    """`n` IOI prompts, spread evenly over templates and orders, with random distinct names, places and objects.

    `templates` are indices into `TEMPLATES`. Names, places and objects left to None are the built-in lists filtered to
    single tokens of the model's tokenizer; given lists must consist of single tokens. `table` holds template, order,
    IO, S, place, object. The same seed gives the same prompts with any model that keeps the same words.

    Raises `ValueError` for n < 1, unknown templates or orders, fewer than two names, or words that are not one token.
    """
    n = whole("n", n)
    templates = range(len(TEMPLATES)) if templates is None else templates
    for template in templates:
        whole("templates: each", template, 0, len(TEMPLATES) - 1)
    unknown = set(orders) - set(ORDERS)
    if unknown or not orders or not len(templates):
        raise ValueError(f"need at least one template and an order from {ORDERS}, got orders {tuple(orders)}")
    tokenizer = model.tokenizer
    pools = {}
    for kind, given, default in (("names", names, NAMES), ("places", places, PLACES), ("objects", objects, OBJECTS)):
        pools[kind] = single_token_words(tokenizer, default) if given is None else tuple(given)
        for word in given or ():
            word_id(tokenizer, word)
        if len(set(pools[kind])) < (2 if kind == "names" else 1):
            raise ValueError(f"too few {kind} that are single tokens: {pools[kind]!r}")

    rng = np.random.default_rng(seed)
    cells = [(template, order) for template in templates for order in orders]
    plan = [cells[i] for start in range(0, n, len(cells)) for i in rng.permutation(len(cells))][:n]
    rows = []
    for template, order in plan:
        io, s = rng.choice(sorted(set(pools["names"])), size=2, replace=False)
        place, thing = rng.choice(pools["places"]), rng.choice(pools["objects"])
        rows.append((int(template), order, str(io), str(s), str(place), str(thing)))
    table = pd.DataFrame(rows, columns=["template", "order", "IO", "S", "place", "object"])
    return _build(tokenizer, table, prepend_bos)


def _text(row, io: str, s1: str, s2: str) -> str:
    first, second = (io, s1) if row.order == "ABBA" else (s1, io)
    return TEMPLATES[row.template].format(first=first, second=second, S=s2, place=row.place, object=row.object)


def _build(tokenizer, table: pd.DataFrame, prepend_bos: bool) -> Prompts:
    text = tuple(_text(row, row.IO, row.S, row.S) for row in table.itertuples())
    tokens, end = encode(tokenizer, text, prepend_bos)
    answer = torch.tensor([word_id(tokenizer, name) for name in table.IO])
    subject = torch.tensor([word_id(tokenizer, name) for name in table.S])
    inside = torch.arange(tokens.shape[1]) <= end[:, None]
    is_io, is_s = (tokens == answer[:, None]) & inside, (tokens == subject[:, None]) & inside
    bad = (is_io.sum(1) != 1) | (is_s.sum(1) != 2)
    if bad.any():
        raise ValueError(f"a name is also another token of the prompt {text[int(bad.nonzero()[0])]!r}: leave it out")
    s1 = is_s.int().argmax(1)
    s2 = tokens.shape[1] - 1 - is_s.flip(1).int().argmax(1)
    positions = {"IO": is_io.int().argmax(1), "S1": s1, "S1+1": s1 + 1, "S2": s2, "END": end}
    return Prompts(tokens, answer, subject, positions, text, table)


def corrupt(model, prompts: Prompts, kind: Literal["ABC", "S2->IO", "S2->random"], seed: int = 0) -> Prompts:
    """The same prompts with names exchanged, token for token, so that all positions stay where they are.

    - "ABC": three unrelated names; who is repeated is unknowable (Wang et al.'s reference distribution).
    - "S2->IO": the second mention of S becomes the IO, so the roles and the right answer swap.
    - "S2->random": the second mention becomes a third name; nobody is repeated.

    `answer` and `distractor` stay those of the clean prompt, so that logit differences can be compared.
    Raises `ValueError` for an unknown kind or fewer than five names to draw from.
    """
    if kind not in CORRUPTIONS:
        raise ValueError(f"unknown corruption {kind!r}: expected one of {CORRUPTIONS}")
    missing = {"template", "order", "IO", "S", "place", "object"} - set(prompts.table.columns)
    if missing or not {"IO", "S1", "S2"} <= set(prompts.positions):
        raise ValueError("prompts must come from ioi.generate, with its table and its positions IO, S1 and S2")
    rng = np.random.default_rng(seed)
    names = single_token_words(model.tokenizer, NAMES)
    tokens, text = prompts.tokens.clone(), []
    for i, row in enumerate(prompts.table.itertuples()):
        others = sorted(set(names) - {row.IO, row.S})
        if len(others) < 3:
            raise ValueError(f"need three names besides {row.IO} and {row.S}, the tokenizer has {len(others)}")
        new = [str(name) for name in rng.choice(others, size=3, replace=False)]
        io, s1, s2 = {
            "ABC": new, "S2->IO": [row.IO, row.S, row.IO], "S2->random": [row.IO, row.S, new[2]]
        }[kind]  # fmt: skip
        for position, name in (("IO", io), ("S1", s1), ("S2", s2)):
            tokens[i, prompts.positions[position][i]] = word_id(model.tokenizer, name)
        text.append(_text(row, io, s1, s2))
    return Prompts(tokens, prompts.answer, prompts.distractor, prompts.positions, tuple(text), prompts.table)


