"""Every task with every kind of tokenizer: prompts are the text, and names, positions and answers are its tokens."""

from types import SimpleNamespace

import pytest
import torch
from small_tokenizers import KINDS, small_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from th_utils.tasks import colored_objects, facts, ioi, laundry_list, single_token_words
from th_utils.tasks.prompts import encode, locate, prefix, token_strings, word_id

PREFIXES = {
    "bytes": ["<|endoftext|>"], "bytes, no start": [], "bytes, start": ["<|begin_of_text|>"],
    "bytes, two starts": ["[gMASK]", "<sop>"], "bytes, end only": ["<s>"], "pieces, no prefix": ["<bos>"],
}  # fmt: skip
TASKS = {
    "ioi": lambda model, **how: ioi.generate(model, 30, **how),
    "ioi, corrupted": lambda model, **how: ioi.corrupt(model, ioi.generate(model, 30, **how), "ABC"),
    **{
        f"laundry list, {frame}": lambda model, frame=frame, **how: laundry_list.generate(
            model, 6, 3, frame=frame, **how
        )
        for frame in laundry_list.FRAMES
    },
    "laundry list, reordered": lambda model, **how: laundry_list.reorder(
        model, laundry_list.generate(model, 4, 3, **how), 2
    ),
    **{
        f"colored objects, {form}": lambda model, form=form, **how: colored_objects.generate(
            model, 6, form=form, shots=1, n_objects=2, **how
        )
        for form in colored_objects.FORMS
    },
    **{
        f"facts, {form}": lambda model, form=form, **how: facts.generate(model, "capital", shots=2, form=form, **how)
        for form in ("statement", "question")
    },
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(kind):
    """The tasks ask a model for its tokenizer and nothing else."""
    return SimpleNamespace(tokenizer=small_tokenizer(kind))


def named_words(row, task):
    """The word that stands at each named position of a prompt."""
    if task == "ioi":
        return {"IO": row.IO, "S1": row.S, "S2": row.S}
    if task.startswith("laundry"):
        ticked = {} if task.endswith("cue") else {f"ticked {k}": row.items[i] for k, i in enumerate(row.ticked)}
        return ticked | {f"item {i}": item for i, item in enumerate(row.items)}
    if task.startswith("colored"):
        things = {f"object {i}": thing for i, thing in enumerate(row.objects)}
        return things | {f"colour {i}": v for i, v in enumerate(row.values)} | {"question": row.objects[row.asked]}
    return {"SUBJECT": row.subject} if task.startswith("facts") else {}


@pytest.mark.parametrize("task", TASKS)
def test_prompts_are_their_text_and_names_are_at_their_positions(model, task):
    tokenizer, prompts = model.tokenizer, TASKS[task](model)
    start = prefix(tokenizer)
    for i, row in enumerate(prompts.table.itertuples()):
        tokens = prompts.tokens[i, : prompts.end[i] + 1].tolist()
        assert tokens[: len(start)] == start and tokenizer.decode(tokens[len(start) :]) == prompts.text[i]
        for name, word in named_words(row, task).items():
            before, upto = (tokenizer.decode(tokens[len(start) : prompts.at(name)[i] + n]) for n in (0, 1))
            assert upto.endswith(word) and not before.endswith(word)
            assert task.startswith("facts") or tokens[prompts.at(name)[i]] == word_id(tokenizer, word)


@pytest.mark.parametrize("task", TASKS)
def test_the_answer_is_the_token_that_comes_next(model, task):
    """Where the sentence is completed with the answer, and split into tokens as a whole."""
    tokenizer, prompts = model.tokenizer, TASKS[task](model)
    start = prefix(tokenizer)
    for i, text in enumerate(prompts.text):
        tokens = prompts.tokens[i, len(start) : prompts.end[i] + 1].tolist()
        for answer in (int(prompts.answer[i]), int(prompts.distractor[i])):
            word = tokenizer.decode([*tokens, answer]).removeprefix(text)
            assert word.startswith(" ")
            assert tokenizer.encode(text + word, add_special_tokens=False) == [*tokens, answer]


def test_prompts_begin_as_the_tokenizer_begins_a_text(model, kind):
    """Else with its BOS; what it puts after a text is left out."""
    tokenizer = model.tokenizer
    assert tokenizer.convert_ids_to_tokens(prefix(tokenizer)) == PREFIXES.get(kind, ["<s>"])
    text = "Mary went to the store"
    whole = tokenizer(text)["input_ids"]
    tokens, end = encode(tokenizer, [text])
    own = tokens[0].tolist()
    assert end.tolist() == [len(own) - 1]
    assert own == whole[: len(own)] or own[1:] == whole[: len(own) - 1]
    assert len(own) == len(prefix(tokenizer)) + len(tokenizer.encode(text, add_special_tokens=False))


@pytest.mark.parametrize("task", [task for task in TASKS if task != "laundry list, reordered"])
def test_an_explicit_choice_moves_the_positions_and_nothing_else(model, task, refuses):
    tokenizer = model.tokenizer
    default, bare = TASKS[task](model), TASKS[task](model, prepend_bos=False)
    n = len(prefix(tokenizer))
    assert bare.text == default.text and torch.equal(bare.tokens, default.tokens[:, n:])
    assert all(torch.equal(bare.at(name) + n, default.at(name)) for name in default.positions)
    if tokenizer.bos_token_id is None:
        with refuses("no beginning-of-sequence token: leave prepend_bos at None"):
            TASKS[task](model, prepend_bos=True)
    else:
        begun = TASKS[task](model, prepend_bos=True)
        assert (begun.tokens[:, 0] == tokenizer.bos_token_id).all() and torch.equal(begun.tokens[:, 1:], bare.tokens)


@pytest.mark.parametrize("bos", [None, False, True])
def test_reordered_lists_begin_as_the_prompts_did(model, bos):
    if bos and model.tokenizer.bos_token_id is None:
        return
    prompts = laundry_list.generate(model, 4, 3, prepend_bos=bos)
    again = laundry_list.reorder(model, prompts, 2)
    assert torch.equal(again.end, prompts.end.repeat_interleave(2))
    start = len(prefix(model.tokenizer, bos))
    assert torch.equal(again.tokens[:, :start], prompts.tokens[:, :start].repeat_interleave(2, 0))


def test_words_are_single_tokens_after_a_space_wherever_they_stand(model):
    tokenizer = model.tokenizer
    kept = single_token_words(tokenizer, [*ioi.NAMES, "Nebuchadnezzar", "old coat", " coat", ""])
    assert kept == ioi.NAMES
    for text in ("Then {} went", "the store. {}", "the cup, {} and"):
        at = text.index("{")
        for word in ("Mary", "John"):
            place = locate(tokenizer, [text.format(word)], [[(at, at + len(word))]])[0, 0]
            assert encode(tokenizer, [text.format(word)])[0][0, place] == word_id(tokenizer, word)


def test_characters_of_many_tokens_end_with_their_last(model):
    text = "The café ☕ of Mary's 猫"
    words = ["The", "café", "☕", "Mary", "猫"]
    spans = [[(text.index(word), text.index(word) + len(word)) for word in words]]
    tokens, start = encode(model.tokenizer, [text])[0][0], len(prefix(model.tokenizer))
    for word, place in zip(words, locate(model.tokenizer, [text], spans)[0].tolist(), strict=True):
        upto, before = (model.tokenizer.decode(tokens[start : place + n]) for n in (1, 0))
        assert upto.endswith(word) and not before.endswith(word)


def test_padding_is_on_the_right_whatever_the_tokenizer_pads_with(model):
    """No padding token, one that is also BOS or END, or a tokenizer that pads on the left."""
    tokenizer = model.tokenizer
    texts = ["the store", "Then Mary and John went to the store"]
    tokens, end = encode(tokenizer, texts)
    for row, last, text in zip(tokens, end, texts, strict=True):
        assert torch.equal(row[: last + 1], encode(tokenizer, [text])[0][0])
    assert tokens[0, end[0] + 1 :].unique().numel() == 1


def test_token_strings_keep_their_spaces(model):
    prompts = ioi.generate(model, 3)
    for tokens, end, text in zip(prompts.tokens, prompts.end, prompts.text, strict=True):
        words, n = token_strings(model, tokens[: end + 1]), len(prefix(model.tokenizer))
        assert "".join(words[n:]).removeprefix(" ") == text
        assert words[:1] == ["BOS"] or model.tokenizer.bos_token_id is None


# --- tokenizers that cannot do a task ---


@pytest.fixture(scope="module")
def letters():
    """Every letter is a token, and no word."""
    alphabet = {chr(i): i for i in range(127)}
    tokenizer = Tokenizer(models.WordLevel(alphabet, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return SimpleNamespace(tokenizer=PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?"))


def test_too_few_single_token_words_are_named_with_the_fix(letters, refuses):
    with refuses(f"0 of the {len(ioi.NAMES)} built-in names are one token.*at least 2 are needed: give names="):
        ioi.generate(letters, 4)
    with refuses("built-in items are one token.*at least 3 are needed: give items="):
        laundry_list.generate(letters, 4, 3)
    with refuses("0 of the .* built-in objects are one token.*at least 4 .*fewer than n_objects=2"):
        colored_objects.generate(letters, 4, n_objects=2, shots=1)
    with refuses("begins all with one token"):
        facts.generate(letters, "capital")


def test_own_words_take_the_place_of_the_built_in_ones(refuses):
    """Also where only these few names are tokens."""
    words = "Then , Ana Bob Eve went to the store . gave a ring".split()
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["?", *words])}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    model = SimpleNamespace(tokenizer=PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?"))
    prompts = ioi.generate(model, 4, names=["Ana", "Bob"], places=["store"], objects=["ring"])
    swapped = ioi.corrupt(model, prompts, "S2->IO")
    every = torch.arange(4)
    assert torch.equal(swapped.tokens[every, prompts.at("S2")], prompts.answer)
    with refuses("'ABC' takes three other names"):
        ioi.corrupt(model, prompts, "ABC")
