"""English passages and their loss: equal to what transformers and TransformerLens call the loss."""

from types import SimpleNamespace

import pytest
import torch
from reference import TransformerBridge

import th_utils as th
from th_utils.tasks import english


@pytest.fixture(scope="module")
def text(model):
    """Four passages of different lengths."""
    return english.passages(model, ["water", "pride", "bicycle", "cities"])


def reference(model, text, hooks=()):
    """Each passage alone, through TransformerLens' own forward pass and loss."""
    with model.hooks(fwd_hooks=list(hooks)):
        return torch.stack([
            model(text.tokens[i : i + 1, : end + 1], return_type="loss") for i, end in enumerate(text.end.tolist())
        ])  # fmt: skip


def test_loss_equals_transformer_lens(model, text):
    ours = th.text_loss(model, text)
    assert ours.shape == (4,) and len(set(text.end.tolist())) == 4
    torch.testing.assert_close(ours, reference(model, text), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["tiny-gpt2", "tiny-neox", "tiny-llama"])
def test_loss_equals_transformers(tiny, name):
    """The raw Hugging Face model, untouched by folding, which leaves probabilities as they are."""
    from th_utils.models.registry import MODELS
    from th_utils.models.tiny import build

    original, _, _ = build(MODELS[name])
    text = english.passages(tiny(name), ["water", "cities"])
    ours = th.text_loss(tiny(name), text)
    for i, end in enumerate(text.end.tolist()):
        tokens = text.tokens[i : i + 1, : end + 1]
        theirs = original(tokens, labels=tokens).loss
        torch.testing.assert_close(ours[i], theirs.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.real
def test_the_default_model_predicts_english(default_model):
    """Between 2 and 5 nats per token; not knowing anything is 10.8 nats. Word order matters to it."""
    text = english.passages(default_model, ["water", "pride"])
    loss = th.text_loss(default_model, text)
    torch.testing.assert_close(loss, reference(default_model, text), rtol=1e-4, atol=1e-4)
    assert (loss > 1.5).all() and (loss < 5).all()
    for name, passage in english.PASSAGES.items():
        one = english.passages(default_model, [name])
        assert 130 <= one.end.item() <= 300, name
        assert default_model.tokenizer.decode(one.tokens[0, 1:]) == english.plain(passage.text)


def test_padding_and_company_change_nothing(model, text):
    together = th.text_loss(model, text)
    torch.testing.assert_close(th.text_loss(model, text.select([2])), together[2:3])
    assert th.text_loss(model, text.select([3, 0])).tolist() == pytest.approx(together[[3, 0]].tolist())


def test_long_texts_are_unembedded_in_pieces(model, text, monkeypatch):
    whole = th.text_loss(model, text)
    for chunk in (1, 7, 10**6):
        monkeypatch.setattr("th_utils.language.CHUNK", chunk)
        torch.testing.assert_close(th.text_loss(model, text), whole, rtol=1e-5, atol=1e-5)


def test_loss_of_an_edited_model(model, weights, text):
    plain = th.text_loss(model, text)
    edits = [th.scale_head(weights, (1, 2), -3.0), th.scale_head(weights, (2, 0), 4.0)]
    with th.edited(model, edits):
        edited = th.text_loss(model, text)
        torch.testing.assert_close(edited, reference(model, text), rtol=1e-4, atol=1e-4)
    assert (edited - plain).abs().min() > 1e-3
    assert torch.equal(th.text_loss(model, text), plain)


def test_loss_under_hooks(model, weights, text):
    hooks = th.channel(weights, th.decompose_ov(weights), [(1, 2, 0), (2, 0, 1)]).scale(-4.0)
    hooked = th.text_loss(model, text, hooks)
    torch.testing.assert_close(hooked, reference(model, text, hooks), rtol=1e-4, atol=1e-4)
    assert (hooked - th.text_loss(model, text)).abs().max() > 1e-3


def test_hooks_see_which_text_they_act_on(model, text):
    seen = []
    look = ("blocks.0.hook_resid_pre", lambda value, batch: seen.append((batch.rows, value.shape)))
    th.text_loss(model, text, [look])
    assert [(rows.start, rows.stop) for rows, _ in seen] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert [shape[:2] for _, shape in seen] == [(1, end + 1) for end in text.end.tolist()]


def test_loss_of_task_prompts(model, prompts):
    torch.testing.assert_close(th.text_loss(model, prompts), reference(model, prompts), rtol=1e-4, atol=1e-4)


def test_no_gradients_are_kept(model, text):
    assert not th.text_loss(model, text.select([0])).requires_grad


def test_texts_without_a_next_token_are_refused(model, text, refuses):
    with refuses(r"at least two tokens, got \[\]"):
        th.text_loss(model, text.select([]))
    short = th.Prompts(text.tokens, text.answer, text.answer, {"END": text.end * 0}, text.text, text.table)
    with refuses(r"at least two tokens, got \[1, 1, 1, 1\]"):
        th.text_loss(model, short)


# --- the passages ---


def test_the_two_halves_share_nothing_and_are_all():
    assert not set(english.CHOOSE) & set(english.TEST)
    assert sorted(english.CHOOSE + english.TEST) == sorted(english.PASSAGES)
    for half in (english.CHOOSE, english.TEST):
        authors = [english.PASSAGES[name].author for name in half]
        assert len(set(authors)) == len(half) and authors.count("this book") == 1


def test_passages_are_in_the_public_domain_or_ours():
    texts = [english.plain(passage.text) for passage in english.PASSAGES.values()]
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
    assert (text.tokens[:, 0] == model.tokenizer.bos_token_id).all()
    for i, name in enumerate(["water", "alice"]):
        ids = text.tokens[i, 1 : text.end[i] + 1]
        assert model.tokenizer.decode(ids) == text.text[i] == english.plain(english.PASSAGES[name].text)
        assert text.answer[i] == ids[-1]
    assert english.passages(model).table.name.tolist() == list(english.PASSAGES)
    assert english.passages(model, "water").text == english.passages(model, ("water",)).text


def test_without_bos_one_token_less_is_predicted(model):
    with_bos, without = (english.passages(model, ["water"], prepend_bos=flag) for flag in (True, False))
    assert torch.equal(with_bos.tokens[:, 1:], without.tokens)
    assert without.table.tokens[0] == with_bos.table.tokens[0] - 1


def test_passages_end_where_the_context_does(model):
    small = TransformerBridge(tokenizer=model.tokenizer, cfg=SimpleNamespace(n_ctx=50))
    text = english.passages(small, ["water", "pride"])
    assert text.tokens.shape == (2, 50) and text.end.tolist() == [49, 49]
    assert torch.equal(text.answer, text.tokens[:, 49])
    assert torch.isfinite(th.text_loss(model, text)).all()


@pytest.mark.parametrize("names", [["alice", "bob"], "bob", [], [None], [3]])
def test_unknown_passages_are_refused(model, refuses, names):
    with refuses("need names among .*'alice'.*, got"):
        english.passages(model, names)


def test_line_breaks_of_the_source_are_not_in_the_text():
    assert english.plain("\n    one\n    two\n\n    three") == "one two\n\nthree"


def test_the_loss_of_a_rerun_is_that_of_the_edited_model(model, weights):
    text = english.passages(model, english.CHOOSE[:2])
    base = th.run(model, text, "all", keep=2)
    torch.testing.assert_close(th.run_loss(model, base), th.text_loss(model, text))
    with th.edited(model, th.scale_head(weights, (2, 1), 3.0)):
        torch.testing.assert_close(th.run_loss(model, th.rerun(model, base)), th.text_loss(model, text))
    with pytest.raises(ValueError, match="positions='all'"):
        th.run_loss(model, th.run(model, text))


def test_the_loss_of_no_texts_is_refused(model, text, refuses):
    with refuses("at least two tokens"):
        th.run_loss(model, th.rows(th.run(model, text.select([0]), "all"), slice(0, 0)))
