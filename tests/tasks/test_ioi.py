"""Prompts: the named positions, tokens and corruptions must be what their names say."""

import numpy as np
import pandas as pd
import pytest
import torch

import th_utils as th
from th_utils.tasks import Prompts, ioi, single_token_words
from th_utils.tasks.prompts import encode, word_id


@pytest.fixture(scope="module")
def gpt2(tiny):
    return tiny("tiny-gpt2")


@pytest.fixture(scope="module")
def every(gpt2):
    """Each template in both orders, twice."""
    return ioi.generate(gpt2, 4 * len(ioi.TEMPLATES), seed=3)


def word_at(model, prompts, i, position):
    return model.tokenizer.decode([prompts.tokens[i, prompts.positions[position][i]]]).strip()


def check_positions(model, prompts):
    for i, row in enumerate(prompts.table.itertuples()):
        assert word_at(model, prompts, i, "IO") == row.IO
        assert word_at(model, prompts, i, "S1") == word_at(model, prompts, i, "S2") == row.S
        io, s1, after, s2, end = (int(prompts.positions[p][i]) for p in ("IO", "S1", "S1+1", "S2", "END"))
        assert max(io, s1) < s2 < end and after == s1 + 1
        assert (io < s1) == (row.order == "ABBA")
        assert prompts.text[i].count(row.S) == 2 and prompts.text[i].count(row.IO) == 1
        assert model.tokenizer.decode(prompts.tokens[i, 1 : end + 1]) == prompts.text[i]
        assert (prompts.tokens[i, end + 1 :] == model.tokenizer.pad_token_id).all()
        assert model.tokenizer.decode([prompts.answer[i]]) == " " + row.IO
        assert model.tokenizer.decode([prompts.distractor[i]]) == " " + row.S


def test_positions_point_at_the_right_tokens(gpt2, every):
    assert set(zip(every.table.template, every.table.order, strict=True)) == {
        (template, order) for template in range(len(ioi.TEMPLATES)) for order in ioi.ORDERS
    }
    check_positions(gpt2, every)
    assert (every.tokens[:, 0] == gpt2.tokenizer.bos_token_id).all()


@pytest.mark.real
def test_positions_point_at_the_right_tokens_in_a_real_tokenizer(default_model):
    check_positions(default_model, ioi.generate(default_model, 60, seed=0))


def test_every_word_is_one_token(gpt2, every):
    for column in ("IO", "S", "place", "object"):
        for word in every.table[column]:
            assert len(gpt2.tokenizer.encode(" " + word, add_special_tokens=False)) == 1


@pytest.mark.parametrize("n", [1, 30, 47, 90])
def test_templates_and_orders_are_balanced(gpt2, n):
    table = ioi.generate(gpt2, n).table
    counts = table.groupby(["template", "order"]).size().reindex(
        pd.MultiIndex.from_product([range(15), ioi.ORDERS]), fill_value=0
    )  # fmt: skip
    assert len(table) == n
    assert counts.max() - counts.min() <= (0 if n % 30 == 0 else 1)


def test_the_seed_decides_everything(gpt2):
    one, same, other = (ioi.generate(gpt2, 20, seed=seed) for seed in (5, 5, 6))
    assert one.text == same.text and torch.equal(one.tokens, same.tokens)
    assert one.text != other.text


def test_choices_are_respected(gpt2):
    made = ioi.generate(
        gpt2,
        12,
        templates=[2, 7],
        orders=["BABA"],
        names=["Mary", "John", "Tom"],
        places=["store"],
        objects=["ring"],
    )
    assert set(made.table.template) == {2, 7} and set(made.table.order) == {"BABA"}
    assert set(made.table.IO) | set(made.table.S) <= {"Mary", "John", "Tom"}
    assert set(made.table.place) == {"store"} and set(made.table.object) == {"ring"}
    assert (made.table.IO != made.table.S).all()


def test_without_bos_all_positions_move_by_one(gpt2):
    with_bos, without = (ioi.generate(gpt2, 8, seed=2, prepend_bos=flag) for flag in (True, False))
    assert with_bos.text == without.text
    for name in with_bos.positions:
        assert torch.equal(with_bos.positions[name], without.positions[name] + 1)


@pytest.mark.parametrize("arguments, match", [
    ({"n": 0}, "at least 1"),
    ({"n": -3}, "at least 1"),
    ({"n": 2, "templates": [15]}, "templates"),
    ({"n": 2, "templates": [-1]}, "templates"),
    ({"n": 2, "templates": []}, "at least one template"),
    ({"n": 2, "orders": ["BBAA"]}, "ABBA"),
    ({"n": 2, "orders": []}, "at least one template and an order"),
    ({"n": 2, "names": ["Mary", "Nebuchadnezzar"]}, "Nebuchadnezzar.*exactly one"),
    ({"n": 2, "names": ["Mary"]}, "too few names"),
    ({"n": 2, "names": ["Mary", "Mary"]}, "too few names"),
    ({"n": 2, "places": []}, "too few places"),
    ({"n": 4, "names": ["store", "Mary"], "places": ["store"], "templates": [0]}, "also another token"),
])  # fmt: skip
def test_bad_requests_are_refused(gpt2, refuses, arguments, match):
    with refuses(match):
        ioi.generate(gpt2, **arguments)


# --- corruptions ---

NAMED = {"ABC": ("IO", "S1", "S2"), "S2->IO": ("S2",), "S2->random": ("S2",)}


