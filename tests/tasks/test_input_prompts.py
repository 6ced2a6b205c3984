"""Prompts of any kind: what stands after END changes nothing, and what the model would read wrongly is refused."""

import dataclasses

import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import th_utils as th
from th_utils.tasks.prompts import encode

ALL = list(HealthCheck)
quick = settings(max_examples=8, derandomize=True, database=None, deadline=None, suppress_health_check=ALL)
# Any text that UTF-8 can write, HTML and half-written formulas among it.
words = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(["<script>x</script>", "$a_{", "猫😀"])


def prompts_of(model, texts: list[str]) -> th.Prompts:
    tokens, end = encode(model.tokenizer, texts)
    table = pd.DataFrame({"text": texts})
    return th.Prompts(tokens, tokens[:, 0], tokens[:, 0], {"END": end}, tuple(texts), table)


@quick
@given(texts=st.lists(words, min_size=1, max_size=3), junk=st.integers(0, 500), more=st.integers(1, 4))
def test_padding_and_company_change_nothing(model, texts, junk, more):
    prompts = prompts_of(model, texts)
    alone = torch.cat([th.logits(model, th.run(model, prompts_of(model, [text]))) for text in texts])
    assert alone.isfinite().all()
    longer = torch.cat([prompts.tokens, torch.zeros(len(texts), more, dtype=torch.long)], 1)
    after = torch.arange(longer.shape[1]) > prompts.end[:, None]
    padded = dataclasses.replace(prompts, tokens=longer.masked_fill(after, junk))
    torch.testing.assert_close(th.logits(model, th.run(model, padded, batch_size=2)), alone, rtol=1e-4, atol=1e-4)


@quick
@given(side=st.sampled_from(["left", "right"]), texts=st.lists(words, min_size=1, max_size=3))
def test_the_tokenizers_own_padding_side_has_no_say(model, side, texts):
    before = model.tokenizer.padding_side
    expected = encode(model.tokenizer, texts)
    model.tokenizer.padding_side = side
    try:
        for one, other in zip(encode(model.tokenizer, texts), expected, strict=True):
            assert torch.equal(one, other)
    finally:
        model.tokenizer.padding_side = before


def test_prompts_padded_on_the_left_are_refused(model, prompts, refuses):
    pad = torch.full((len(prompts), 2), model.tokenizer.pad_token_id)
    left = dataclasses.replace(
        prompts, tokens=torch.cat([pad, prompts.tokens], 1), positions={n: p + 2 for n, p in prompts.positions.items()}
    )
    with refuses("padded on the right: 10 of 10"):
        th.run(model, left)


@pytest.mark.parametrize("positions", ["end", "all"])
def test_prompts_longer_than_the_context_are_refused(model, positions, refuses):
    context = model.cfg.n_ctx
    text = prompts_of(model, ["Then"])
    fits = dataclasses.replace(text, tokens=text.tokens[:, -1:].expand(1, context))
    assert th.run(model, fits, positions).resid.isfinite().all()
    long = dataclasses.replace(text, tokens=text.tokens[:, -1:].expand(1, context + 1))
    with refuses(f"{context + 1} tokens, this model's context is {context}"):
        th.run(model, long, positions)


@pytest.mark.parametrize("change, match", [
    (dict(tokens=torch.full((1, 3), -1)), "prompts must have tokens 0-"),
    (dict(tokens=torch.full((1, 3), 10**6)), "prompts must have tokens 0-"),
    (dict(tokens=torch.zeros(1, 3)), "tokens must be .* integers"),
    (dict(tokens=torch.zeros(1, 3, dtype=torch.bool)), "tokens must be .* integers"),
    (dict(tokens=torch.zeros(1, 3, dtype=torch.long, device="meta")), "meta"),
    (dict(positions={"END": torch.tensor([3])}), "position 'END' must lie between 0 and 2"),
    (dict(positions={"END": torch.tensor([-1])}), "position 'END' must lie between 0 and 2"),
    (dict(positions={"END": torch.tensor([1.0])}), "position 'END' must be integers"),
    (dict(positions={"IO": torch.tensor([1])}), "positions must hold END"),
])  # fmt: skip
def test_tokens_and_positions_are_checked(tiny, change, match, refuses):
    model = tiny("tiny-gpt2")
    prompts = prompts_of(model, ["Then and"])
    tokens = torch.zeros(1, 3, dtype=torch.long)
    with refuses(match):
        given_prompts = dict(tokens=tokens, positions={"END": torch.tensor([2])}) | change
        th.run(model, dataclasses.replace(prompts, **given_prompts))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_stream_that_is_not_finite_is_refused(model, prompts, value, refuses):
    with refuses("NaN or infinite stream before layer 2"):
        th.run(model, prompts, hooks=[("blocks.1.hook_mlp_out", lambda out, hook: out * value)])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64, torch.int64, torch.bool])
def test_weights_are_of_a_kind_that_can_be_decomposed(weights, dtype, refuses):
    with refuses("W_Q must be float32 or float64"):
        weights.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_numbers_of_another_kind_give_the_same_result(model, weights, prompts, dtype):
    factors = torch.tensor([[0.5, 1, 2, 1]] * 4).to(dtype)
    expected = th.run(model, prompts, hooks=th.scale_heads(factors.float()))
    torch.testing.assert_close(th.run(model, prompts, hooks=th.scale_heads(factors)).resid, expected.resid)
    assert th.stats.mean(factors).value == pytest.approx(factors.double().mean().item())
