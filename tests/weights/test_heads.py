"""head_weights: the tensors must reproduce the model's own attention, on every architecture."""

from dataclasses import fields, replace

import reference
import torch

import th_utils as th
from th_utils.weights.heads import check_head

TENSORS = [field.name for field in fields(th.HeadWeights) if field.name[:2] in ("W_", "b_")]


def test_weights_reproduce_the_models_attention(model, weights, prompts):
    _, cache = model.run_with_cache(prompts.tokens)
    for layer in range(weights.n_layers):
        stream = cache[f"blocks.{layer}.hook_resid_pre"]
        pattern, z = reference.attention(model, weights, layer, stream, stream, stream)
        torch.testing.assert_close(pattern, cache[f"blocks.{layer}.attn.hook_pattern"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(z, cache[f"blocks.{layer}.attn.hook_z"], rtol=1e-4, atol=2e-5)


def test_head_outputs_sum_to_the_attention_output(model, weights, prompts):
    _, cache = model.run_with_cache(prompts.tokens)
    for layer in range(weights.n_layers):
        written = torch.einsum("bshk,hkd->bsd", cache[f"blocks.{layer}.attn.hook_z"], weights.W_O[layer])
        bias = th.parts.output_bias(model, layer)
        expected = cache[f"blocks.{layer}.hook_attn_out"] - (0 if bias is None else bias)
        torch.testing.assert_close(written, expected, rtol=1e-4, atol=2e-5)


def test_shared_key_value_heads_are_repeated_in_order(tiny):
    weights = th.head_weights(tiny("tiny-llama"))
    for matrix in (weights.W_K, weights.W_V):
        assert matrix.shape == weights.W_Q.shape
        assert torch.equal(matrix[:, 0], matrix[:, 1]) and torch.equal(matrix[:, 2], matrix[:, 3])
        assert not torch.allclose(matrix[:, 1], matrix[:, 2])


def test_unfolded_weights_differ_and_keep_the_shapes(tiny):
    raw, folded = (th.head_weights(tiny("tiny-gpt2", fold=fold)) for fold in (False, True))
    assert raw.W_Q.shape == folded.W_Q.shape
    assert not torch.allclose(raw.W_Q, folded.W_Q, atol=1e-2), "folding must multiply the norm's gain into W_Q"


def test_weights_are_a_copy(model):
    before, changed = th.head_weights(model), th.head_weights(model)
    for name in TENSORS:
        getattr(changed, name).fill_(7.0)
    after = th.head_weights(model)
    assert all(torch.equal(getattr(before, name), getattr(after, name)) for name in TENSORS)


def test_decompositions_are_computed_once_and_those_of_changed_weights_anew(weights):
    assert weights.ov is weights.ov and weights.qk is weights.qk
    doubled = replace(weights, W_O=2 * weights.W_O)
    torch.testing.assert_close(doubled.ov.singular_values, 2 * weights.ov.singular_values, rtol=1e-4, atol=1e-5)


def test_another_dtype_is_of_the_same_model(weights):
    double = weights.to(torch.float64)
    assert {getattr(double, name).dtype for name in TENSORS} == {torch.float64}
    assert double.fingerprint == weights.fingerprint is not None


def test_heads_are_listed_layer_by_layer_and_labelled_from_zero():
    assert reference.random_weights(layers=2, heads=2).heads == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert th.label((20, 0)) == "20.0" and th.label((7, 10, 3)) == "7.10.3"


def test_damaged_weights_are_refused(refuses):
    weights = reference.random_weights()
    for name in TENSORS:
        for bad in (float("nan"), float("inf")):
            damaged = getattr(weights, name).clone()
            damaged.view(-1)[3] = bad
            with refuses(f"{name} holds NaN or infinite values"):
                replace(weights, **{name: damaged})
    for name in TENSORS[1:]:
        with refuses(f"{name} has shape .* expected"):
            replace(weights, **{name: getattr(weights, name)[..., :-1]})


def test_what_is_no_head_of_the_model_is_refused(refuses):
    for head in [(4, 0), (0, 4), (-1, 0), (0, -1)]:
        with refuses("no head .*: this model has layers 0-3 and heads 0-3"):
            check_head(head, 4, 4)
    for head in [3, (1,), (1, 2, 3), (1.5, 2), None]:
        with refuses("must be a pair .layer, head. of integers, got"):
            check_head(head, 4, 4)


def test_decompositions_are_kept_while_their_factors_stay():
    """Writing to a weight in place must not leave an old decomposition behind; turning queries keeps the OV's."""
    weights = reference.random_weights()
    before = weights.ov
    assert weights.ov is before and th.rotated_queries(weights, torch.ones(4), torch.zeros(4)).ov is before
    weights.W_O[1, 2] *= 2
    torch.testing.assert_close(weights.ov.singular_values[1, 2], 2 * before.singular_values[1, 2])
    torch.testing.assert_close(weights.ov.singular_values[0], before.singular_values[0])
