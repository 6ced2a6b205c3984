"""Colored Objects: several things, each with a colour, and a question about one of them.

"Q: On the desk, I see a red pen, a blue cup, and a green ball. What color is the cup? A:" -> Blue, after one or more
answered blocks of the same kind (BIG-bench; prompts and minimal pairs after Merullo et al. 2024, "Circuit Component
Reuse"). Demonstrations and test never share an object or a colour. `FORMS` holds this form and easier ones.

Things count from 0 in the order of the test block's list. Named positions: "colour 0", "object 0", …, "right colour",
"right object", "paired colour" (of the thing that `corrupt` asks about), "question" (the asked object again) and END.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from .._guards import whole
from ..models import parts
from .prompts import Prompts, data, enough, fill, single_token_words, tokenise, word_id


class Form(NamedTuple):
    """One block is `listing` with {items}, each like `item`, then `ask`; its answer follows after a space."""

    listing: str
    item: str
    ask: str
    values: str = "colour"
    capital: bool = False
    joiner: str = "\n"


_data = data("colored_objects")
FORMS = {name: Form(**form) for name, form in _data["forms"].items()}
SURFACES, STARTS, OBJECTS = (tuple(_data[kind]) for kind in ("surfaces", "starts", "objects"))
VALUES = {kind: tuple(words) for kind, words in _data["values"].items()}


def generate(
    model, n: int, seed: int = 0, *, form: str = "question", shots: int = 0, n_objects: int = 3,
    prepend_bos: bool | None = None,
) -> Prompts:  # fmt: skip
    """Make `n` prompts: the asked place is spread evenly over the list, everything else is random.

    `form` is a name in `FORMS` ("question" with `shots=1` and `n_objects=3` is the original task); `shots` answered
    blocks go before the test block. `answer` is the asked thing's colour (or owner), `distractor` that of another
    thing of the list, which is the right one in the minimal pair made by `corrupt`. `table` holds form, objects,
    values, asked and paired (places in the list), the demonstrations' text and the test block with {asked}.

    Raises `ValueError` for n < 1, fewer than two objects, negative shots, and where fewer words are one token in this
    tokenizer than a prompt needs: twice `n_objects` with shots, because demonstrations and test share none.
    """
    n, shots, n_objects = whole("n", n), whole("shots", shots, 0), whole("n_objects", n_objects, 2)
    kind, rng, tokenizer = FORMS[form], np.random.default_rng(seed), parts.tokenizer(model)
    needed, fix = n_objects * (2 if shots else 1), f"ask for fewer than n_objects={n_objects} or another form"
    objects = enough(tokenizer, "objects", OBJECTS, needed, fix)
    values = [v for v in VALUES[kind.values] if single_token_words(tokenizer, [_said(form, v)])]
    values = enough(tokenizer, f"{kind.values}s with a one-token answer", values, needed, fix)
    plan = [place for _ in range(0, n, n_objects) for place in rng.permutation(n_objects)][:n]
    rows, text, spans = [], [], []
    for asked in plan:
        mine = [str(v) for v in rng.permutation(values)]
        things = [str(o) for o in rng.permutation(objects)]
        demo = ""
        for _ in range(shots):
            others = [str(v) for v in rng.permutation(mine[n_objects:])][:n_objects]
            shown = [str(o) for o in rng.permutation(things[n_objects:])][:n_objects]
            place = int(rng.integers(n_objects))
            block, words = _block(kind, rng, shown, others)
            demo += f"{block.format(**words, asked=shown[place])} {_said(form, others[place])}{kind.joiner}"
        test, mine = things[:n_objects], mine[:n_objects]
        paired = int(rng.choice([i for i in range(n_objects) if i != asked]))
        block, words = _block(kind, rng, test, mine)
        prompt, at = fill(demo + block, words | {"asked": test[asked]})
        text.append(prompt)
        spans.append({name: at[name] for name in words} | {"question": at["asked"]})
        stem = block.format(**words, asked="{asked}")
        rows.append((form, tuple(test), tuple(mine), int(asked), paired, demo, stem))
    table = pd.DataFrame(rows, columns=["form", "objects", "values", "asked", "paired", "demonstrations", "test"])

    listed = [row.objects + row.values for row in table.itertuples()]
    tokens, positions, _ = tokenise(tokenizer, text, spans, listed, prepend_bos)
    ids, every = _answers(tokenizer, table), torch.arange(len(text))
    asked, paired = torch.tensor(table.asked.to_numpy()), torch.tensor(table.paired.to_numpy())
    for name, what, which in (("right", "colour", asked), ("right", "object", asked), ("paired", "colour", paired)):
        places = torch.stack([positions[f"{what} {i}"] for i in range(n_objects)], 1)
        positions[f"{name} {what}"] = places[every, which]
    return Prompts(tokens, ids[every, asked], ids[every, paired], positions, tuple(text), table)


def corrupt(model, prompts: Prompts) -> Prompts:
    """Ask about another thing of the list, so that `distractor` becomes right: the minimal pair.

    Only the token at "question" differs. `answer`, `distractor` and all positions stay those of the clean prompt,
    so that logit differences can be compared; a model that solves the task reverses their sign.
    """
    tokens, text = prompts.tokens.clone(), []
    for i, row in enumerate(prompts.table.itertuples()):
        word = row.objects[row.paired]
        tokens[i, prompts.at("question")[i]] = word_id(parts.tokenizer(model), word)
        text.append(row.demonstrations + row.test.format(asked=word))
    return replace(prompts, tokens=tokens, text=tuple(text))


def candidates(model, prompts: Prompts) -> Int[Tensor, "batch n_objects"]:
    """Return the tokens of all colours (owners) of each list, in its order and in the case of the answers."""
    return _answers(parts.tokenizer(model), prompts.table)


def _answers(tokenizer, table: pd.DataFrame) -> Int[Tensor, "batch n_objects"]:
    return torch.tensor([[word_id(tokenizer, _said(row.form, v)) for v in row.values] for row in table.itertuples()])


def _said(form: str, value: str) -> str:
    return value.capitalize() if FORMS[form].capital else value


def _block(kind: Form, rng, objects: list[str], values: list[str]) -> tuple[str, dict[str, str]]:
    """Draw one block as a template with {colour 0}, {object 0}, ... and {asked}; return it with its words."""
    items = []
    for i, (thing, value) in enumerate(zip(objects, values, strict=True)):
        after = value if kind.item.startswith("{a} {value}") else thing
        article = "an" if after[0] in "aeiou" else "a"
        items.append(kind.item.format(a=article, object=f"{{object {i}}}", value=f"{{colour {i}}}"))
    text = f"{', '.join(items[:-1])}{',' if len(items) > 2 else ''} and {items[-1]}"
    where = {"surface": rng.choice(SURFACES), "start": rng.choice(STARTS)}
    words = {f"colour {i}": value for i, value in enumerate(values)}
    words |= {f"object {i}": thing for i, thing in enumerate(objects)}
    return f"{kind.listing.format(items=text, **where)} {kind.ask.format(asked='{asked}')}", words
