"""Ordinary English, to see what an intervention costs: short passages of which `th.text_loss` takes the loss.

Eight are openings of works published before 1928, which no copyright covers any more. Texts as well known as these were
almost certainly in a model's training data, so what counts is how much their loss changes. Two passages were written
for this book, after the models were trained. `CHOOSE` and `TEST` name two halves: what is chosen by the loss on one is
reported on the other. Give a mean with an interval over passages, not over their tokens, which depend on each other.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from ..models import parts
from .prompts import Prompts, data, encode


class Passage(NamedTuple):
    """`year` is that of first publication; paragraphs of `text` are separated by an empty line."""

    title: str
    author: str
    year: int
    text: str


PASSAGES = {name: Passage(**row | {"text": "\n\n".join(row["text"])}) for name, row in data("english").items()}
CHOOSE = ("alice", "moby", "darwin", "walden", "water")
TEST = ("pride", "cities", "bohemia", "federalist", "bicycle")


def passages(model, names: Sequence[str] | None = None, prepend_bos: bool | None = None) -> Prompts:
    """Return the passages of these names (`CHOOSE`, `TEST`; None: all) as a batch for `th.text_loss` and `th.run`.

    Cut where the model's context ends. `table` holds name, title, author, year and tokens (how many are predicted).
    A passage asks nothing: `answer` and `distractor` are its own last token.
    """
    names = tuple(PASSAGES) if names is None else (names,) if isinstance(names, str) else tuple(names)
    text = tuple(PASSAGES[name].text for name in names)
    tokens, end = encode(parts.tokenizer(model), text, prepend_bos)
    context = parts.shape(model).context
    tokens, end = tokens[:, :context], end.clamp(max=context - 1)
    last = tokens.gather(1, end[:, None])[:, 0]
    rows = [(name, *PASSAGES[name][:3], int(n)) for name, n in zip(names, end, strict=True)]
    table = pd.DataFrame(rows, columns=["name", "title", "author", "year", "tokens"])
    return Prompts(tokens, last, last, {"END": end}, text, table)
