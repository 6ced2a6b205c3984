"""Weight edits: equal to the hooks they stand for, and undone bit for bit whatever happens."""

import dataclasses

import pytest
import reference
import torch

import th_utils as th

CLOSE = {"rtol": 1e-3, "atol": 1e-4}
PARTS = [(1, 2, 0), (1, 2, 3), (2, 0, 1)]


@pytest.fixture(scope="module")
def target(weights):
    return th.channel(weights, th.decompose_ov(weights), PARTS)


def state(model):
    return {name: value.clone() for name, value in model.original_model.state_dict().items()}


@pytest.fixture(autouse=True)
def unchanged(model):
    """Around every test here: the same parameters with the same bits, before and after."""
    before = state(model)
    yield
    after = state(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("hooks, edits", [
    (lambda c: c.zero(), lambda w, c: th.zero_component(w, c)),
    (lambda c: c.scale(-1.5), lambda w, c: th.scale_component(w, c, -1.5)),
    (lambda c: c.set(2.5), lambda w, c: th.set_component(w, c, 2.5)),
    (lambda c: c.set([0.7, -3.0, 4.0]), lambda w, c: th.set_component(w, c, [0.7, -3.0, 4.0])),
], ids=["zero", "scale", "set", "set each"])  # fmt: skip
def test_edits_equal_hooks_at_every_position(model, weights, target, prompts, hooks, edits):
    with_hooks = model.run_with_hooks(prompts.tokens, fwd_hooks=hooks(target))
    plain = model(prompts.tokens)
    with th.edited(model, edits(weights, target)):
        with_edits = model(prompts.tokens)
        own = th.logits(model, th.run(model, prompts))
    torch.testing.assert_close(with_edits, with_hooks, **CLOSE)
    torch.testing.assert_close(own, reference.at(with_hooks, prompts.end), **CLOSE)
    assert (with_edits - plain).abs().max() > 0.05, "the edit must do something"
    torch.testing.assert_close(model(prompts.tokens), plain, rtol=0, atol=0)


def test_zeroing_removes_one_rank_from_the_circuit(model, weights, target):
    """W_OV' = W_OV − Σ σ u v: the weights that the model then has."""
    with th.edited(model, th.zero_component(weights, target)):
        after = th.head_weights(model)
    ov = th.decompose_ov(weights)
    for layer, head in [(1, 2), (2, 0), (1, 1)]:
        expected = weights.W_V[layer, head] @ weights.W_O[layer, head]
        for k in [k for n, h, k in PARTS if (n, h) == (layer, head)]:
            piece = torch.outer(ov.read[layer, head, k], ov.write[layer, head, k])
            expected = expected - ov.singular_values[layer, head, k] * piece
        torch.testing.assert_close(after.W_V[layer, head] @ after.W_O[layer, head], expected, **CLOSE)


def test_scale_head_scales_what_one_head_writes(model, weights, prompts, clean):
    with th.edited(model, th.scale_head(weights, (1, 2), 0.25)):
        after = th.head_weights(model)
        logits = model(prompts.tokens)
    expected = weights.W_O.clone()
    expected[1, 2] *= 0.25
    torch.testing.assert_close(after.W_O, expected)
    hook = ("blocks.1.attn.hook_z", lambda z, hook: z * torch.tensor([1, 1, 0.25, 1])[:, None])
    torch.testing.assert_close(logits, model.run_with_hooks(prompts.tokens, fwd_hooks=[hook]), **CLOSE)


def test_a_blocked_reader_is_blind_to_the_direction(model, weights, prompts, clean):
    """Pushing the stream along a blocked direction changes the query only through the norm's scale."""
    head = (2, 1)
    direction = torch.randn(1, weights.d_model, generator=torch.Generator().manual_seed(0))
    if th.parts.centres(model):
        direction = direction - direction.mean()
    resid = clean.resid[2]
    moved = resid + 3.0 * direction / direction.norm()

    def query(stream):
        """x W_Q with the norm's scale multiplied back."""
        x = model.blocks[2].ln1(stream)
        q = th.parts.project(model, 2, "q", x)[:, :, head[1]] - weights.b_Q[head]
        centred = stream - stream.mean(-1, keepdim=True) if th.parts.centres(model) else stream
        return q * (centred.square().mean(-1, keepdim=True) + model.cfg.eps).sqrt()

    before = (query(moved) - query(resid)).abs().max()
    with th.edited(model, th.scale_reading(weights, head, direction, 0.0)):
        after = (query(moved) - query(resid)).abs().max()
        neighbour = th.head_weights(model)
    assert after < 1e-4 < 0.1 < before
    assert torch.equal(neighbour.W_Q[2, 0], weights.W_Q[2, 0]) and torch.equal(neighbour.W_K, weights.W_K)


def test_scaled_reading_of_directions_that_are_not_orthonormal(model, weights):
    directions = torch.randn(3, weights.d_model, generator=torch.Generator().manual_seed(1))
    other = torch.randn(weights.d_model, generator=torch.Generator().manual_seed(2))
    basis = torch.linalg.qr(directions.T).Q
    other = other - basis @ (basis.T @ other)
    with th.edited(model, th.scale_reading(weights, (1, 0), directions, 2.0)):
        after = th.head_weights(model)
    torch.testing.assert_close(directions @ after.W_Q[1, 0], 2.0 * directions @ weights.W_Q[1, 0], **CLOSE)
    torch.testing.assert_close(other @ after.W_Q[1, 0], other @ weights.W_Q[1, 0], **CLOSE)


def test_repeated_directions_count_once(model, weights):
    direction = torch.randn(1, weights.d_model, generator=torch.Generator().manual_seed(1))
    one, many = (th.scale_reading(weights, (1, 0), d, 0.0) for d in (direction, direction.repeat(3, 1)))
    torch.testing.assert_close(many.left @ many.right, one.left @ one.right, **CLOSE)


# --- undone, whatever happens ---


def some_edits(weights, target):
    return [*th.set_component(weights, target, 2.0), th.scale_head(weights, (0, 0), 3.0)]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_edits_are_undone_after_an_exception(model, weights, target, error):
    before = state(model)
    with pytest.raises(error):
        with th.edited(model, some_edits(weights, target)):
            changed = model.original_model.state_dict()
            assert changed.keys() != before.keys() or any(not torch.equal(changed[n], before[n]) for n in before)
            raise error


def test_nested_edits_are_undone_in_turn(model, weights, target, prompts):
    with th.edited(model, th.set_component(weights, target, 2.0)):
        outer = model(prompts.tokens)
        with th.edited(model, th.scale_head(weights, (1, 2), 0.5), th.set_component(weights, target, 1.0)):
            inner = model(prompts.tokens)
        assert torch.equal(model(prompts.tokens), outer)
    assert not torch.allclose(inner, outer, atol=1e-3)


def test_the_order_of_edits_does_not_matter(model, weights, target, prompts):
    edits = some_edits(weights, target)
    with th.edited(model, *edits):
        one = model(prompts.tokens)
    with th.edited(model, edits[::-1]):
        other = model(prompts.tokens)
    torch.testing.assert_close(one, other, **CLOSE)


def test_no_edits_are_no_change(model, prompts):
    plain = model(prompts.tokens)
    with th.edited(model):
        assert torch.equal(model(prompts.tokens), plain)


# --- refused before anything is changed ---


def edit(head=(1, 1), matrix="W_O", left=None, right=None, bias=None):
    left = torch.ones(8, 1) if left is None else left
    return th.Edit("mine", head, matrix, left, torch.ones(1, 32) if right is None else right, bias)


@pytest.mark.parametrize("bad, match", [
    (dict(head=(4, 0)), "does not have"),
    (dict(head=(0, -1)), "does not have"),
    (dict(matrix="W_E"), "names W_E"),
    (dict(left=torch.ones(7, 1)), r"matrix is \(8, 32\)"),
    (dict(left=torch.ones(8, 2)), "another model's weights"),
    (dict(right=torch.ones(1, 33)), "another model's weights"),
    (dict(matrix="W_Q"), r"matrix is \(32, 8\)"),
    (dict(left=torch.full((8, 1), float("nan"))), "left holds NaN"),
    (dict(right=torch.full((1, 32), float("inf"))), "right holds NaN"),
    (dict(left=torch.ones(8)), "another model's weights"),
    (dict(right=torch.ones(1, 32, 1)), "another model's weights"),
    (dict(bias=torch.ones(1)), r"bias is \(1,\).*32"),
    (dict(bias=torch.full((32,), float("nan"))), "bias holds NaN"),
])  # fmt: skip
def test_edits_that_do_not_fit_are_refused_before_any_change(model, prompts, refuses, bad, match):
    plain = model(prompts.tokens)
    with refuses(match):
        with th.edited(model, edit(), edit(**bad)):
            pytest.fail("the block must not run")
    assert torch.equal(model(prompts.tokens), plain)


@pytest.mark.parametrize("matrix", ["W_K", "W_V"])
def test_shared_keys_and_values_cannot_be_edited_for_one_head(model, weights, refuses, matrix):
    mine = edit(matrix=matrix, left=torch.ones(32, 1), right=torch.ones(1, 8))
    if th.parts.kv_groups(model) > 1:
        with refuses(f"{matrix}, which 2 query heads share"):
            with th.edited(model, mine):
                pytest.fail("the block must not run")
    else:
        with th.edited(model, mine):
            after = getattr(th.head_weights(model), matrix)
        torch.testing.assert_close(after[1, 1], getattr(weights, matrix)[1, 1] + 1)


def test_impossible_requests_are_refused(weights, target, refuses):
    with refuses("no head 9.0"):
        th.scale_head(weights, (9, 0), 0.5)
    with refuses(r"directions must be \[n, d_model=32\], got float32 \[32\]"):
        th.scale_reading(weights, (1, 0), torch.ones(32), 0.0)
    with refuses("3 numbers"):
        th.set_component(weights, target, [1.0, 2.0])


def test_scaling_the_query_scales_the_scores(model, weights, prompts):
    """W_Q and b_Q together: attention is the softmax of the scores to the power of the factor."""
    head = (2, 1)
    before = th.run(model, prompts)
    with th.edited(model, th.scale_query(weights, head, 2.5)):
        after = th.run(model, prompts)
    row, new = (r.at(r.pattern, axis=3)[head[0], :, head[1]] for r in (before, after))
    assert torch.allclose(after.q[2, :, :, 1], 2.5 * before.q[2, :, :, 1], atol=1e-4)
    power = row.double() ** 2.5
    assert torch.allclose(power / power.sum(-1, keepdim=True), new.double(), atol=1e-4)
    again = th.run(model, prompts)
    assert torch.equal(again.resid, before.resid)


def test_a_bias_where_the_model_has_none_is_refused(tiny, refuses):
    model = tiny("tiny-llama")
    edit = th.scale_query(th.head_weights(model), (1, 1), 2.0)
    assert edit.bias is None
    with refuses("has none there"), th.edited(model, dataclasses.replace(edit, bias=torch.ones(model.cfg.d_head))):
        pass


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_query_edits_are_undone_after_an_exception(model, weights, error):
    """With b_Q, where there is one; the fixture above compares every parameter."""
    all_heads = [th.scale_query(weights, (1, head), -3.7) for head in range(4)]
    with pytest.raises(error):
        with th.edited(model, all_heads, all_heads[1]):
            with th.edited(model, all_heads[2]):
                raise error


@pytest.mark.parametrize("bad, match", [
    (lambda: None, "NoneType"), (lambda: [[]], "list"), (lambda: edit(head=3), "does not have"),
    (lambda: edit(head=(1.5, 1)), "does not have"), (lambda: edit(right=torch.ones(())), "another model's weights"),
])  # fmt: skip
def test_what_is_no_edit_is_refused(model, refuses, bad, match):
    with refuses(match):
        with th.edited(model, bad()):
            pytest.fail("the block must not run")


def test_directions_that_are_none_or_no_numbers_are_refused(weights, refuses):
    for bad in (torch.zeros(0, weights.d_model), torch.full((1, weights.d_model), torch.nan)):
        with refuses("directions"):
            th.scale_reading(weights, (2, 0), bad, 0.0)
