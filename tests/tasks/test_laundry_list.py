"""Laundry lists: the text, the tokens and the named positions must tell one story, in every frame and tokenizer."""

import copy
from collections import Counter

import jaxtyping
import numpy as np
import pytest
import torch
from reference import TransformerBridge

from th_utils.tasks import ioi, single_token_words
from th_utils.tasks import laundry_list as ll

TICKING = [name for name, frame in ll.FRAMES.items() if frame.ticking]


@pytest.fixture(scope="module")
def gpt2(tiny):
    return tiny("tiny-gpt2")


@pytest.fixture(scope="module", params=TICKING)
def made(request, gpt2):
    """Fifteen prompts with lists of five, in each frame that ticks items off."""
    return ll.generate(gpt2, 15, 5, seed=3, frame=request.param)


@pytest.fixture(scope="module")
def buy(gpt2):
    return ll.generate(gpt2, 6, 4, seed=1)


@pytest.fixture
def unchecked():
    """Without the tests' type checking, which no reader has: what a duck-typed argument does then."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def words_at(model, prompts, i, positions):
    return [model.tokenizer.decode([prompts.tokens[i, p]]) for p in positions]


def check(model, prompts, listed=True):
    """What holds of all prompts: positions, answer, distractor, text and table agree."""
    tokenizer, frame = model.tokenizer, ll.FRAMES[prompts.table.frame[0]]
    first = ll.first_mentions(prompts) if listed else None
    second = ll.second_mentions(prompts) if frame.ticking else None
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
        after = prompts.tokens[i, end + 1 :]
        assert len(set(after.tolist())) < 2, "one padding token, after the end only"
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
    assert min(map(len, ll.pools(default_model, 3))) >= ll.MAX_ITEMS


def test_the_tiny_tokenizer_has_every_word(model):
    words = ll.ITEMS + ll.NONSENSE
    assert single_token_words(model.tokenizer, words) == words
    assert len(set(words)) == len(words) and len(ll.ITEMS) >= 60 and len(ll.NONSENSE) >= ll.MAX_ITEMS


@pytest.mark.parametrize("frame", ll.FRAMES)
def test_nonsense_items(gpt2, frame):
    prompts = ll.generate(gpt2, 10, 7, frame=frame, items=ll.NONSENSE)
    check(gpt2, prompts)
    assert {item for items in prompts.table["items"] for item in items} <= set(ll.NONSENSE)


@pytest.mark.parametrize("frame", TICKING)
def test_without_the_list_only_the_ticking_is_left(gpt2, frame):
    listed, prior = (ll.generate(gpt2, 12, 4, seed=2, frame=frame, listed=flag) for flag in (True, False))
    check(gpt2, prior, listed=False)
    assert not [name for name in prior.positions if name.startswith("item")]
    for whole, rest, row in zip(listed.text, prior.text, prior.table.itertuples(), strict=True):
        assert whole.endswith(rest) and row.items[row.answer_index] not in rest.replace(":", "").split()
    with pytest.raises(ValueError, match="item 0"):
        ll.first_mentions(prior)


def test_the_cue_frame_asks_for_first_or_last(gpt2):
    prompts = ll.generate(gpt2, 20, 6, frame="cue")
    assert Counter(prompts.table.answer_index) == {0: 10, 5: 10}
    for text, index in zip(prompts.text, prompts.table.answer_index, strict=True):
        assert f"The {'last' if index else 'first'} thing that" in text
    with pytest.raises(ValueError, match="ticked 0"):
        ll.second_mentions(prompts)


@pytest.mark.parametrize("frame", TICKING)
@pytest.mark.parametrize("n, n_items", [(1, 7), (30, 5), (33, 5), (41, 20)])
def test_answer_indices_are_spread_evenly(gpt2, n, n_items, frame):
    counts = Counter({i: 0 for i in range(n_items)})
    counts.update(ll.generate(gpt2, n, n_items, frame=frame).table.answer_index)
    assert len(counts) == n_items and counts.total() == n
    assert max(counts.values()) - min(counts.values()) <= (0 if n % n_items == 0 else 1)


def test_the_order_of_ticking_is_random_and_says_nothing_of_the_answer(gpt2):
    table = ll.generate(gpt2, 600, 3, seed=0).table
    orders = Counter(table.ticked)
    assert orders.keys() == {(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)}
    assert min(orders.values()) > 70, "100 each, give or take three standard deviations"
    last_ticked = Counter(row.ticked.index(row.rival) for row in table.itertuples())
    assert min(last_ticked[0], last_ticked[1]) > 250, "the rival is no more often the last one than the first"
    assert all(answer not in ticked for answer, ticked in zip(table.answer_index, table.ticked, strict=True))


def test_all_items_take_part(gpt2):
    table = ll.generate(gpt2, 400, 20, items=ll.ITEMS[:40]).table
    said = Counter(item for items in table["items"] for item in items)
    assert said.keys() == set(ll.ITEMS[:40]) and min(said.values()) > 140, "200 each, give or take"


def test_a_pool_of_exactly_the_items_needed(gpt2):
    prompts = ll.generate(gpt2, 40, 20, items=ll.ITEMS[:20])
    check(gpt2, prompts)
    assert all(set(items) == set(ll.ITEMS[:20]) for items in prompts.table["items"])
    assert len(set(prompts.table["items"])) == 40


@pytest.mark.parametrize("call", [
    lambda m, seed: ll.generate(m, 12, 5, seed=seed),
    lambda m, seed: ll.reorder(m, ll.generate(m, 3, 5), 4, seed=seed),
], ids=["generate", "reorder"])  # fmt: skip
def test_the_seed_decides_everything(gpt2, call):
    one, same, other = (call(gpt2, seed) for seed in (5, 5, 6))
    assert one.text == same.text != other.text and torch.equal(one.tokens, same.tokens)
    assert one.table.equals(same.table)


def test_whole_numbers_of_any_kind_and_any_ordered_collection(gpt2, unchecked):
    words = ("lamp", "rope", "coat", "kite")
    plain = ll.generate(gpt2, 6, 3, seed=1, items=words)
    for items in (list(words), np.array(words), (word for word in words)):
        assert ll.generate(gpt2, np.int64(6), torch.tensor(3), seed=np.int64(1), items=items).text == plain.text
    assert all(type(item) is str for items in plain.table["items"] for item in items)


def test_nobody_is_called_like_an_item(gpt2):
    """Where the items are names, the person has another one: a name said three times would be no list item."""
    check(gpt2, ll.generate(gpt2, 40, 3, items=[*ioi.NAMES[:-4]]))


def test_without_bos_all_positions_move_by_one(gpt2):
    with_bos, without = (ll.generate(gpt2, 8, 4, seed=2, prepend_bos=flag) for flag in (True, False))
    assert with_bos.text == without.text
    for name in with_bos.positions:
        assert torch.equal(with_bos.positions[name], without.positions[name] + 1)


# --- pools ---


@pytest.mark.parametrize("n_pools", [1, 2, 3, 178])
def test_pools_are_disjoint_and_share_all_items_out(gpt2, n_pools):
    pools = ll.pools(gpt2, n_pools, seed=1)
    dealt = [item for pool in pools for item in pool]
    assert len(pools) == n_pools and sorted(dealt) == sorted(ll.ITEMS)
    assert max(map(len, pools)) - min(map(len, pools)) <= 1


def test_pools_follow_their_seed_and_leave_out_words_of_the_frames(gpt2, monkeypatch):
    assert ll.pools(gpt2, 2, seed=0) == ll.pools(gpt2, 2, seed=0) != ll.pools(gpt2, 2, seed=1)
    monkeypatch.setitem(ll.FRAMES, "lamp", ll.Frame("The lamp: {items}.", "Not {ticked}.", "But the rope and the"))
    assert "lamp" in ll.pools(gpt2, 1)[0]
    for frames in ("lamp", ["buy", "lamp"]):
        assert set(ll.ITEMS) - set(ll.pools(gpt2, 1, frames=frames)[0]) == {"lamp", "rope"}
    assert not {"lamp", "rope"} & {i for items in ll.generate(gpt2, 40, 9, frame="lamp").table["items"] for i in items}


# --- corrupt and reorder ---


@pytest.mark.parametrize("bos", [True, False])
def test_corrupt_exchanges_one_token_and_makes_the_rival_right(gpt2, made, bos):
    clean = made if bos else ll.generate(gpt2, 15, 5, seed=3, frame=made.table.frame[0], prepend_bos=False)
    bad = ll.corrupt(gpt2, clean)
    changed = bad.tokens != clean.tokens
    assert (changed.sum(1) == 1).all()
    where = changed.int().argmax(1)
    assert torch.equal(clean.tokens[range(15), where], clean.distractor)
    assert torch.equal(bad.tokens[range(15), where], clean.answer)
    assert torch.equal(bad.answer, clean.answer) and torch.equal(bad.distractor, clean.distractor)
    assert all(torch.equal(bad.positions[name], clean.positions[name]) for name in clean.positions)
    assert bad.table.answer_index.tolist() == clean.table.rival.tolist()
    # With the two ids exchanged it is a prompt like any other, whose right answer is the rival.
    check(gpt2, ll.Prompts(bad.tokens, bad.distractor, bad.answer, bad.positions, bad.text, bad.table))


def test_corrupting_twice_gives_back_the_prompts(gpt2, made):
    twice = ll.corrupt(gpt2, ll.corrupt(gpt2, made))
    assert torch.equal(twice.tokens, made.tokens) and twice.text == made.text
    assert twice.table.equals(made.table)


@pytest.mark.parametrize("bos", [True, False])
def test_reorder_keeps_items_answer_and_ticking(gpt2, made, bos):
    some = ll.generate(gpt2, 2, 5, seed=3, frame=made.table.frame[0], prepend_bos=bos)
    many = ll.reorder(gpt2, some, 20, seed=1)
    check(gpt2, many)
    assert many.table.source.tolist() == np.repeat(range(2), 20).tolist()
    assert torch.equal(many.tokens[:, 0], some.tokens[:, 0].repeat_interleave(20)), "with or without BOS, as before"
    assert torch.equal(many.answer, some.answer.repeat_interleave(20))
    assert torch.equal(many.distractor, some.distractor.repeat_interleave(20))
    frame = ll.FRAMES[made.table.frame[0]]
    for i, row in enumerate(many.table.itertuples()):
        old = some.table.iloc[row.source]
        assert sorted(row.items) == sorted(old["items"]) and row.who == old.who
        assert [row.items[t] for t in row.ticked] == [old["items"][t] for t in old.ticked]
        after_list = [text.split("." + frame.joiner, 1)[1] for text in (many.text[i], some.text[row.source])]
        assert after_list[0] == after_list[1]
    for source, rows in many.table.groupby("source"):
        assert len(set(rows["items"])) > 12, f"prompt {source}: 20 orders drawn from 120"
        assert set(rows.answer_index) == set(range(5))


def test_reorder_after_select_and_corrupt(gpt2, buy):
    """The answer of corrupted prompts stays the clean one in every order, so that logit differences compare."""
    part = buy.select([4, 1])
    many = ll.reorder(gpt2, ll.corrupt(gpt2, part), 3)
    assert torch.equal(many.answer, part.answer.repeat_interleave(3))
    check(gpt2, ll.Prompts(many.tokens, many.distractor, many.answer, many.positions, many.text, many.table))
    check(gpt2, ll.corrupt(gpt2, many))


def test_tokenizers_without_bos(gpt2):
    without = TransformerBridge(tokenizer=copy.deepcopy(gpt2.tokenizer))
    without.tokenizer.bos_token = None
    assert without.tokenizer.bos_token_id is None
    check(without, ll.reorder(without, ll.generate(without, 2, 3, prepend_bos=False), 2))


# --- refused ---


@pytest.mark.parametrize("arguments, match", [
    ({"n": 0}, "n must be a whole number, at least 1, got 0"),
    ({"n": -3}, "at least 1, got -3"),
    ({"n": 2.0}, "got 2.0"),
    ({"n": True}, "got True"),
    ({"n": "2"}, "got '2'"),
    ({"n": None}, "got None"),
    ({"n": float("nan")}, "got nan"),
    ({"n_items": 1}, "n_items must be a whole number, 2-20, got 1"),
    ({"n_items": 21}, "2-20, got 21"),
    ({"n_items": 2.5}, "2-20, got 2.5"),
    ({"n_items": float("nan")}, "2-20, got nan"),
    ({"n_items": True}, "2-20, got True"),
    ({"n_items": "3"}, "2-20, got '3'"),
    ({"seed": -1}, "seed must be a whole number, at least 0, got -1"),
    ({"seed": None}, "seed must be.*got None"),
    ({"frame": "bought"}, "unknown frame 'bought'.*'buy', 'pack'"),
    ({"frame": None}, "unknown frame None"),
    ({"frame": ["buy"]}, r"unknown frame \['buy'\]"),
    ({"frame": "cue", "listed": False}, "no form with listed=False"),
    ({"items": ["lamp", "rope"]}, "only 2 items to draw from"),
    ({"items": []}, "only 0 items"),
    ({"items": "lamp"}, "list or tuple of words, got str 'lamp'"),
    ({"items": {"lamp", "rope", "coat"}}, "list or tuple of words, got set"),
    ({"items": ["lamp", "rope", "coat", "rope"]}, r"distinct.*\['rope'\]"),
    ({"items": ["lamp", "rope", "Nebuchadnezzar"]}, "'Nebuchadnezzar' is .* exactly one"),
    ({"items": ["lamp", "rope", "old coat"]}, "'old coat' is 2 tokens"),
    ({"items": ["lamp", "rope", " coat"]}, "' coat' is .* exactly one"),
    ({"items": ["lamp", "rope", "🐟"]}, "'🐟' is .* exactly one"),
    ({"items": ["lamp", "rope", ""]}, "must be words, got ''"),
    ({"items": ["lamp", "rope", " "]}, "must be words, got ' '"),
    ({"items": ["lamp", "rope", None]}, "must be words, got None"),
    ({"items": [1, 2, 3]}, "must be words, got 1"),
    ({"items": ["lamp", "rope", "needs"]}, r"words of the frame, got \['needs'\]"),
    ({"items": ["lamp", "rope", "and"], "frame": "pack"}, r"words of the frame, got \['and'\]"),
    ({"items": ["lamp", "rope", "first"], "frame": "cue"}, r"words of the frame, got \['first'\]"),
    ({"items": list(ioi.NAMES)}, "leave some of the names"),
])  # fmt: skip
def test_bad_requests_are_refused(gpt2, refuses, arguments, match):
    with refuses(match):
        ll.generate(gpt2, **({"n": 2, "n_items": 3} | arguments))


@pytest.mark.parametrize("bad", [0, 1, -1, 2.5, True, "2", None, float("nan")])
def test_bad_counts_of_orders_and_pools_are_refused(gpt2, buy, refuses, bad):
    with refuses("n_orders must be a whole number, at least 2, got"):
        ll.reorder(gpt2, buy, bad)
    with refuses(r"n_pools must be a whole number, 1-\d+, got"):
        ll.pools(gpt2, 10**6 if bad == 1 and bad is not True else bad)


def test_unknown_frames_of_pools_are_refused(gpt2, refuses):
    with refuses("unknown frame 'sell'"):
        ll.pools(gpt2, 2, frames=["buy", "sell"])


@pytest.mark.parametrize("change", [ll.corrupt, lambda m, p: ll.reorder(m, p, 2)], ids=["corrupt", "reorder"])
def test_prompts_without_list_or_ticking_cannot_be_changed(gpt2, refuses, change):
    """Another order changes the answer of a cue, and without the list it changes nothing."""
    with refuses("need prompts with positions 'ticked 0'"):
        change(gpt2, ll.generate(gpt2, 4, 3, frame="cue"))
    with refuses("need prompts with positions 'item 0'"):
        change(gpt2, ll.generate(gpt2, 4, 3, listed=False))
    with refuses("need prompts with positions 'item 0', .*IO"):
        change(gpt2, ioi.generate(gpt2, 4))


def test_prompts_of_another_task_have_no_candidates(gpt2, refuses):
    with refuses("not Laundry List prompts.*'IO'"):
        ll.candidates(gpt2, ioi.generate(gpt2, 4))


def test_no_prompts_are_refused_by_reorder(gpt2, buy, refuses):
    with refuses("at least one prompt"):
        ll.reorder(gpt2, buy.select([]), 2)
