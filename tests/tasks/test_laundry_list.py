"""Laundry lists: the text, the tokens and the named positions must tell one story, in every frame and tokenizer."""

from collections import Counter

import numpy as np
import pytest
import torch

from th_utils.tasks import ioi, single_token_words
from th_utils.tasks import laundry_list as ll

TICKING = [name for name, frame in ll.FRAMES.items() if frame.ticking]


@pytest.fixture(scope="module")
def gpt2(tiny):
    return tiny("tiny-gpt2")


@pytest.fixture(scope="module", params=TICKING)
def clean(request, gpt2):
    """Fifteen prompts with lists of five, in each frame that ticks items off."""
    return ll.generate(gpt2, 15, 5, seed=3, frame=request.param)


def words_at(model, prompts, i, positions):
    return [model.tokenizer.decode([prompts.tokens[i, p]]) for p in positions]


def check(model, prompts, listed=True):
    """What holds of all prompts: positions, answer, distractor, text and table agree."""
    tokenizer, frame = model.tokenizer, ll.FRAMES[prompts.table.frame[0]]
    first = prompts.numbered("item") if listed else None
    second = prompts.numbered("ticked") if frame.ticking else None
    with_bos = int(prompts.tokens[0, 0].item() == tokenizer.bos_token_id)
    for i, row in enumerate(prompts.table.itertuples()):
        ids = [tokenizer.encode(" " + item, add_special_tokens=False) for item in row.items]
        assert all(len(one) == 1 for one in ids) and len(set(row.items)) == len(row.items)
        assert ll.candidates(model, prompts)[i].tolist() == [one[0] for one in ids]
        assert tokenizer.decode([prompts.answer[i]]) == " " + row.items[row.answer_index]
        assert tokenizer.decode([prompts.distractor[i]]) == " " + row.items[row.rival]
        assert sorted((*row.ticked, row.answer_index)) == list(range(len(row.items))) and row.rival in row.ticked
        end = int(prompts.end[i])
        assert tokenizer.decode(prompts.tokens[i, with_bos : end + 1]) == prompts.text[i]
        assert prompts.text[i].endswith(frame.ask.split()[-1]), "a space at the end would be a token of its own"
        marked = set()
        if listed:
            assert words_at(model, prompts, i, first[i]) == [" " + item for item in row.items]
            assert (first[i].diff() > 0).all()
            marked |= set(first[i].tolist())
        if frame.ticking:
            assert words_at(model, prompts, i, second[i]) == [" " + row.items[t] for t in row.ticked]
            assert (second[i].diff() > 0).all() and second[i].max() < end
            assert not listed or first[i].max() < second[i].min()
            marked |= set(second[i].tolist())
        said = torch.isin(prompts.tokens[i, : end + 1], torch.tensor(ids)).nonzero().flatten()
        assert set(said.tolist()) == marked, "every mention of an item is a named position"


# --- what a prompt is ---


@pytest.mark.parametrize("n_items", [2, 3, 20])
@pytest.mark.parametrize("frame", ll.FRAMES)
def test_positions_point_at_the_right_tokens(gpt2, frame, n_items):
    check(gpt2, ll.generate(gpt2, 21, n_items, frame=frame))


@pytest.mark.real
@pytest.mark.parametrize("frame", ll.FRAMES)
def test_positions_point_at_the_right_tokens_in_a_real_tokenizer(default_model, frame):
    for n_items in (2, 5, 20):
        check(default_model, ll.generate(default_model, 21, n_items, frame=frame))
    nonsense = single_token_words(default_model.tokenizer, ll.NONSENSE)
    check(default_model, ll.generate(default_model, 21, 8, frame=frame, items=nonsense))


@pytest.mark.real
def test_a_real_tokenizer_keeps_most_words(default_model):
    """At least 60 items and 20 nonsense words, or three disjoint pools for lists of 20."""
    assert len(single_token_words(default_model.tokenizer, ll.ITEMS)) >= 60
    assert len(single_token_words(default_model.tokenizer, ll.NONSENSE)) >= 20
    assert min(map(len, ll.pools(default_model, 3))) >= 20


@pytest.mark.parametrize("frame", ll.FRAMES)
def test_items_of_ones_own(gpt2, frame):
    check(gpt2, ll.generate(gpt2, 10, 7, frame=frame, items=ll.NONSENSE))
    prompts = ll.generate(gpt2, 40, 20, frame=frame, items=list(ll.ITEMS[:20]))
    check(gpt2, prompts)
    assert all(set(items) == set(ll.ITEMS[:20]) for items in prompts.table["items"])
    check(gpt2, ll.generate(gpt2, 40, 3, frame=frame, items=ioi.NAMES[:-4]))  # nobody is called like an item


