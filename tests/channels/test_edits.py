"""Weight edits: equal to the hooks they stand for, and undone bit for bit whatever happens."""

import signal
from dataclasses import replace

import pytest
import reference
import torch

import th_utils as th

CLOSE = {"rtol": 1e-3, "atol": 1e-4}
PARTS = [(1, 2, 0), (1, 2, 3), (2, 0, 1)]


@pytest.fixture(scope="module")
def target(weights):
    return th.channel(weights, PARTS)


def state(model):
    return {name: value.clone() for name, value in model.original_model.state_dict().items()}


def same(model, before) -> bool:
    after = model.original_model.state_dict()
    return after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


@pytest.fixture(autouse=True)
def unchanged(model):
    """Around every test here: the same parameters with the same bits, before and after."""
    before = state(model)
    yield
    assert same(model, before)


@pytest.mark.parametrize("hooks, edits", [
    (lambda c: c.scale(0.0), lambda w, c: th.scale_component(w, c, 0.0)),
    (lambda c: c.scale(-1.5), lambda w, c: th.scale_component(w, c, -1.5)),
    (lambda c: c.set(2.5), lambda w, c: th.set_component(w, c, 2.5)),
    (lambda c: c.set([0.7, -3.0, 4.0]), lambda w, c: th.set_component(w, c, [0.7, -3.0, 4.0])),
], ids=["zero", "scale", "set", "set each"])  # fmt: skip
def test_edits_equal_hooks_at_every_position(model, weights, target, prompts, hooks, edits):
    plain, with_hooks = model(prompts.tokens), model.run_with_hooks(prompts.tokens, fwd_hooks=hooks(target))
    with th.edited(model, edits(weights, target)):
        with_edits, ours = model(prompts.tokens), th.logits(model, th.run(model, prompts))
    torch.testing.assert_close(with_edits, with_hooks, **CLOSE)
    torch.testing.assert_close(ours, reference.at(with_hooks, prompts.end), **CLOSE)
    assert (with_edits - plain).abs().max() > 0.05, "the edit must do something"
    assert torch.equal(model(prompts.tokens), plain)


def test_zeroing_removes_one_rank_from_the_circuit(model, weights, target):
    """W_OV' = W_OV − Σ σ u v: the weights that the model then has."""
    with th.edited(model, th.scale_component(weights, target, 0.0)):
        after = th.head_weights(model)
    ov = weights.ov
    for head in [(1, 2), (2, 0), (1, 1)]:
        expected = weights.W_V[head] @ weights.W_O[head]
        for part in [part for part in PARTS if part[:2] == head]:
            expected = expected - ov.singular_values[part] * torch.outer(ov.read[part], ov.write[part])
        torch.testing.assert_close(after.W_V[head] @ after.W_O[head], expected, **CLOSE)


def test_scale_head_scales_what_one_head_writes(model, weights, prompts):
    with th.edited(model, th.scale_head(weights, (1, 2), 0.25)):
        after, logits = th.head_weights(model), model(prompts.tokens)
    expected = weights.W_O.clone()
    expected[1, 2] *= 0.25
    torch.testing.assert_close(after.W_O, expected)
    hook = ("blocks.1.attn.hook_z", lambda z, hook: z * torch.tensor([1, 1, 0.25, 1])[:, None])
    torch.testing.assert_close(logits, model.run_with_hooks(prompts.tokens, fwd_hooks=[hook]), **CLOSE)


def test_scaling_the_query_scales_the_scores(model, weights, prompts):
    """W_Q and b_Q together: attention is the softmax of the scores to the power of the factor."""
    before = th.run(model, prompts)
    with th.edited(model, th.scale_query(weights, (2, 1), 2.5)):
        after = th.run(model, prompts)
    torch.testing.assert_close(after.q[2, :, :, 1], 2.5 * before.q[2, :, :, 1], **CLOSE)
    power = before.at().pattern[2, 1] ** 2.5
    torch.testing.assert_close(after.at().pattern[2, 1], power / power.sum(-1, keepdim=True), **CLOSE)


def test_scale_reading_scales_the_directions_and_nothing_at_right_angles(model, weights):
    directions = torch.randn(3, weights.d_model, generator=torch.Generator().manual_seed(1))
    basis = torch.linalg.qr(directions.T).Q
    other = torch.randn(weights.d_model, generator=torch.Generator().manual_seed(2))
    other = other - basis @ (basis.T @ other)
    for factor in (2.0, 0.0):
        with th.edited(model, th.scale_reading(weights, (1, 0), directions, factor)):
            after = th.head_weights(model)
        torch.testing.assert_close(directions @ after.W_Q[1, 0], factor * directions @ weights.W_Q[1, 0], **CLOSE)
        torch.testing.assert_close(other @ after.W_Q[1, 0], other @ weights.W_Q[1, 0], **CLOSE)
        assert torch.equal(after.W_Q[1, 1], weights.W_Q[1, 1]) and torch.equal(after.W_K, weights.W_K)
    once, thrice = (th.scale_reading(weights, (1, 0), d, 0.0) for d in (directions[:1], directions[:1].repeat(3, 1)))
    torch.testing.assert_close(thrice.left @ thrice.right, once.left @ once.right, **CLOSE)


