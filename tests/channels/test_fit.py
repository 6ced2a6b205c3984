"""Fitting scales: the hooks are the edits, the loss falls, the price is paid, and masks are kept."""

from dataclasses import replace
from functools import partial

import pytest
import torch

import th_utils as th
from th_utils.channels.fit import divergence, fit_scales, head_edits, scale_heads, strongest
from th_utils.tasks import english

FIRST = 2


@pytest.fixture(scope="module")
def english_run(model):
    text = english.passages(model)
    short = text.end.min() + 1
    cut = th.Prompts(
        text.tokens[:, :short], text.answer, text.distractor, {"END": torch.full_like(text.end, int(short) - 1)},
        text.text, text.table,
    )  # fmt: skip
    return th.run(model, cut.select(slice(0, 2)), "all", keep=FIRST)


@pytest.fixture(scope="module")
def fit(model, prompts, english_run):
    task = (prompts, th.run(model, prompts))
    return partial(
        fit_scales, model, partial(scale_heads, first=FIRST), torch.ones(4, 4), [task], english_run, batch=10
    )


def factors_after(first=FIRST, parts=()):
    factors = torch.ones(*parts, 4, 4)
    factors[..., first:, :] = 1 + 0.5 * torch.randn(*parts, 4 - first, 4, generator=torch.Generator().manual_seed(0))
    return factors


@pytest.mark.parametrize("parts", [(), (2,)])
def test_hooks_and_weight_edits_are_the_same_change(model, weights, prompts, parts):
    factors = factors_after(parts=parts)
    hooked = th.run(model, prompts, hooks=scale_heads(factors, FIRST))
    with th.edited(model, *head_edits(weights, factors)):
        written = th.run(model, prompts)
    assert torch.allclose(hooked.resid, written.resid, atol=1e-4)
    assert not torch.allclose(hooked.resid[-1], th.run(model, prompts).resid[-1], atol=1e-2)
    assert {e.head for e in head_edits(weights, factors)} == {(i, j) for i in (2, 3) for j in range(4)}


def test_layers_without_a_change_are_left_alone():
    factors = torch.ones(4, 4)
    factors[3, 1] = 2.0
    assert [name for name, _ in scale_heads(factors)] == ["blocks.3.attn.hook_z"]
    assert scale_heads(torch.ones(4, 4)) == []
    assert len(scale_heads(torch.ones(4, 4, requires_grad=True), FIRST)) == 2


def test_the_task_loss_falls_and_only_allowed_factors_move(model, fit, prompts):
    allowed = torch.zeros(4, 4, dtype=torch.bool)
    allowed[2, 1] = allowed[3] = True
    found = fit(allowed=allowed, steps=12, price=0.0, sparsity=0.0, rate=0.1)
    assert (found.factors[~allowed] == 1).all() and (found.factors[allowed] != 1).all()
    base = th.run(model, prompts)
    after = th.rerun_last(model, base, scale_heads(found.factors, FIRST))
    assert th.answer_loss(model, after, prompts).mean() < th.answer_loss(model, base, prompts).mean() - 0.05
    assert found.history["task loss"].iloc[-1] < found.history["task loss"].iloc[0]
    assert found.history["divergence"].iloc[0] == pytest.approx(0, abs=1e-5)


def test_a_high_price_keeps_english_as_it_is(fit):
    cheap, dear = (fit(steps=12, price=price, sparsity=0.0).history["divergence"].iloc[-1] for price in (0.0, 1000.0))
    assert dear < 0.3 * cheap


def test_sparsity_keeps_factors_near_one(fit):
    loose, tight = (fit(steps=12, price=0.0, sparsity=s).factors[FIRST:] for s in (0.0, 10.0))
    assert (tight - 1).abs().sum() < 0.5 * (loose - 1).abs().sum()


def test_channels_are_fitted_as_heads_are(model, weights, prompts, english_run):
    target = th.channel(weights, th.decompose_ov(weights), [(2, 1, 0), (2, 1, 1), (3, 0, 0)])
    task = (prompts, th.run(model, prompts))
    found = fit_scales(model, target.scale, torch.ones(3), [task], english_run, steps=8, price=0.0, sparsity=0.0)
    assert found.factors.shape == (3,) and (found.factors != 1).all()
    assert found.history["task loss"].iloc[-1] < found.history["task loss"].iloc[0]


def test_the_seed_decides_everything(fit):
    one, same = fit(steps=3, batch=4).factors, fit(steps=3, batch=4).factors
    assert torch.equal(one, same)
    assert not torch.equal(one, fit(steps=3, batch=4, seed=1).factors)


def test_divergence_against_its_definition(model, english_run):
    after = th.rerun(model, english_run, scale_heads(factors_after(), FIRST))

    def log_p(run, i, t):
        token = run.resid[-1][i : i + 1, t : t + 1]
        return (
            (model.ln_final(token)[0, 0] @ model.W_U + (0 if model.b_U is None else model.b_U)).double().log_softmax(-1)
        )

    by_hand = []
    for i in range(2):
        for t in range(english_run.tokens.shape[1]):
            p, q = log_p(english_run, i, t), log_p(after, i, t)
            by_hand.append(float((p.exp() * (p - q)).sum()))
    assert float(divergence(model, english_run, after)) == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-3)
    assert float(divergence(model, english_run, english_run)) == 0


