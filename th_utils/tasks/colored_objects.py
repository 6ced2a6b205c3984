"""Colored Objects: several things, each with a colour, and a question about one of them.

"Q: On the desk, I see a red pen, a blue cup, and a green ball. What color is the cup? A:" -> Blue, after one or more
answered blocks of the same kind (BIG-bench; prompts and minimal pairs after Merullo et al. 2024, "Circuit Component
Reuse"). Demonstrations and test never share an object or a colour. `FORMS` holds this form and easier ones.

Things count from 0 in the order of the test block's list. Named positions: "colour 0", "object 0", ... (in that list),
"right colour", "right object" (the asked thing), "paired colour" (of the thing that `corrupt` asks about), "question"
(the asked object's second mention) and END.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from .._guards import whole
from .prompts import Prompts, encode, single_token_words, word_id

MAX_OBJECTS, MAX_SHOTS = 4, 4


class Form(NamedTuple):
    """One block is `listing` with {items}, each like `item`, then `ask`; its answer follows after a space."""

    listing: str
    item: str
    ask: str
    values: str = "colour"
    capital: bool = False
    joiner: str = "\n"


FORMS = {
    "question": Form(
        "Q: On the {surface}, {start} {items}.", "{a} {value} {object}", "What color is the {asked}?\nA:", capital=True
    ),
    "lower case": Form(
        "Q: On the {surface}, {start} {items}.", "{a} {value} {object}", "What color is the {asked}?\nA:"
    ),
    "statement": Form("On the {surface}, {start} {items}.", "{a} {value} {object}", "The {asked} is", joiner=".\n"),
    "owner": Form(
        "On the {surface}, {start} {items}.", "{value}'s {object}", "The {asked} belongs to", "owner", joiner=".\n"
    ),
    "painted": Form("Anna painted {items}.", "the {object} {value}", "James painted the {asked}", joiner=".\n"),
    "that is": Form(
        "On the {surface}, {start} {items}.", "{a} {object} that is {value}", "The {asked} that is", joiner=".\n"
    ),
}
SURFACES = ("table", "desk", "floor")
STARTS = ("there is", "you see", "I see")
OBJECTS = tuple(
    "pencil notebook pen cup plate jug mug puzzle textbook leash necklace bracelet bottle ball envelope lighter "
    "bowl".split()
)
VALUES = {
    "colour": ("red", "orange", "yellow", "green", "blue", "purple", "brown", "black"),
    "owner": ("Alice", "Sarah", "Paul", "Mark", "David", "Emma", "Jack", "Kate", "Luke", "Peter"),
}
CAPITALS = tuple(word.capitalize() for word in VALUES["colour"])


def generate(
    model,
    n: int,
    seed: int = 0,
    *,
    form: str = "question",
    shots: int = 0,
    n_objects: int = 3,
    prepend_bos: bool = True,
) -> Prompts:
    """`n` prompts: the asked place is spread evenly over the list, everything else is random.

    `form` is a name in `FORMS` ("question" with `shots=1` and `n_objects=3` is the original task); `shots` answered
    blocks go before the test block. `answer` is the asked thing's colour (or owner), `distractor` that of another
    thing of the list, which is the right one in the minimal pair made by `corrupt`. `table` holds form, objects,
    values, asked and paired (places in the list) and the demonstrations' text.
    Raises `ValueError` for n < 1, an unknown form, 2-4 objects or 0-4 shots exceeded, or too few single-token words.
    """
    n, shots = whole("n", n), whole("shots", shots, 0, MAX_SHOTS)
    n_objects = whole("n_objects", n_objects, 2, MAX_OBJECTS)
    if form not in tuple(FORMS):
        raise ValueError(f"unknown form {form!r}: expected one of {tuple(FORMS)}")
    kind, rng = FORMS[form], np.random.default_rng(seed)
    objects = single_token_words(model.tokenizer, OBJECTS)
    values = [v for v in single_token_words(model.tokenizer, VALUES[kind.values])
              if not kind.capital or single_token_words(model.tokenizer, [v.capitalize()])]  # fmt: skip
    needed = 2 * n_objects if shots else n_objects
    if min(len(objects), len(values)) < needed:
        raise ValueError(
            f"need {needed} objects and {kind.values}s that are one token, this tokenizer has {len(objects)} and "
            f"{len(values)}: ask for fewer objects"
        )
    plan = [place for _ in range(0, n, n_objects) for place in rng.permutation(n_objects)][:n]
    rows = []
    for asked in plan:
        mine = [str(v) for v in rng.permutation(values)]
        things = [str(o) for o in rng.permutation(objects)]
        demo = ""
        for _ in range(shots):
            others = [str(v) for v in rng.permutation(mine[n_objects:])][:n_objects]
            shown = [str(o) for o in rng.permutation(things[n_objects:])][:n_objects]
            place = int(rng.integers(n_objects))
            demo += f"{_block(kind, rng, shown, others, shown[place])} {_said(form, others[place])}{kind.joiner}"
        test, mine = things[:n_objects], mine[:n_objects]
        paired = int(rng.choice([i for i in range(n_objects) if i != asked]))
        stem = _block(kind, rng, test, mine, "{asked}")
        rows.append((form, tuple(test), tuple(mine), int(asked), paired, demo, stem))
    columns = ["form", "objects", "values", "asked", "paired", "demonstrations", "test"]
    return _build(model.tokenizer, pd.DataFrame(rows, columns=columns), prepend_bos)


def corrupt(model, prompts: Prompts) -> Prompts:
    """The minimal pair: another thing of the list is asked about, so that `distractor` becomes right.

    Only the token at "question" differs. `answer`, `distractor` and all positions stay those of the clean prompt,
    so that logit differences can be compared; a model that solves the task reverses their sign.
    Raises `ValueError` for prompts of another task.
    """
    _check_ours(prompts)
    tokens, text = prompts.tokens.clone(), []
    for i, row in enumerate(prompts.table.itertuples()):
        word = row.objects[row.paired]
        tokens[i, prompts.positions["question"][i]] = word_id(model.tokenizer, word)
        text.append(row.demonstrations + row.test.format(asked=word))
    return replace(prompts, tokens=tokens, text=tuple(text))


def candidates(model, prompts: Prompts) -> Int[Tensor, "batch n_objects"]:
    """The tokens of all colours (owners) of each list, in its order, in the case in which answers are written.

    Raises `ValueError` for prompts of another task.
    """
    _check_ours(prompts)
    return torch.tensor([[word_id(model.tokenizer, _said(row.form, v)) for v in row.values]
                         for row in prompts.table.itertuples()])  # fmt: skip


def mentions(prompts: Prompts, what: str = "colour") -> Int[Tensor, "batch n_objects"]:
    """Positions of all "colour"s or "object"s of the test block's list, in its order."""
    names = [f"{what} {i}" for i in range(MAX_OBJECTS) if f"{what} {i}" in prompts.positions]
    if not names:
        raise ValueError(f"no positions of {what!r}: expected 'colour' or 'object'")
    return torch.stack([prompts.positions[name] for name in names], 1)


