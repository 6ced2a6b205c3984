"""English passages and their loss: equal to what transformers and TransformerLens call the loss."""

import pytest
import torch
from tiny_models import tiny_folder

import th_utils as th
from th_utils.models.hub import read_folder
from th_utils.models.loading import model_name
from th_utils.tasks import english

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module")
def text(model):
    """Four passages of different lengths."""
    return english.passages(model, ["water", "pride", "bicycle", "cities"])


def reference(model, text):
    """Each passage alone, through TransformerLens' own forward pass and loss."""
    rows = enumerate(text.end.tolist())
    return torch.stack([model(text.tokens[i : i + 1, : end + 1], return_type="loss") for i, end in rows])


def test_loss_equals_transformer_lens(model, text, prompts):
    ours = th.text_loss(model, text)
    assert ours.shape == (4,) and len(set(text.end.tolist())) == 4 and not ours.requires_grad
    torch.testing.assert_close(ours, reference(model, text), **CLOSE)
    torch.testing.assert_close(th.text_loss(model, text.select([3, 0])), ours[[3, 0]])  # company changes nothing
    torch.testing.assert_close(th.text_loss(model, prompts), reference(model, prompts), **CLOSE)


def test_loss_equals_transformers(model, text):
    """The raw Hugging Face model, untouched by folding, which leaves probabilities as they are."""
    original, _ = read_folder(tiny_folder(model_name(model)))
    for loss, tokens, end in zip(th.text_loss(model, text), text.tokens, text.end, strict=True):
        passage = tokens[None, : end + 1]
        torch.testing.assert_close(loss, original(passage, labels=passage).loss.detach(), **CLOSE)


def test_long_texts_are_unembedded_in_pieces(model, text, monkeypatch):
    whole = th.text_loss(model, text)
    monkeypatch.setattr("th_utils.runs.metrics.CHUNK", 7)
    torch.testing.assert_close(th.text_loss(model, text), whole, rtol=1e-5, atol=1e-5)


def test_loss_under_edits(model, weights, text):
    plain = th.text_loss(model, text)
    with th.edited(model, [th.scale_head(weights, (1, 2), -3.0), th.scale_head(weights, (2, 0), 4.0)]):
        edited = th.text_loss(model, text)
        torch.testing.assert_close(edited, reference(model, text), **CLOSE)
    assert (edited - plain).abs().max() > 1e-3
    assert torch.equal(th.text_loss(model, text), plain)


def test_the_loss_of_a_rerun_is_that_of_the_edited_model(model, weights, text):
    base = th.run(model, text, "all", keep=2)
    torch.testing.assert_close(th.run_loss(model, base), th.text_loss(model, text))
    with th.edited(model, th.scale_head(weights, (2, 1), 3.0)):
        torch.testing.assert_close(th.run_loss(model, th.rerun(model, base)), th.text_loss(model, text))


@pytest.mark.real
def test_the_default_model_predicts_english(default_model):
    """Between 1.5 and 5 nats per token; not knowing anything is 10.8 nats."""
    text = english.passages(default_model, ["water", "pride"])
    loss = th.text_loss(default_model, text)
    torch.testing.assert_close(loss, reference(default_model, text), **CLOSE)
    assert (loss > 1.5).all() and (loss < 5).all()
    for name, passage in english.PASSAGES.items():
        one = english.passages(default_model, [name])
        assert 130 <= one.end.item() <= 300, name
        assert default_model.tokenizer.decode(one.tokens[0, 1:]) == passage.text


# --- the passages ---


def test_the_two_halves_share_nothing_and_are_all():
    assert sorted(english.CHOOSE + english.TEST) == sorted(english.PASSAGES)
    for half in (english.CHOOSE, english.TEST):
        authors = [english.PASSAGES[name].author for name in half]
        assert len(set(authors)) == len(half) == 5 and authors.count("this book") == 1


def test_passages_are_in_the_public_domain_or_ours():
    texts = [passage.text for passage in english.PASSAGES.values()]
    assert len(set(texts)) == len(texts)
    for passage, text in zip(english.PASSAGES.values(), texts, strict=True):
        assert passage.year < 1928 or passage.author == "this book"
        assert text.isascii() and text == text.strip() and "  " not in text, "keyboard characters, single spaces"
        assert text.count('"') % 2 == 0 and "\n" not in text.replace("\n\n", "")
        assert 500 < len(text) < 1100


def test_batches_hold_the_passages_in_the_order_asked_for(model):
    text = english.passages(model, ["water", "alice"])
    assert text.table.name.tolist() == ["water", "alice"] and text.table.year.tolist() == [2026, 1865]
    assert text.table.tokens.tolist() == text.end.tolist(), "one prediction per token after the first"
    for i, name in enumerate(["water", "alice"]):
        ids = text.tokens[i, 1 : text.end[i] + 1]
        assert model.tokenizer.decode(ids) == text.text[i] == english.PASSAGES[name].text
        assert text.answer[i] == ids[-1]
    assert english.passages(model).table.name.tolist() == list(english.PASSAGES)
    assert torch.equal(english.passages(model, "water", prepend_bos=False).tokens, text.tokens[:1, 1 : text.end[0] + 1])


def test_passages_end_where_the_context_does(model, monkeypatch):
    monkeypatch.setattr(model.cfg, "n_ctx", 50)
    text = english.passages(model, ["water", "pride"])
    assert text.tokens.shape == (2, 50) and text.end.tolist() == [49, 49]
    assert torch.equal(text.answer, text.tokens[:, 49])
