"""The record every task returns, and the tokenisation all tasks share."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import resources
from string import Formatter

import pandas as pd
import torch
from jaxtyping import Int, Shaped
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .._guards import chosen_rows, indices
from ..models import parts

Span = tuple[int, int]  # where a word stands in a text: first character, and one past the last


@dataclass(frozen=True)
class Prompts:
    """A batch of prompts with the positions and tokens that matter, all on the device of `tokens`.

    `tokens`: [batch, pos], padded on the right (padding never reaches a position before it in a causal model). A task
    with `prepend_bos=None` begins a prompt with what the tokenizer itself puts before a text, else with its
    beginning-of-sequence token (BOS), else with the text; True is BOS alone, False the text;
    `answer`, `distractor`: [batch] token ids, the right next token and the one it competes with;
    `positions`: name -> [batch] indices into `tokens`; "END" is always the last prompt token;
    `text`: the prompts as strings; `table`: one row of metadata per prompt.
    """

    tokens: Int[Tensor, "batch pos"]
    answer: Int[Tensor, " batch"]
    distractor: Int[Tensor, " batch"]
    positions: dict[str, Int[Tensor, " batch"]]
    text: tuple[str, ...]
    table: pd.DataFrame

    def __post_init__(self):
        if not len(self.tokens) == len(self.table) == len(self.text):
            raise ValueError(f"{len(self.tokens)} token rows, {len(self.table)} table rows, {len(self.text)} texts")

        def per_prompt(name: str, values: Tensor, high: int) -> Tensor:
            return indices(name, values, high, {"batch": len(self)}).to(self.tokens.device)

        pos = self.tokens.shape[1]
        moved = {name: per_prompt(f"position {name!r}", values, pos) for name, values in self.positions.items()}
        object.__setattr__(self, "positions", moved)
        for name in ("answer", "distractor"):
            object.__setattr__(self, name, per_prompt(name, getattr(self, name), 2**31))

    def __len__(self) -> int:
        return len(self.text)

    @property
    def end(self) -> Int[Tensor, " batch"]:
        """Return the index of the last token of each prompt."""
        return self.positions["END"]

    def at(self, where: str | Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Return the position of this name in every prompt, or indices that were checked.

        Raises `ValueError` for a name that these prompts lack, and for negative, too large or too few indices.
        """
        if not isinstance(where, str):
            return indices("position", where, self.tokens.shape[1], {"batch": len(self)}).to(self.tokens.device)
        if where not in self.positions:
            raise ValueError(f"no position named {where!r}: these prompts have {sorted(self.positions)}")
        return self.positions[where]

    def pick(self, values: Shaped[Tensor, "*n batch pos"], where: str | Int[Tensor, " batch"]) -> Tensor:
        """Pick one position per prompt from `values` [..., batch, pos], tokens or rows of attention: [..., batch].

        Raises `ValueError` for values of other prompts in number or length, and as `at`.
        """
        if values.shape[-2:] != self.tokens.shape:
            raise ValueError(f"values must end in [batch, pos] = {[*self.tokens.shape]}, got {[*values.shape]}")
        position = self.at(where).to(values.device)
        return values[..., torch.arange(len(self), device=values.device), position]

    def numbered(self, kind: str) -> Int[Tensor, "batch n"]:
        """Stack the positions named "`kind` 0", "`kind` 1", …; `ValueError` where these prompts have none."""
        n = sum(name.startswith(f"{kind} ") for name in self.positions)
        return torch.stack([self.at(f"{kind} {i}") for i in range(n or 1)], 1)

    def select(self, rows) -> "Prompts":
        """Return the prompts at these indices, of this slice, or where a mask is true (a column comparison works).

        Raises `ValueError` for a mask that does not have one entry per prompt.
        """
        index = chosen_rows("rows", rows, len(self))
        table = self.table.iloc[index.tolist()].reset_index(drop=True)
        positions = {name: values[index] for name, values in self.positions.items()}
        text = tuple(self.text[i] for i in index)
        return Prompts(self.tokens[index], self.answer[index], self.distractor[index], positions, text, table)

    def to(self, device) -> "Prompts":
        """Return the same prompts on another device."""
        return replace(self, tokens=self.tokens.to(device))


def data(name: str) -> dict:
    """Read `data/<name>.json` of this package: word lists, templates, facts, passages."""
    return json.loads(resources.files(__package__).joinpath("data", f"{name}.json").read_text(encoding="utf-8"))


def after_space(tokenizer, text: str) -> list[int]:
    """Return the ids of `" text"` inside a sentence: alone, some tokenizers would put one more space before it."""
    before = tokenizer.encode("x", add_special_tokens=False)
    return tokenizer.encode(f"x {text}", add_special_tokens=False)[len(before) :]


def word_id(tokenizer, word: str) -> int:
    """Return the id of `" word"` (with its leading space), or raise `ValueError` when that is not one known token."""
    ids = after_space(tokenizer, word)
    if not word.strip() or len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        raise ValueError(f"{word!r} is {len(ids)} tokens, not one: tasks.single_token_words(tokenizer, words) drops it")
    return ids[0]


def single_token_words(tokenizer, words: Iterable[str]) -> tuple[str, ...]:
    """Keep the words that are one token with a leading space in this tokenizer, in the given order."""
    kept = []
    for word in words:
        with suppress(ValueError):
            word_id(tokenizer, word)
            kept.append(word)
    return tuple(kept)