@pytest.mark.parametrize("frame", TICKING)
def test_without_the_list_only_the_ticking_is_left(gpt2, refuses, frame):
    listed, prior = (ll.generate(gpt2, 12, 4, seed=2, frame=frame, listed=flag) for flag in (True, False))
    check(gpt2, prior, listed=False)
    for whole, rest, row in zip(listed.text, prior.text, prior.table.itertuples(), strict=True):
        assert whole.endswith(rest) and row.items[row.answer_index] not in rest.replace(":", "").split()
    with refuses("item 0"):
        prior.numbered("item")


def test_the_cue_frame_asks_for_first_or_last(gpt2, refuses):
    prompts = ll.generate(gpt2, 20, 6, frame="cue")
    assert Counter(prompts.table.answer_index) == {0: 10, 5: 10}
    for text, index in zip(prompts.text, prompts.table.answer_index, strict=True):
        assert f"The {'last' if index else 'first'} thing that" in text
    with refuses("ticked 0"):
        prompts.numbered("ticked")


@pytest.mark.parametrize("n, n_items", [(1, 7), (30, 5), (33, 5), (41, 20)])
def test_answer_indices_are_spread_evenly(gpt2, n, n_items):
    counts = Counter({i: 0 for i in range(n_items)})
    counts.update(ll.generate(gpt2, n, n_items).table.answer_index)
    assert len(counts) == n_items and counts.total() == n
    assert max(counts.values()) - min(counts.values()) <= (0 if n % n_items == 0 else 1)


def test_the_order_of_ticking_is_random_and_says_nothing_of_the_answer(gpt2):
    table = ll.generate(gpt2, 600, 3, seed=0).table
    orders = Counter(table.ticked)
    assert orders.keys() == {(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)}
    assert min(orders.values()) > 70, "100 each, give or take three standard deviations"
    last_ticked = Counter(row.ticked.index(row.rival) for row in table.itertuples())
    assert min(last_ticked[0], last_ticked[1]) > 250, "the rival is no more often the last one than the first"


@pytest.mark.parametrize("call", [
    lambda m, seed: ll.generate(m, 12, 5, seed=seed),
    lambda m, seed: ll.reorder(m, ll.generate(m, 3, 5), 4, seed=seed),
], ids=["generate", "reorder"])  # fmt: skip
def test_the_seed_decides_everything(gpt2, call):
    one, same, other = (call(gpt2, seed) for seed in (5, 5, 6))
    assert one.text == same.text != other.text and torch.equal(one.tokens, same.tokens)
    assert one.table.equals(same.table)


# --- pools ---


@pytest.mark.parametrize("n_pools", [1, 2, 3, 178])
def test_pools_are_disjoint_and_share_all_items_out(gpt2, n_pools):
    pools = ll.pools(gpt2, n_pools, seed=1)
    assert len(pools) == n_pools and sorted(item for pool in pools for item in pool) == sorted(ll.ITEMS)
    assert max(map(len, pools)) - min(map(len, pools)) <= 1


def test_pools_follow_their_seed_and_leave_out_words_of_the_frames(gpt2, monkeypatch):
    assert ll.pools(gpt2, 2, seed=0) == ll.pools(gpt2, 2, seed=0) != ll.pools(gpt2, 2, seed=1)
    monkeypatch.setitem(ll.FRAMES, "lamp", ll.Frame("The lamp: {items}.", "Not {ticked}.", "But the rope and the"))
    assert "lamp" in ll.pools(gpt2, 1)[0]
    for frames in ("lamp", ["buy", "lamp"]):
        assert set(ll.ITEMS) - set(ll.pools(gpt2, 1, frames=frames)[0]) == {"lamp", "rope"}
    check(gpt2, ll.generate(gpt2, 40, 9, frame="lamp"))


# --- corrupt and reorder ---