def _check_ours(prompts: Prompts) -> None:
    missing = {"form", "objects", "values", "test"} - set(prompts.table.columns)
    if missing:
        raise ValueError(f"prompts must come from colored_objects.generate: their table has no {sorted(missing)}")


def _said(form: str, value: str) -> str:
    return value.capitalize() if FORMS[form].capital else value


def _block(kind: Form, rng, objects: list[str], values: list[str], asked: str) -> str:
    items = [
        kind.item.format(a="an" if first[0] in "aeiou" else "a", object=thing, value=value)
        for thing, value in zip(objects, values, strict=True)
        for first in [value if kind.item.startswith("{a} {value}") else thing]
    ]
    text = f"{', '.join(items[:-1])}{',' if len(items) > 2 else ''} and {items[-1]}"
    where = {"surface": rng.choice(SURFACES), "start": rng.choice(STARTS)}
    return f"{kind.listing.format(items=text, **where)} {kind.ask.format(asked=asked)}"


def _build(tokenizer, table: pd.DataFrame, prepend_bos: bool) -> Prompts:
    text = tuple(row.demonstrations + row.test.format(asked=row.objects[row.asked]) for row in table.itertuples())
    tokens, end = encode(tokenizer, text, prepend_bos)
    inside = torch.arange(tokens.shape[1]) <= end[:, None]
    rows = torch.arange(len(text))
    asked, paired = torch.tensor(table.asked.to_numpy()), torch.tensor(table.paired.to_numpy())
    found = {}
    for what, column in (("colour", "values"), ("object", "objects")):
        ids = torch.tensor([[word_id(tokenizer, word) for word in words] for words in table[column]])
        here = (tokens[:, None] == ids[..., None]) & inside[:, None]
        wanted = torch.ones_like(ids)
        if what == "object":
            wanted[rows, asked] = 2
            question = tokens.shape[1] - 1 - here[rows, asked].flip(1).int().argmax(1)
        bad = (here.sum(-1) != wanted).any(1)
        if bad.any():
            raise ValueError(f"a word of the list is also another token of {text[int(bad.nonzero()[0])]!r}")
        found[what] = here.int().argmax(-1)
    positions = {f"{what} {i}": at[:, i] for what, at in found.items() for i in range(at.shape[1])}
    positions |= {
        "right colour": found["colour"][rows, asked], "paired colour": found["colour"][rows, paired],
        "right object": found["object"][rows, asked], "question": question, "END": end,
    }  # fmt: skip
    said = [[word_id(tokenizer, _said(row.form, row.values[i])) for i in (row.asked, row.paired)]
            for row in table.itertuples()]  # fmt: skip
    answer, distractor = torch.tensor(said).T
    return Prompts(tokens, answer.contiguous(), distractor.contiguous(), positions, text, table)