def enough(tokenizer, kind: str, words: Sequence[str], needed: int, fix: str = "") -> tuple[str, ...]:
    """Keep the built-in words that are one token; raise `ValueError` where they are fewer than a prompt needs."""
    if len(kept := single_token_words(tokenizer, words)) < needed:
        found = f"{len(kept)} of the {len(words)} built-in {kind} are one token in this tokenizer"
        raise ValueError(f"{found}, at least {needed} are needed: {fix or f'give {kind}= of your own'}")
    return kept


def prefix(tokenizer, prepend_bos: bool | None = None) -> list[int]:
    """Return the tokens before a text: what the tokenizer itself puts there, else its BOS token, else nothing.

    True is the beginning-of-sequence token (BOS) alone, False nothing. Models were trained with something in that
    place, and heads that have nothing to do look there; without a prefix they look at the first token of the text.
    Raises `ValueError` for True and a tokenizer without BOS.
    """
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    if prepend_bos is None:
        own = tokenizer("x", return_special_tokens_mask=True)
        return own["input_ids"][: own["special_tokens_mask"].index(0)] or bos
    if prepend_bos and not bos:
        raise ValueError("this tokenizer has no beginning-of-sequence token: leave prepend_bos at None, its default")
    return bos * prepend_bos


def encode(tokenizer, texts: Sequence[str], prepend_bos: bool | None = None) -> tuple[Tensor, Tensor]:
    """Return token ids `[batch, longest]`, padded on the right, and the index of each last token `[batch]`.

    Each row is the `prefix` and the text, without what the tokenizer would put after it.
    """
    if isinstance(texts, str):
        raise ValueError(f"texts must be a list of prompts, got one text: {texts!r}")
    start = prefix(tokenizer, prepend_bos)
    rows = [torch.tensor(start + tokenizer.encode(text, add_special_tokens=False)) for text in texts]
    if not rows or not all(map(len, rows)):
        raise ValueError("every prompt must hold at least one token, and there must be at least one prompt")
    pad = next(i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if i is not None)
    return pad_sequence(rows, batch_first=True, padding_value=pad), torch.tensor([len(row) - 1 for row in rows])


def locate(
    tokenizer, texts: Sequence[str], spans: Sequence[Sequence[Span]], prepend_bos: bool | None = None
) -> Int[Tensor, "batch n"]:
    """Return where the last token of each character span is, among the tokens that `encode` makes of each text.

    Raises `ValueError` for a span that ends inside a token, and for a tokenizer without character offsets.
    """
    if not tokenizer.is_fast:
        raise ValueError(f"{type(tokenizer).__name__} gives no character offsets: the model needs a tokenizer.json")
    rows, before = [], len(prefix(tokenizer, prepend_bos))
    for text, wanted in zip(texts, spans, strict=True):
        offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        ends = {end: position for position, (_, end) in enumerate(offsets, start=before)}
        for start, end in wanted:
            if end not in ends:
                raise ValueError(f"{text[start:end]!r} does not end where a token ends in {text!r}: leave it out")
        rows.append([ends[end] for _, end in wanted])
    return torch.tensor(rows)


def fill(template: str, words: Mapping[str, str]) -> tuple[str, dict[str, Span]]:
    """Fill in a template as `str.format` does, and return where each word stands (the last time it is used)."""
    text, spans = "", {}
    for literal, field, _, _ in Formatter().parse(template):
        text += literal
        if field is not None:
            spans[field] = len(text), len(text) + len(words[field])
            text += words[field]
    return text, spans


def tokenise(
    tokenizer, texts: Sequence[str], spans: Sequence[Mapping[str, Span]], words: Sequence[Sequence[str]],
    prepend_bos: bool | None = None,
) -> tuple[Int[Tensor, "batch pos"], dict[str, Int[Tensor, " batch"]], Int[Tensor, "batch n"]]:  # fmt: skip
    """Return the prompts' tokens, their named positions with END, and the ids of each prompt's `words`.

    `spans` name where the words stand. Raises `ValueError` for words that are not one token each, or that stand
    anywhere else in their prompt, too: the task would be ambiguous.
    """
    tokens, end = encode(tokenizer, texts, prepend_bos)
    places = locate(tokenizer, texts, [list(row.values()) for row in spans], prepend_bos)
    known = {word: word_id(tokenizer, word) for row in words for word in row}
    ids = torch.tensor([[known[word] for word in row] for row in words])
    said = (tokens[..., None] == ids[:, None]).any(-1) & (torch.arange(tokens.shape[1]) <= end[:, None])
    for i, row in enumerate(words):
        if said[i].nonzero().flatten().tolist() != sorted(places[i].tolist()) or len(set(row)) < len(row):
            raise ValueError(f"one of {tuple(row)} is also another token of {texts[i]!r}: leave it out")
    return tokens, dict(zip(spans[0], places.unbind(1), strict=True)) | {"END": end}, ids


def token_strings(model, tokens: Tensor) -> list[str]:
    """Return the tokens of one prompt as text, with their spaces; the beginning-of-sequence token as "BOS"."""
    tokenizer = parts.tokenizer(model)
    bos, before = tokenizer.bos_token_id, tokenizer.encode("x", add_special_tokens=False)
    skip = len(tokenizer.decode(before))  # alone, a token would lose its space in some tokenizers
    words = [tokenizer.decode([*before, int(token)])[skip:] for token in tokens]
    return ["BOS"] + words[1:] if words and int(tokens[0]) == bos else words