@pytest.mark.parametrize("bos", [True, False])
def test_corrupt_exchanges_one_token_and_makes_the_rival_right(gpt2, clean, bos):
    clean = clean if bos else ll.generate(gpt2, 15, 5, seed=3, frame=clean.table.frame[0], prepend_bos=False)
    bad = ll.corrupt(gpt2, clean)
    changed = bad.tokens != clean.tokens
    assert (changed.sum(1) == 1).all()
    where = changed.int().argmax(1)
    assert torch.equal(clean.tokens[range(15), where], clean.distractor)
    assert torch.equal(bad.tokens[range(15), where], clean.answer)
    assert torch.equal(bad.answer, clean.answer) and torch.equal(bad.distractor, clean.distractor)
    assert all(torch.equal(bad.at(name), clean.at(name)) for name in clean.positions)
    # With the two ids exchanged it is a prompt like any other, whose right answer is the rival.
    check(gpt2, ll.Prompts(bad.tokens, bad.distractor, bad.answer, bad.positions, bad.text, bad.table))
    twice = ll.corrupt(gpt2, bad)
    assert torch.equal(twice.tokens, clean.tokens) and twice.text == clean.text and twice.table.equals(clean.table)


@pytest.mark.parametrize("bos", [True, False])
def test_reorder_keeps_items_answer_and_ticking(gpt2, clean, bos):
    some = ll.generate(gpt2, 2, 5, seed=3, frame=clean.table.frame[0], prepend_bos=bos)
    many = ll.reorder(gpt2, some, 20, seed=1)
    check(gpt2, many)
    assert many.table.source.tolist() == np.repeat(range(2), 20).tolist()
    assert torch.equal(many.tokens[:, 0], some.tokens[:, 0].repeat_interleave(20)), "with or without BOS, as before"
    assert torch.equal(many.answer, some.answer.repeat_interleave(20))
    assert torch.equal(many.distractor, some.distractor.repeat_interleave(20))
    joiner = "." + ll.FRAMES[clean.table.frame[0]].joiner
    for text, row in zip(many.text, many.table.itertuples(), strict=True):
        old = some.table.iloc[row.source]
        assert sorted(row.items) == sorted(old["items"]) and row.who == old.who
        assert [row.items[t] for t in row.ticked] == [old["items"][t] for t in old.ticked]
        assert text.split(joiner, 1)[1] == some.text[row.source].split(joiner, 1)[1], "all after the list stays"
    for source, rows in many.table.groupby("source"):
        assert len(set(rows["items"])) > 12, f"prompt {source}: 20 orders drawn from 120"
        assert set(rows.answer_index) == set(range(5))


def test_the_answer_of_corrupted_prompts_stays_the_clean_one_in_every_order(gpt2):
    part = ll.generate(gpt2, 6, 4, seed=1).select([4, 1])
    many = ll.reorder(gpt2, ll.corrupt(gpt2, part), 3)
    assert torch.equal(many.answer, part.answer.repeat_interleave(3))
    check(gpt2, ll.Prompts(many.tokens, many.distractor, many.answer, many.positions, many.text, many.table))
    check(gpt2, ll.corrupt(gpt2, many))


# --- refused ---


@pytest.mark.parametrize("arguments, match", [
    ({"n": 0}, "n must be a whole number, at least 1, got 0"),
    ({"n_items": 1}, "n_items must be a whole number, at least 2, got 1"),
    ({"frame": "cue", "listed": False}, "no form with listed=False"),
    ({"items": ["lamp", "rope"]}, "larger sample"),
    ({"items": ["lamp", "rope", "rope"]}, "'rope'.* is also another token"),
    ({"items": ["lamp", "rope", "needs"]}, "'needs'.* is also another token"),
    ({"items": ["lamp", "and", "coat"], "listed": False}, "'and'.* is also another token"),
    ({"items": ["lamp", "first", "coat"], "frame": "cue", "n": 9}, "'first'.* is also another token"),
    ({"items": ["lamp", "rope", "Nebuchadnezzar"]}, "'Nebuchadnezzar' is .* not one"),
    ({"items": ["lamp", "rope", "old coat"]}, "'old coat' is 2 tokens"),
])  # fmt: skip
def test_bad_requests_are_refused(gpt2, refuses, arguments, match):
    with refuses(match):
        ll.generate(gpt2, **({"n": 2, "n_items": 3} | arguments))


@pytest.mark.parametrize("change", [ll.corrupt, lambda m, p: ll.reorder(m, p, 2)], ids=["corrupt", "reorder"])
def test_prompts_without_list_or_ticking_cannot_be_changed(gpt2, refuses, change):
    """Another order changes the answer of a cue, and without the list it changes nothing."""
    with refuses("no position named 'ticked 0'"):
        change(gpt2, ll.generate(gpt2, 4, 3, frame="cue"))
    with refuses("no position named 'item 0'"):
        change(gpt2, ll.generate(gpt2, 4, 3, listed=False))
    with refuses("no position named 'item 0'.*IO"):
        change(gpt2, ioi.generate(gpt2, 4))
