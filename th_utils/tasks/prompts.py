"""The record every task returns, and the tokenisation all tasks share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from .._guards import chosen_rows, indices


@dataclass(frozen=True)
class Prompts:
    """A batch of prompts with the positions and tokens that matter.

    `tokens`: [batch, pos], padded on the right (padding never reaches a position before it in a causal model);
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
        if "END" not in self.positions:
            raise ValueError(f"positions must hold END (the last prompt token), got {sorted(self.positions)}")
        for name, values in [*self.positions.items(), ("answer", self.answer), ("distractor", self.distractor)]:
            if values.shape != (len(self.text),):
                raise ValueError(
                    f"{name} has shape {tuple(values.shape)}, expected ({len(self.text)},): one per prompt"
                )
            if name in self.positions and values.numel() and not values.is_meta:
                indices(f"position {name!r}", values, self.tokens.shape[-1])
        if self.tokens.ndim != 2 or self.tokens.is_floating_point() or self.tokens.dtype == torch.bool:
            raise ValueError(f"tokens must be [batch, pos] integers, got {self.tokens.dtype} {[*self.tokens.shape]}")
        if len(self.tokens) != len(self.text) or len(self.table) != len(self.text):
            raise ValueError(f"{len(self.tokens)} token rows, {len(self.table)} table rows, {len(self.text)} texts")

    def __len__(self) -> int:
        return len(self.text)

    @property
    def end(self) -> Int[Tensor, " batch"]:
        """Index of the last token of each prompt."""
        return self.positions["END"]

    def at(self, name: str) -> Int[Tensor, " batch"]:
        """The position of this name in every prompt; `ValueError` where these prompts have none."""
        if name not in tuple(self.positions):
            raise ValueError(f"no position named {name!r}: these prompts have {sorted(self.positions)}")
        return self.positions[name]

    def select(self, rows: Sequence[int] | np.ndarray | Tensor | pd.Series | slice) -> Prompts:
        """The prompts at these indices, or where a boolean mask is true (a column comparison of `table` works).

        Raises `ValueError` for a mask that does not have one entry per prompt.
        """
        if isinstance(rows, slice):
            index = torch.arange(len(self))[rows]
        else:
            index = chosen_rows("rows", rows, len(self))
        return replace(
            self,
            tokens=self.tokens[index],
            answer=self.answer[index],
            distractor=self.distractor[index],
            positions={name: values[index] for name, values in self.positions.items()},
            text=tuple(self.text[i] for i in index),
            table=self.table.iloc[index.tolist()].reset_index(drop=True),
        )

    def to(self, device) -> Prompts:
        """The same prompts with their tensors on another device."""
        moved = {name: values.to(device) for name, values in self.positions.items()}
        return replace(
            self, tokens=self.tokens.to(device), answer=self.answer.to(device),
            distractor=self.distractor.to(device), positions=moved,
        )  # fmt: skip


def word_id(tokenizer, word: str) -> int:
    """The id of `" word"` (with its leading space), or a `ValueError` when that is not one token."""
    if not isinstance(word, str) or not word.strip():
        raise ValueError(f"word must be a text, got {word!r}")
    ids = tokenizer.encode(" " + word, add_special_tokens=False)
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id != tokenizer.bos_token_id:
        raise ValueError(
            f"{word!r} is {len(ids)} tokens with a leading space in this tokenizer, the task needs exactly one: "
            "leave it out (tasks.single_token_words filters a list)"
        )
    return ids[0]


def single_token_words(tokenizer, words: Iterable[str]) -> tuple[str, ...]:
    """The words that are one token with a leading space in this tokenizer, in the given order."""
    kept = []
    for word in words:
        try:
            word_id(tokenizer, word)
        except ValueError:
            continue
        kept.append(word)
    return tuple(kept)


def encode(tokenizer, texts: Sequence[str], prepend_bos: bool = True) -> tuple[Tensor, Tensor]:
    """Token ids `[batch, longest]`, padded on the right, and the index of each last token `[batch]`.

    The beginning-of-sequence token goes first unless `prepend_bos` is False: models were trained with something in
    that place, and heads that have nothing to do look there.
    """
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"texts must be a list of prompts, each a text, got {texts!r}")
    if prepend_bos and tokenizer.bos_token_id is None:
        raise ValueError("this tokenizer has no beginning-of-sequence token: pass prepend_bos=False")
    start = [tokenizer.bos_token_id] if prepend_bos else []
    rows = [start + tokenizer.encode(text, add_special_tokens=False) for text in texts]
    if not rows or any(not row for row in rows):
        raise ValueError("every prompt must hold at least one token, and there must be at least one prompt")
    pad = next(i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if i is not None)
    longest = max(map(len, rows))
    tokens = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    return tokens, torch.tensor([len(row) - 1 for row in rows])


def token_strings(model, tokens: Tensor) -> list[str]:
    """The tokens of one prompt as text; the beginning-of-sequence token as "BOS"."""
    bos = model.tokenizer.bos_token_id
    return ["BOS" if i == 0 and int(t) == bos else model.tokenizer.decode([int(t)]) for i, t in enumerate(tokens)]


