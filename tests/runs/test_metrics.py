"""What the model says at END and how well it predicts text, against the model's own logits."""

import pytest
import torch

import th_utils as th
from th_utils.runs.metrics import log_probabilities

CLOSE = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture(scope="module")
def own(model, prompts):
    """The model's own logits at every position."""
    return model(prompts.tokens)


def test_chosen_logits_are_columns_of_all_logits(model, prompts, clean, own):
    everything = own[torch.arange(10), prompts.end]
    ids = torch.stack([prompts.answer, prompts.distractor, prompts.answer * 0 + 5], 1)
    torch.testing.assert_close(th.logits(model, clean), everything, **CLOSE)
    torch.testing.assert_close(th.logits(model, clean, ids), everything.gather(1, ids), **CLOSE)
    torch.testing.assert_close(
        th.logit_difference(model, clean), everything.gather(1, ids)[:, :2] @ torch.tensor([1.0, -1.0]), **CLOSE
    )
    expected = -everything.log_softmax(-1).gather(1, ids[:, :1])[:, 0]
    torch.testing.assert_close(th.answer_loss(model, clean), expected, **CLOSE)


def test_top1_is_the_most_likely_token(model, clean):
    best = th.logits(model, clean).argmax(-1)
    judged = clean.judged_by(torch.where(torch.arange(10) < 4, best, (best + 1) % 50), best)
    for size in (3, 256):
        assert th.top1(model, judged, batch_size=size).tolist() == [True] * 4 + [False] * 6


def test_losses_are_means_of_next_token_losses(model, prompts, clean, own):
    expected = []
    for i, end in enumerate(prompts.end.tolist()):
        expected.append(torch.nn.functional.cross_entropy(own[i, :end], prompts.tokens[i, 1 : end + 1]))
    torch.testing.assert_close(th.text_loss(model, prompts), torch.stack(expected), **CLOSE)
    torch.testing.assert_close(th.run_loss(model, clean), torch.stack(expected), **CLOSE)


def test_divergence_against_its_definition_without_padding(model, prompts, clean, own):
    hooks = [("blocks.2.attn.hook_z", lambda z, hook: 0.3 * z)]
    edited = th.run(model, prompts, "all", hooks)
    valid = torch.arange(own.shape[1]) <= prompts.end[:, None]
    p, q = (x[valid].double().log_softmax(-1) for x in (own, model.run_with_hooks(prompts.tokens, fwd_hooks=hooks)))
    expected = (p.exp() * (p - q)).sum(-1).mean()
    assert float(th.divergence(model, clean, edited)) == pytest.approx(float(expected), rel=1e-3)
    assert float(th.divergence(model, clean, clean)) == 0
    torch.testing.assert_close(log_probabilities(model, clean).double(), p, **CLOSE)
