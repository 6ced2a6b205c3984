"""Facts: a subject and a relation, and the model must name the object: "The capital of France is the city of" -> Paris.

Relations of several kinds, after the families used by Yao et al. 2024: factual, linguistic and commonsense ones. The
facts and wordings are ours. Only the first token of the object is scored, so that long names can take part; objects
that share it ("San Salvador", "San Jose") cannot be told apart. Named positions: SUBJECT (the last token of the
subject), RELATION (the last token of the word that names the relation) and END.
"""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch

from ..models import parts
from .prompts import Prompts, Span, after_space, data, encode, locate


class Relation(NamedTuple):
    """`statement` and `question` hold {subject} and, once, `word`; `pairs`: subject -> object."""

    kind: str
    word: str
    statement: str
    question: str
    pairs: dict[str, str]


RELATIONS = {name: Relation(**relation) for name, relation in data("facts").items()}


def generate(model, relation: str, *, shots: int = 0, form: Literal["statement", "question"] = "statement",
             seed: int = 0, prepend_bos: bool | None = None) -> Prompts:  # fmt: skip
    """Make one prompt per subject; the answer is the first token of its object, the distractor another subject's.

    - "statement": "The capital of France is the city of"; "question": "Q: What is the capital of France?", then "A:".
    - `shots` solved examples come first, one a line, the same before every prompt; their subjects are not tested.

    `distractor` is the object of a random other subject, always another token. Subjects may be several tokens:
    `prompts.select(prompts.end == prompts.end.mode().values)` keeps those of the most frequent length.
    `table` holds relation, subject, object. The same seed gives the same prompts.
    Raises `ValueError` where subjects are too few to draw from or all objects begin with the same token.
    """
    rng, tokenizer = np.random.default_rng(seed), parts.tokenizer(model)
    fact, pairs = RELATIONS[relation], RELATIONS[relation].pairs
    shown = [list(pairs)[i] for i in rng.choice(len(pairs), size=shots, replace=False)]
    tested = [subject for subject in pairs if subject not in shown]
    start = "".join(_write(relation, form, subject, answered=True) for subject in shown)
    text = tuple(start + _write(relation, form, subject) for subject in tested)
    tokens, end = encode(tokenizer, text, prepend_bos)
    spans = [[_span(one, word, len(start)) for word in (s, fact.word)] for one, s in zip(text, tested, strict=True)]
    at = locate(tokenizer, text, spans, prepend_bos)
    first = {subject: after_space(tokenizer, thing)[0] for subject, thing in pairs.items()}
    if tokenizer.unk_token_id in first.values() or len(set(first.values())) < 2:
        raise ValueError(f"this tokenizer does not know all objects of {relation!r}, or begins all with one token")
    answer = torch.tensor([first[subject] for subject in tested])
    distractor = torch.tensor([rng.choice([t for t in first.values() if t != own]) for own in answer.tolist()])
    table = pd.DataFrame({"relation": relation, "subject": tested, "object": [pairs[s] for s in tested]})
    return Prompts(tokens, answer, distractor, {"SUBJECT": at[:, 0], "RELATION": at[:, 1], "END": end}, text, table)


def _write(relation: str, form: str, subject: str, answered: bool = False) -> str:
    text, thing = getattr(RELATIONS[relation], form).format(subject=subject), RELATIONS[relation].pairs[subject]
    if form == "question":
        return f"Q: {text}\nA:" + f" {thing}\n" * answered
    return text + f" {thing}.\n" * answered


def _span(text: str, word: str, start: int) -> Span:
    """Find the first mention of `word`, after a space, from character `start` on."""
    first = text.index(" " + word, start) + 1
    return first, first + len(word)