@pytest.mark.parametrize("kind", ioi.CORRUPTIONS)
def test_corruptions_change_the_named_positions_only(gpt2, every, kind):
    bad = ioi.corrupt(gpt2, every, kind, seed=1)
    expected = torch.zeros_like(every.tokens, dtype=torch.bool)
    for position in NAMED[kind]:
        expected[torch.arange(len(every)), every.positions[position]] = True
    assert torch.equal(bad.tokens != every.tokens, expected)
    assert torch.equal(bad.answer, every.answer) and torch.equal(bad.distractor, every.distractor)
    assert all(torch.equal(bad.positions[p], every.positions[p]) for p in every.positions)
    for i in range(len(every)):
        assert gpt2.tokenizer.decode(bad.tokens[i, 1 : bad.end[i] + 1]) == bad.text[i]


def test_corruptions_put_the_right_names_in(gpt2, every):
    made = {kind: ioi.corrupt(gpt2, every, kind) for kind in ioi.CORRUPTIONS}
    for i, row in enumerate(every.table.itertuples()):
        names = {kind: [word_at(gpt2, bad, i, p) for p in ("IO", "S1", "S2")] for kind, bad in made.items()}
        assert names["S2->IO"] == [row.IO, row.S, row.IO]
        assert names["S2->random"][:2] == [row.IO, row.S] and names["S2->random"][2] not in (row.IO, row.S)
        assert len({*names["ABC"], row.IO, row.S}) == 5


def test_corruptions_follow_their_seed(gpt2, every):
    one, same, other = (ioi.corrupt(gpt2, every, "ABC", seed=seed) for seed in (1, 1, 2))
    assert one.text == same.text != other.text


def test_unknown_corruptions_are_refused(gpt2, every, refuses):
    with refuses("unknown corruption 'S1->IO'"):
        ioi.corrupt(gpt2, every, "S1->IO")


# --- the record ---


@pytest.mark.parametrize("rows, expected", [
    ([5, 0, 5], [5, 0, 5]),
    (slice(2, 8, 3), [2, 5]),
    (torch.tensor([3, -1]), [3, 59]),
    (np.array([4, 4]), [4, 4]),
    (torch.arange(60) < 2, [0, 1]),
    ([False] * 58 + [True] * 2, [58, 59]),
    (pd.Series(np.arange(60) == 7), [7]),
    (pd.Series(np.arange(60) == 7, index=np.arange(60)[::-1]), [7]),
], ids=["list", "slice", "tensor", "array", "mask", "list mask", "series", "other order"])  # fmt: skip
def test_select_takes_the_same_rows_of_everything(every, rows, expected):
    part = every.select(rows)
    assert part.text == tuple(every.text[i] for i in expected)
    assert torch.equal(part.tokens, every.tokens[expected])
    assert torch.equal(part.answer, every.answer[expected]) and torch.equal(part.distractor, every.distractor[expected])
    assert all(torch.equal(part.positions[p], every.positions[p][expected]) for p in every.positions)
    assert part.table.IO.tolist() == every.table.IO.iloc[expected].tolist()
    assert part.table.index.tolist() == list(range(len(expected)))


def test_select_by_a_column(every):
    part = every.select(every.table.order == "ABBA")
    assert len(part) == 30 and set(part.table.order) == {"ABBA"}


def test_an_empty_selection_is_an_empty_batch(every):
    assert len(every.select(every.table.order == "AABB")) == len(every.select([])) == 0


def test_a_mask_of_the_wrong_length_is_refused(every, refuses):
    with refuses("one entry for each of the 60 prompts"):
        every.select([True, False])


def test_padding_on_the_right_changes_nothing(model, prompts):
    together = model(prompts.tokens)
    for i, end in enumerate(prompts.end.tolist()):
        alone = model(prompts.tokens[i : i + 1, : end + 1])[0, -1]
        torch.testing.assert_close(together[i, end], alone, rtol=1e-4, atol=1e-4)


def test_incomplete_records_are_refused(every, refuses):
    fields = {name: getattr(every, name) for name in every.__dataclass_fields__}
    with refuses("END"):
        Prompts(**{**fields, "positions": {"IO": every.positions["IO"]}})
    with refuses("answer has shape"):
        Prompts(**{**fields, "answer": every.answer[:-1]})
    with refuses("S2 has shape"):
        Prompts(**{**fields, "positions": {**every.positions, "S2": every.end[:3]}})
    with refuses("token rows"):
        Prompts(**{**fields, "tokens": every.tokens[:-1]})


def test_to_moves_every_tensor(every):
    moved = every.to("meta")
    tensors = [moved.tokens, moved.answer, moved.distractor, *moved.positions.values()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_encode_pads_on_the_right_and_finds_the_last_token(gpt2):
    tokens, end = encode(gpt2.tokenizer, ["the store", "Then the man went to the store"])
    assert end.tolist() == [2, 7] and tokens.shape == (2, 8)
    assert (tokens[0, 3:] == gpt2.tokenizer.pad_token_id).all()
    with pytest.raises(ValueError, match="at least one"):
        encode(gpt2.tokenizer, [])
    with pytest.raises(ValueError, match="at least one"):
        encode(gpt2.tokenizer, ["", "a"], prepend_bos=False)


def test_tokenizers_without_bos_must_be_asked_without_it(gpt2):
    class NoBos:
        bos_token_id = None

    with pytest.raises(ValueError, match="prepend_bos=False"):
        encode(NoBos(), ["a"])


def test_single_token_words_keeps_order_and_drops_the_rest(gpt2):
    kept = single_token_words(gpt2.tokenizer, ["store", "Nebuchadnezzar", "Mary"])
    assert kept == ("store", "Mary")
    assert gpt2.tokenizer.decode([word_id(gpt2.tokenizer, "store")]) == " store"
    assert isinstance(th.Prompts, type)
