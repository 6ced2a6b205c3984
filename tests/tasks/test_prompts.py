"""The record of prompts, and where words are found in tokens: nothing may be silently another prompt's or word's."""

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

import th_utils as th
from th_utils.tasks import ioi, single_token_words
from th_utils.tasks.prompts import encode, fill, locate, tokenise, word_id


@pytest.fixture(scope="module")
def tokenizer(tiny):
    return tiny("tiny-gpt2").tokenizer


@pytest.fixture(scope="module")
def every(tiny):
    return ioi.generate(tiny("tiny-gpt2"), 60, seed=3)


# --- the record ---


def test_a_column_in_another_order_is_refused(every, refuses):
    """pandas would go by its index, torch by its order."""
    mask = pd.Series(np.arange(60) == 7, index=np.arange(60)[::-1])
    for column in (mask, mask.astype("boolean")):
        with refuses("its index is not 0-59"):
            every.select(column)
    with refuses("rows must choose among 60 prompts by indices or a mask, got uint8"):  # which of them?
        every.select(np.arange(60, dtype=np.uint8) % 2)


@pytest.mark.parametrize("rows, expected", [
    ([5, 0, 5], [5, 0, 5]),
    (range(3), [0, 1, 2]),
    (slice(2, 8, 3), [2, 5]),
    (torch.tensor([3, -1]), [3, 59]),
    (np.array([4, 4]), [4, 4]),
    (torch.arange(60) < 2, [0, 1]),
    ([False] * 58 + [True] * 2, [58, 59]),
    (pd.Series(np.arange(60) == 7), [7]),
    ([], []),
    (np.zeros(60, bool), []),
], ids=str)  # fmt: skip
def test_select_takes_the_same_rows_of_everything(every, rows, expected):
    part = every.select(rows)
    assert part.text == tuple(every.text[i] for i in expected) and len(part) == len(expected)
    assert torch.equal(part.tokens, every.tokens[expected])
    assert torch.equal(part.answer, every.answer[expected]) and torch.equal(part.distractor, every.distractor[expected])
    assert all(torch.equal(part.at(name), every.at(name)[expected]) for name in every.positions)
    assert part.table.IO.tolist() == every.table.IO.iloc[expected].tolist()
    assert part.table.index.tolist() == list(range(len(expected)))


def test_a_mask_of_the_wrong_length_is_refused(every, refuses):
    with refuses("one entry for each of the 60 prompts"):
        every.select([True, False])


@pytest.mark.parametrize("change, match", [
    (lambda p: {"positions": {"END": p.end[:3]}}, "position 'END' must be .batch=60"),
    (lambda p: {"positions": {"END": p.end[:1]}}, "position 'END' must be .batch=60"),
    (lambda p: {"positions": {"END": p.end - 100}}, "position 'END' must lie between 0"),
    (lambda p: {"positions": {"END": p.end + 100}}, "position 'END' must lie between 0"),
    (lambda p: {"positions": {"END": p.end / 2}}, "position 'END' must be integers"),
    (lambda p: {"answer": p.answer[:1]}, "answer must be .batch=60"),
    (lambda p: {"distractor": -p.distractor}, "distractor must lie between 0"),
    (lambda p: {"tokens": p.tokens[:-1]}, "59 token rows"),
    (lambda p: {"table": p.table[:-1]}, "59 table rows"),
])  # fmt: skip
def test_what_would_be_silently_wrong_is_refused(every, refuses, change, match):
    with refuses(match):
        dataclasses.replace(every, **change(every))