# --- undone, whatever happens ---


def some_edits(weights, target):
    return [*th.set_component(weights, target, 2.0), th.scale_query(weights, (0, 0), 3.0)]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_edits_are_undone_after_an_exception(model, weights, target, error):
    before = state(model)
    with pytest.raises(error):
        with th.edited(model, some_edits(weights, target)):
            with th.edited(model, th.scale_head(weights, (1, 1), 0.5)):
                assert not same(model, before)
                raise error


@pytest.mark.parametrize("moment", [0, 1, 2, 3])
def test_an_interrupt_leaves_every_weight_as_it_was(model, weights, target, monkeypatch, moment):
    """Ctrl-C while the first weight is written, in the block, or while the first or last is given back."""
    seen, outer = [], signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt(*reached):
        if moment in reached:
            signal.raise_signal(signal.SIGINT)

    add, copy = torch.Tensor.__iadd__, torch.Tensor.copy_
    monkeypatch.setattr(torch.Tensor, "__iadd__", lambda *given: (interrupt(0), add(*given))[1])
    monkeypatch.setattr(
        torch.Tensor, "copy_", lambda *given: (seen.append(1), interrupt(1 + len(seen)), copy(*given))[2]
    )
    try:
        with pytest.raises(KeyboardInterrupt):
            with th.edited(model, some_edits(weights, target)):
                interrupt(1)
    finally:
        assert signal.signal(signal.SIGINT, outer) is signal.default_int_handler


def test_nested_edits_are_undone_in_turn(model, weights, target, prompts):
    with th.edited(model, th.set_component(weights, target, 2.0)):
        outer = model(prompts.tokens)
        with th.edited(model, th.scale_head(weights, (1, 1), 0.5), th.scale_query(weights, (1, 2), 0.5)):
            assert not torch.allclose(model(prompts.tokens), outer, atol=1e-3)
        assert torch.equal(model(prompts.tokens), outer)


def test_the_order_of_edits_does_not_matter_and_none_are_no_change(model, weights, target, prompts):
    plain, edits, found = model(prompts.tokens), some_edits(weights, target), []
    for given in (edits, edits[::-1], []):
        with th.edited(model, *given):
            found.append(model(prompts.tokens))
    torch.testing.assert_close(found[0], found[1], **CLOSE)
    assert torch.equal(found[2], plain)


# --- refused before anything is changed ---


def edit(head=(1, 1), matrix="W_O", left=None, right=None, bias=None):
    left = torch.ones(8, 1) if left is None else left
    return th.Edit("mine", head, matrix, left, torch.ones(1, 32) if right is None else right, bias)


@pytest.mark.parametrize("bad, match", [
    (dict(head=(4, 0)), "no head 4.0"),
    (dict(head=(0, -1)), "no head 0.-1"),
    (dict(matrix="W_E"), "'mine' changes 'W_E': expected one of"),
    (dict(left=torch.ones(7, 1)), r"is \[7, 32\], the matrix is \[8, 32\]"),
    (dict(matrix="W_Q"), r"is \[8, 32\], the matrix is \[32, 8\]"),
    (dict(left=torch.ones(8, 2)), r"\[8, 2\] @ \[1, 32\] do not multiply"),
    (dict(right=torch.full((1, 32), float("nan"))), "'mine': right must be finite"),
    (dict(bias=torch.ones(1)), r"bias is \[1\], the model's is \[32\]"),
])  # fmt: skip
def test_edits_that_do_not_fit_are_refused_before_any_change(model, refuses, bad, match):
    before = state(model)
    with refuses(match):
        with th.edited(model, edit(), edit(**bad)):
            pytest.fail("the block must not run")
    assert same(model, before)


@pytest.mark.parametrize("matrix", ["W_K", "W_V"])
def test_shared_keys_and_values_cannot_be_edited_for_one_head(model, weights, refuses, matrix):
    mine = edit(matrix=matrix, left=torch.ones(32, 1), right=torch.ones(1, 8))
    if th.parts.shape(model).groups > 1:
        with refuses(f"{matrix}, which 2 heads share"), th.edited(model, mine):
            pytest.fail("the block must not run")
    else:
        with th.edited(model, mine):
            after = getattr(th.head_weights(model), matrix)
        torch.testing.assert_close(after[1, 1], getattr(weights, matrix)[1, 1] + 1)


def test_a_bias_where_the_model_has_none_is_refused(tiny, refuses):
    llama = tiny("tiny-llama")
    mine = th.scale_query(th.head_weights(llama), (1, 1), 2.0)
    assert mine.bias is None
    with refuses("has none there"), th.edited(llama, replace(mine, bias=torch.ones(8))):
        pytest.fail("the block must not run")
