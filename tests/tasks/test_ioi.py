"""IOI prompts: the named positions, tokens and corruptions must be what their names say."""

import re
from pathlib import Path

import pandas as pd
import pytest
import torch

from th_utils.tasks import ioi

LANDING = Path(__file__).resolve().parents[2] / "book" / "index.md"


@pytest.fixture(scope="module")
def gpt2(tiny):
    return tiny("tiny-gpt2")


@pytest.fixture(scope="module")
def every(gpt2):
    """Each template in both orders, twice."""
    return ioi.generate(gpt2, 4 * len(ioi.TEMPLATES), seed=3)


def word_at(model, prompts, i, position):
    return model.tokenizer.decode([prompts.tokens[i, prompts.at(position)[i]]]).strip()


def check(model, prompts):
    for i, row in enumerate(prompts.table.itertuples()):
        assert word_at(model, prompts, i, "IO") == row.IO
        assert word_at(model, prompts, i, "S1") == word_at(model, prompts, i, "S2") == row.S
        io, s1, after, s2, end = (int(prompts.at(p)[i]) for p in ("IO", "S1", "S1+1", "S2", "END"))
        assert max(io, s1) < s2 < end and after == s1 + 1
        assert (io < s1) == (row.order == "ABBA")
        assert prompts.text[i].count(row.S) == 2 and prompts.text[i].count(row.IO) == 1
        assert model.tokenizer.decode(prompts.tokens[i, 1 : end + 1]) == prompts.text[i]
        assert model.tokenizer.decode([prompts.answer[i]]) == " " + row.IO
        assert model.tokenizer.decode([prompts.distractor[i]]) == " " + row.S


def test_positions_point_at_the_right_tokens(gpt2, every):
    assert set(zip(every.table.template, every.table.order, strict=True)) == {
        (template, order) for template in range(len(ioi.TEMPLATES)) for order in ioi.ORDERS
    }
    check(gpt2, every)


@pytest.mark.real
def test_positions_point_at_the_right_tokens_in_a_real_tokenizer(default_model):
    check(default_model, ioi.generate(default_model, 60, seed=0))


@pytest.mark.real
def test_the_model_says_what_the_landing_page_says_it_says(default_model):
    said = re.search(r'\*"([^"]+)"\* … whom\? The model says \*(\w+)\*', LANDING.read_text(encoding="utf8"))
    logits = default_model(default_model.to_tokens(said[1]))[0, -1]
    assert int(logits.argmax()) == default_model.to_single_token(f" {said[2]}")


@pytest.mark.parametrize("n", [1, 30, 47, 90])
def test_templates_and_orders_are_balanced(gpt2, n):
    cells = pd.MultiIndex.from_product([range(15), ioi.ORDERS])
    counts = ioi.generate(gpt2, n).table.groupby(["template", "order"]).size().reindex(cells, fill_value=0)
    assert counts.sum() == n
    assert counts.max() - counts.min() <= (0 if n % 30 == 0 else 1)


def test_the_seed_decides_everything(gpt2, every):
    one, same, other = (ioi.generate(gpt2, 20, seed=seed) for seed in (5, 5, 6))
    assert one.text == same.text != other.text and torch.equal(one.tokens, same.tokens)
    one, same, other = (ioi.corrupt(gpt2, every, "ABC", seed=seed) for seed in (1, 1, 2))
    assert one.text == same.text != other.text


def test_choices_are_respected(gpt2):
    table = ioi.generate(gpt2, 12, templates=[2, 7], orders=["BABA"], names=["Mary", "John", "Tom"],
                         places=["store"], objects=["ring"]).table  # fmt: skip
    assert set(table.template) == {2, 7} and set(table.order) == {"BABA"}
    assert set(table.IO) | set(table.S) <= {"Mary", "John", "Tom"} and (table.IO != table.S).all()
    assert set(table.place) == {"store"} and set(table.object) == {"ring"}


def test_without_bos_all_positions_move_by_one(gpt2):
    with_bos, without = (ioi.generate(gpt2, 8, seed=2, prepend_bos=flag) for flag in (True, False))
    assert with_bos.text == without.text and torch.equal(with_bos.tokens[:, 1:], without.tokens)
    assert all(torch.equal(with_bos.at(name), without.at(name) + 1) for name in with_bos.positions)


@pytest.mark.parametrize("arguments, match", [
    ({"n": 0}, "at least 1"),
    ({"templates": [15]}, "template must be .*0-14, got 15"),
    ({"templates": [-1]}, "template must be .*0-14, got -1"),
    ({"templates": []}, "at least one template"),
    ({"orders": ["BBAA"]}, "ABBA"),
    ({"names": ["Mary", "Nebuchadnezzar"]}, "Nebuchadnezzar.*not one"),
    ({"names": ["store", "Mary"], "places": ["store"], "templates": [0]}, "also another token"),
    ({"names": ["Then", "Mary"], "templates": [0], "prepend_bos": False, "places": ["Mary"]}, "also another token"),
])  # fmt: skip
def test_bad_requests_are_refused(gpt2, refuses, arguments, match):
    with refuses(match):
        ioi.generate(gpt2, **({"n": 4} | arguments))


# --- corruptions ---


@pytest.mark.parametrize("kind, names", [("ABC", ("IO", "S1", "S2")), ("S2->IO", ("S2",)), ("S2->random", ("S2",))])
def test_corruptions_change_the_named_positions_only(gpt2, every, kind, names):
    bad = ioi.corrupt(gpt2, every, kind, seed=1)
    expected = torch.zeros_like(every.tokens, dtype=torch.bool)
    for position in names:
        expected[torch.arange(len(every)), every.at(position)] = True
    assert torch.equal(bad.tokens != every.tokens, expected)
    assert torch.equal(bad.answer, every.answer) and torch.equal(bad.distractor, every.distractor)
    assert all(torch.equal(bad.at(p), every.at(p)) for p in every.positions)
    for i in range(len(every)):
        assert gpt2.tokenizer.decode(bad.tokens[i, 1 : bad.end[i] + 1]) == bad.text[i]


def test_corruptions_put_the_right_names_in(gpt2, every):
    corrupted = {kind: ioi.corrupt(gpt2, every, kind) for kind in ioi.CORRUPTIONS}
    for i, row in enumerate(every.table.itertuples()):
        names = {kind: [word_at(gpt2, bad, i, p) for p in ("IO", "S1", "S2")] for kind, bad in corrupted.items()}
        assert names["S2->IO"] == [row.IO, row.S, row.IO]
        assert names["S2->random"][:2] == [row.IO, row.S] and names["S2->random"][2] not in (row.IO, row.S)
        assert len({*names["ABC"], row.IO, row.S}) == 5


def test_corruptions_of_a_selection_fit_its_clean_prompts(gpt2, every):
    """Also where the longest prompt is not selected: clean and corrupted tokens have one shape."""
    part = every.select(every.end < every.end.max())
    assert ioi.corrupt(gpt2, part, "ABC").tokens.shape == part.tokens.shape == (len(part), every.tokens.shape[1])