def test_every_tensor_is_on_the_device_of_the_tokens(every):
    moved = every.to("meta")
    tensors = [moved.tokens, moved.answer, moved.distractor, *moved.positions.values()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert moved.text == every.text and moved.table is every.table


def test_positions_by_name_and_number(every, refuses):
    many = dataclasses.replace(every, positions={f"item {i}": every.end - i for i in range(12)} | {"END": every.end})
    assert torch.equal(many.numbered("item"), every.end[:, None] - torch.arange(12))
    with refuses("no position named 'S3': these prompts have"):
        every.at("S3")
    with refuses("no position named 'item 0'"):
        every.numbered("item")


def test_padding_and_company_change_nothing(model, prompts):
    together = model(prompts.tokens)
    junk = dataclasses.replace(
        prompts, tokens=prompts.tokens.where(torch.arange(prompts.tokens.shape[1]) <= prompts.end[:, None], 7)
    )
    torch.testing.assert_close(th.logits(model, th.run(model, junk)), th.logits(model, th.run(model, prompts)))
    for i, end in enumerate(prompts.end.tolist()):
        alone = model(prompts.tokens[i : i + 1, : end + 1])[0, -1]
        torch.testing.assert_close(together[i, end], alone, rtol=1e-4, atol=1e-4)


# --- tokens and words ---


def test_encode_pads_on_the_right_and_finds_the_last_token(tokenizer, refuses):
    tokens, end = encode(tokenizer, ["the store", "Then the man went to the store"])
    assert end.tolist() == [2, 7] and tokens.shape == (2, 8)
    assert (tokens[:, 0] == tokenizer.bos_token_id).all() and (tokens[0, 3:] == tokenizer.pad_token_id).all()
    for text in ([], ["", "a"]):
        with refuses("at least one token"):
            encode(tokenizer, text, prepend_bos=False)
    with refuses("a list of prompts, got one text: 'the store'"):
        encode(tokenizer, "the store")


def test_the_tokenizers_own_padding_side_has_no_say(tokenizer, monkeypatch):
    texts = ["the store", "Then the man went"]
    expected = encode(tokenizer, texts)
    monkeypatch.setattr(tokenizer, "padding_side", "left")
    assert all(torch.equal(one, other) for one, other in zip(encode(tokenizer, texts), expected, strict=True))


def test_tokenizers_without_bos_work_without_it(tokenizer, refuses):
    without = copy.deepcopy(tokenizer)
    without.bos_token = None
    for bos in (None, False):
        assert encode(without, ["the store"], prepend_bos=bos)[1].tolist() == [1]
    with refuses("leave prepend_bos at None"):
        encode(without, ["the store"], prepend_bos=True)


def test_single_token_words_keeps_order_and_drops_the_rest(tokenizer, refuses):
    assert single_token_words(tokenizer, ["store", "Nebuchadnezzar", "old coat", "", "Mary"]) == ("store", "Mary")
    assert tokenizer.decode([word_id(tokenizer, "store")]) == " store"
    for word in ("Nebuchadnezzar", "old coat", " coat", "", " "):
        with refuses("not one: tasks.single_token"):
            word_id(tokenizer, word)


def test_fill_says_where_the_words_stand():
    template = "{who} has {item 0}, {{so}} {item 1}; {who}"
    words = {"who": "Ana", "item 0": "a lamp", "item 1": "", "unused": "x"}
    text, spans = fill(template, words)
    assert text == template.format(**words) == "Ana has a lamp, {so} ; Ana"
    assert {name: text[start:end] for name, (start, end) in spans.items()} == {
        "who": "Ana", "item 0": "a lamp", "item 1": "",
    }  # fmt: skip
    assert spans["who"] == (23, 26)  # the last time


@pytest.mark.parametrize("bos", [True, False])
def test_locate_finds_the_last_token_of_words_of_any_length(tokenizer, bos):
    texts = ["Ana met Nebuchadnezzar, Ana", "The café ☕ of Nebuchadnezzar's 猫"]
    words = [["Nebuchadnezzar", "met"], ["Nebuchadnezzar", "café ☕"]]
    spans = [[(text.index(w), text.index(w) + len(w)) for w in row] for text, row in zip(texts, words, strict=True)]
    at = locate(tokenizer, texts, spans, bos)
    tokens, _ = encode(tokenizer, texts, bos)
    for i, row in enumerate(words):
        for j, word in enumerate(row):
            assert tokenizer.decode(tokens[i, int(bos) : at[i, j] + 1]).endswith(word)
            assert not tokenizer.decode(tokens[i, int(bos) : at[i, j]]).endswith(word)


def test_places_that_are_not_the_end_of_a_token_are_refused(tokenizer, refuses):
    with refuses("'stor' does not end where a token ends in 'the store'"):
        locate(tokenizer, ["the store"], [[(4, 8)]])

    class Slow:
        is_fast = False

    with refuses("Slow gives no character offsets"):
        locate(Slow(), ["a"], [[(0, 1)]])


@pytest.mark.parametrize("text, words", [
    ("the lamp and the lamp", ("lamp",)),  # said again
    ("the coat or the lamp", ("lamp", "coat")),  # another of the words elsewhere
    ("the lamp", ("lamp", "lamp")),  # one word twice
    ("a cup", ("lamp",)),  # not said at all
])  # fmt: skip
def test_words_stand_where_they_are_named_and_nowhere_else(tokenizer, refuses, text, words):
    span = {"item": (text.rindex(" ") + 1, len(text))}
    with refuses("is also another token of"):
        tokenise(tokenizer, [text], [span], [words], True)
    tokens, positions, ids = tokenise(tokenizer, ["a cup and the lamp"], [{"item": (14, 18)}], [["lamp"]], True)
    assert positions["item"].tolist() == positions["END"].tolist() == [5]
    assert tokens[0, 5] == ids[0, 0] == word_id(tokenizer, "lamp")


def test_token_strings_name_the_first_token(tiny, every):
    words = th.token_strings(tiny("tiny-gpt2"), every.tokens[0, : every.end[0] + 1])
    assert words[0] == "BOS" and "".join(words[1:]) == every.text[0]