def test_strongest_takes_the_furthest_from_one():
    factors = torch.tensor([[1.0, 3.0, 0.9], [-2.0, 1.2, 1.0]])
    assert strongest(factors, 2).tolist() == [[False, True, False], [True, False, False]]
    assert strongest(factors, 1, by=torch.arange(6.0).view(2, 3)).nonzero().tolist() == [[1, 2]]


def test_bad_requests_are_refused(model, weights, fit, english_run, prompts, refuses):
    with refuses("allowed must have the shape"):
        fit(allowed=torch.ones(3, 4, dtype=torch.bool))
    with refuses("factors must be"):
        head_edits(weights, torch.ones(3, 4))
    with refuses("k must be"):
        strongest(torch.ones(3), 4)
    with refuses("at least one"):
        fit_scales(model, scale_heads, torch.ones(4, 4), [], english_run)
    with refuses("positions='all'"):
        fit_scales(model, scale_heads, torch.ones(4, 4), [(prompts, th.run(model, prompts))], th.run(model, prompts))
    with refuses("before layer 2"):
        fit_scales(model, scale_heads, torch.ones(4, 4), [(prompts, th.run(model, prompts))], english_run)


def test_a_step_may_use_some_of_the_texts(fit):
    some, every = (fit(steps=4, texts=n).history["divergence"].iloc[-1] for n in (1, 2))
    assert some > 0 and some != every
    with pytest.raises(ValueError, match="texts must be a whole number, 1-2"):
        fit(texts=3)
    with pytest.raises(ValueError, match="at_once must be a whole number"):
        fit(at_once=0)


def test_a_step_may_use_some_of_the_tasks(model, fit, prompts, english_run):
    task = (prompts, th.run(model, prompts))
    fit = partial(fit_scales, model, partial(scale_heads, first=FIRST), torch.ones(4, 4), english=english_run)
    every, some = (fit(tasks=[task] * 3, steps=2, batch=4, at_once=n) for n in (None, 1))
    assert every.history["task loss"].iloc[0] != some.history["task loss"].iloc[0]


def test_a_fit_needs_no_gradients_switched_on_and_leaves_none_behind(model, fit):
    expected = fit(steps=3, batch=4).factors
    with torch.no_grad():
        found = fit(steps=3, batch=4).factors
        assert not torch.is_grad_enabled()
    assert torch.equal(found, expected) and not found.requires_grad
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("start", [
    torch.ones(4, 4, requires_grad=True), torch.ones(4, 4, dtype=torch.int64), torch.ones(4, 4, dtype=torch.float64),
], ids=["leaf", "integers", "double"])  # fmt: skip
def test_a_start_may_be_any_numbers(model, prompts, english_run, start):
    task = (prompts, th.run(model, prompts))
    hooks, allowed = partial(scale_heads, first=FIRST), torch.eye(4, dtype=torch.bool)
    found = fit_scales(model, hooks, start, [task], english_run, allowed=allowed, steps=2, batch=3).factors
    assert (found != 1).nonzero().tolist() == [[2, 2], [3, 3]] and found.dtype == torch.float32


def test_padding_does_not_count_in_the_divergence(model, prompts):
    hooks = scale_heads(factors_after(), FIRST)
    ragged = th.run(model, prompts, "all", keep=FIRST)
    total = 0.0
    for i, end in enumerate(prompts.end.tolist()):
        one = prompts.select([i])
        alone = th.run(model, replace(one, tokens=one.tokens[:, : end + 1]), "all", keep=FIRST)
        total += float(divergence(model, alone, th.rerun(model, alone, hooks))) * (end + 1)
    mean = total / float((prompts.end + 1).sum())
    assert float(divergence(model, ragged, th.rerun(model, ragged, hooks))) == pytest.approx(mean, rel=1e-3)


@pytest.mark.parametrize("bad, match", [
    (dict(batch=0), "batch must be a whole number"),
    (dict(price=-1.0), "price must be"),
    (dict(price=float("nan")), "price must be"),
    (dict(sparsity=-0.1), "sparsity must be"),
])  # fmt: skip
def test_numbers_that_cannot_be_meant_are_refused(fit, refuses, bad, match):
    with refuses(match):
        fit(**bad)


def test_shapes_that_do_not_fit_the_model_are_refused(model, prompts, clean, english_run, refuses):
    task = (prompts, th.run(model, prompts))
    with refuses("factors are for 1 heads"):
        fit_scales(model, scale_heads, torch.ones(4, 1), [task], th.run(model, prompts, "all", keep=0))
    with refuses("start must be finite"):
        fit_scales(model, scale_heads, torch.full((4, 4), torch.nan), [task], english_run)
    with refuses("tasks must be"):
        fit_scales(model, scale_heads, torch.ones(4, 4), [(prompts.select([0, 1]), task[1])], english_run)
    for factors in (torch.ones(4), torch.ones(3, 4, 4)):
        with refuses("factors must be"):
            scale_heads(factors)
    with refuses("first must be"):
        scale_heads(torch.ones(4, 4), -1)
    with refuses("factors must be finite"):
        strongest(torch.tensor([1.0, torch.nan]), 1)
    with refuses("one shape"):
        strongest(torch.ones(2, 2), 1, by=torch.ones(4))
    for other in (task[1], th.rows(clean, [0])):
        with refuses("the same tokens"):
            divergence(model, clean, other)
