"""head_weights: the tensors must reproduce the model's own attention, on every architecture."""

from dataclasses import asdict

import pytest
import reference
import torch

import th_utils as th
from th_utils.weights.heads import check_head


def test_weights_reproduce_the_models_attention(model, weights, prompts):
    _, cache = model.run_with_cache(prompts.tokens)
    for layer in range(weights.n_layers):
        stream = cache[f"blocks.{layer}.hook_resid_pre"]
        pattern, z = reference.attention(model, weights, layer, stream, stream, stream)
        torch.testing.assert_close(pattern, cache[f"blocks.{layer}.attn.hook_pattern"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(z, cache[f"blocks.{layer}.attn.hook_z"], rtol=1e-4, atol=2e-5)


def test_head_outputs_sum_to_the_attention_output(model, weights, prompts):
    _, cache = model.run_with_cache(prompts.tokens)
    z = torch.stack([cache[f"blocks.{layer}.attn.hook_z"] for layer in range(weights.n_layers)])
    written = th.head_outputs(weights, z).sum(3)
    for layer in range(weights.n_layers):
        bias = th.parts.output_bias(model, layer)
        expected = cache[f"blocks.{layer}.hook_attn_out"] - (0 if bias is None else bias)
        torch.testing.assert_close(written[layer], expected, rtol=1e-4, atol=2e-5)


def test_shared_key_value_heads_are_repeated_in_order(tiny):
    weights = th.head_weights(tiny("tiny-llama"))
    assert weights.W_K.shape == weights.W_Q.shape
    for name in ("W_K", "W_V"):
        matrix = getattr(weights, name)
        assert torch.equal(matrix[:, 0], matrix[:, 1]) and torch.equal(matrix[:, 2], matrix[:, 3])
        assert not torch.allclose(matrix[:, 1], matrix[:, 2])


def test_unfolded_weights_differ_and_keep_the_shapes():
    raw, folded = (th.head_weights(th.load_model("tiny-gpt2", fold=fold)) for fold in (False, True))
    assert raw.W_Q.shape == folded.W_Q.shape
    assert not torch.allclose(raw.W_Q, folded.W_Q, atol=1e-2), "folding must multiply the norm's gain into W_Q"


def test_weights_are_a_copy(model):
    before, changed = th.head_weights(model), th.head_weights(model)
    for name in asdict(changed):
        getattr(changed, name).fill_(7.0)
    after = th.head_weights(model)
    assert all(torch.equal(getattr(before, name), getattr(after, name)) for name in asdict(before))


def test_to_changes_the_dtype_of_everything(weights):
    assert {value.dtype for value in asdict(weights.to(torch.float64)).values()} == {torch.float64}


@pytest.mark.parametrize("name", ["W_K", "W_V", "W_O", "b_Q", "b_K", "b_V"])
def test_wrong_shapes_are_refused(name, refuses):
    fields = asdict(reference.random_weights())
    fields[name] = fields[name][..., :-1]
    with refuses(name):
        th.HeadWeights(**fields)


@pytest.mark.parametrize("name", ["W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_damaged_weights_are_refused(name, bad, refuses):
    fields = {key: value.clone() for key, value in asdict(reference.random_weights()).items()}
    fields[name].view(-1)[3] = bad
    with refuses(f"{name} holds NaN"):
        th.HeadWeights(**fields)


def test_heads_are_listed_layer_by_layer():
    weights = reference.random_weights(layers=2, heads=3)
    assert weights.heads == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


def test_labels_count_from_zero():
    assert th.label((20, 0)) == "20.0"
    assert th.label((7, 10, 3)) == "7.10.3"


@pytest.mark.parametrize("head", [(4, 0), (0, 4), (-1, 0), (0, -1)])
def test_heads_outside_the_model_are_refused(head, refuses):
    with refuses("layers 0-3 and heads 0-3"):
        check_head(head, 4, 4)


@pytest.mark.parametrize("head", [3, (1,), (1, 2, 3), ("a", "b"), None])
def test_things_that_are_no_head_are_refused(head, refuses):
    with refuses("pair"):
        check_head(head, 4, 4)


@pytest.mark.real
def test_the_default_model_has_grouped_keys_that_reproduce_its_attention(default_model):
    weights = th.head_weights(default_model)
    assert weights.W_K.shape == (30, 9, 576, 64)
    tokens = default_model.to_tokens("When Mary and John went to the store, John gave a drink to")
    _, cache = default_model.run_with_cache(tokens)
    for layer in (0, 17):
        stream = cache[f"blocks.{layer}.hook_resid_pre"]
        _, z = reference.attention(default_model, weights, layer, stream, stream, stream)
        expected = cache[f"blocks.{layer}.attn.hook_z"]
        assert (z - expected).norm() < 1e-4 * expected.norm()
