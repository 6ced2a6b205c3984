"""Hooks: those of TransformerLens work here, those made here work in TransformerLens."""

import pytest
import reference
import torch

import th_utils as th
from th_utils.runs.hooks import POINTS, rows_of

CLOSE = {"rtol": 1e-3, "atol": 1e-4}


def own_logits(model, prompts, hooks=()):
    return reference.at(model.run_with_hooks(prompts.tokens, fwd_hooks=list(hooks)), prompts.end)


@pytest.mark.parametrize("point", POINTS)
def test_a_hook_gives_the_same_in_transformer_lens_and_here(model, prompts, point):
    hooks = [(f"blocks.2.{point}", lambda value, hook: value * 0.7 + 0.03)]
    theirs = own_logits(model, prompts, hooks)
    torch.testing.assert_close(th.logits(model, th.run(model, prompts, hooks=hooks)), theirs, **CLOSE)
    assert not torch.allclose(theirs, own_logits(model, prompts), atol=1e-2), "the hook must do something"


def by_prompt(prompts, factors):
    """A hook that treats every prompt differently, as `keep_heads` does."""
    return [("blocks.1.attn.hook_z", lambda z, hook: z * factors[rows_of(hook)][:, None, None, None])]


def test_hooks_made_here_work_in_transformer_lens(model, weights, prompts):
    target = th.channel(weights, [(1, 2, 0), (2, 0, 1)])
    values = torch.linspace(-3, 3, 20).view(10, 2)
    made = {
        "set": target.set([1.5, -2.0]), "set at S2": target.set(values, at=prompts.at("S2")),
        "scale": target.scale(values), "scale at END": target.scale(-1.0, at=prompts.end),
        "by prompt": by_prompt(prompts, torch.linspace(0, 2, 10)),
    }  # fmt: skip
    for name, hooks in made.items():
        theirs, ours = own_logits(model, prompts, hooks), th.run(model, prompts, hooks=hooks, batch_size=4)
        torch.testing.assert_close(th.logits(model, ours), theirs, msg=lambda m, n=name: f"{n}: {m}", **CLOSE)


def test_hooks_of_transformer_lens_that_use_their_name_and_layer_work_here(model, prompts, clean):
    """One function for many hook points, as its tutorials write them."""
    factors = torch.tensor([1.0, 0.5, -1.0, 2.0])

    def scale(value, hook):
        assert hook.name == f"blocks.{hook.layer()}.attn.hook_z"
        return value * factors[hook.layer()]

    hooks = [(f"blocks.{layer}.attn.hook_z", scale) for layer in range(4)]
    theirs = model.run_with_hooks(prompts.tokens, fwd_hooks=hooks)
    whole = th.run(model, prompts, hooks=hooks)
    torch.testing.assert_close(th.logits(model, whole), reference.at(theirs, prompts.end), **CLOSE)
    last = [(hooks[3][0], scale)]  # in the last layer END depends on END's own z alone
    again = th.rerun_last(model, clean, last)
    torch.testing.assert_close(th.logits(model, again), own_logits(model, prompts, last), **CLOSE)


def test_hooks_apply_in_order_and_those_that_return_nothing_only_look(model, prompts, clean):
    seen = []
    hooks = [("blocks.1.attn.hook_z", lambda z, hook: z + 1), ("blocks.1.attn.hook_z", lambda z, hook: 2 * z),
             ("blocks.1.attn.hook_z", lambda z, hook: seen.append(z.shape))]  # fmt: skip
    run = th.run(model, prompts, "all", hooks)
    torch.testing.assert_close(run.z[1], 2 * (clean.z[1] + 1), **CLOSE)
    assert seen == [clean.z[1].shape]


def test_what_a_hook_returns_must_not_broadcast(model, prompts, clean, weights, refuses):
    with refuses(r"hook blocks.2.attn.hook_z returned \[1, 1, 4, 8\] float32, expected \[10, 1, 4, 8\] float32"):
        th.rerun_last(model, clean, [("blocks.2.attn.hook_z", lambda z, hook: z[:1])])
    target = th.channel(weights, [(2, 1, 0)])
    for n in (9, 11, 15, 1):
        with refuses(f"values for {n} prompts"):
            th.run(model, prompts, hooks=target.set(torch.ones(n, 1)), batch_size=5)


def test_writes_to_turned_patterns_that_torch_does_not_count_arrive(model, prompts, clean):
    def data(pattern, hook):
        pattern.data[..., 0] = 0

    def returned(pattern, hook):
        return torch.cat([0 * pattern[..., :1], pattern[..., 1:]], -1)

    one, other = (th.rerun_last(model, clean, [("blocks.2.attn.hook_pattern", f)]) for f in (data, returned))
    torch.testing.assert_close(one.resid, other.resid)


def test_another_dtype_is_refused(model, clean, refuses):
    with refuses("returned .* float16, expected .* float32"):
        th.rerun_last(model, clean, [("blocks.2.hook_mlp_out", lambda x, hook: x.half())])
