"""The adapter: it reads a model rightly, and refuses one in a state in which numbers would be wrong."""

import pytest
import torch
from tiny_models import TINY, load

import th_utils as th
from th_utils.tasks import ioi


def test_shape_is_that_of_the_model(model, weights):
    size = th.parts.shape(model)
    assert (size.layers, size.heads, size.d_model, size.d_head) == tuple(weights.W_Q.shape)
    assert th.parts.head_matrix(model, 0, "W_K").shape[0] * size.groups == size.heads
    assert th.parts.unembedding(model)[0].shape == (size.d_model, size.vocab)
    assert model(torch.zeros(1, size.context, dtype=torch.long)).shape == (1, size.context, size.vocab)


@pytest.fixture(scope="module", params=TINY)
def ready(request):
    """A fresh model with its runs, and everything that runs it."""
    model = load(request.param)
    prompts = ioi.generate(model, 3, seed=1)
    clean, edge = th.run(model, prompts, "all", keep=1), th.Edge((3, 1))
    return model, {
        "run": lambda: th.run(model, prompts),
        "rerun": lambda: th.rerun(model, clean),
        "rerun_last": lambda: th.rerun_last(model, clean),
        "logits": lambda: th.logits(model, clean),
        "text_loss": lambda: th.text_loss(model, prompts),
        "attribution": lambda: th.direct_logit_attribution(model, clean),
        "patch_edges": lambda: th.patch_edges(model, clean, clean, edge),
        "patch_input": lambda: th.patch_input(model, clean, edge, torch.zeros(1, 3, 32)),
        "path_patch": lambda: th.path_patch(model, clean, clean, [(0, 1)]),
        "keep_heads": lambda: th.keep_heads(model, prompts, clean.z, []),
    }


def everything_refuses(calls, refuses, match):
    for call in calls.values():
        with refuses(match):
            call()


ANEW = ("run", "keep_heads", "text_loss", "logits")  # the others compute blocks anew for a run made before


@pytest.mark.parametrize("name", ["embed.hook_out", "blocks.1.attn.hook_pattern", "blocks.2.hook_resid_pre",
                                  "blocks.0.hook_attn_out", "blocks.3.mlp.hook_in"])  # fmt: skip
def test_the_readers_own_hooks_act_in_runs_and_what_would_leave_them_out_is_refused(ready, refuses, name):
    model, calls = ready
    before = th.logits(model, calls["run"]())
    model.add_hook(name, lambda value, hook: 0.5 * value)
    try:
        hooked = calls["run"]()
        ends = hooked.prompts.end
        own = model(hooked.tokens)[range(len(ends)), ends]
        torch.testing.assert_close(th.logits(model, hooked), own, atol=1e-4, rtol=1e-3)
        assert not torch.allclose(own, before, atol=1e-2)
        everything_refuses({n: call for n, call in calls.items() if n not in ANEW}, refuses, "a hook of its own at")
    finally:
        model.reset_hooks()
    for call in calls.values():
        call()
    assert torch.equal(th.logits(model, calls["run"]()), before)


def test_hooks_of_pytorch_act_too(ready, refuses):
    model, calls = ready
    handle = model.blocks[1].mlp.register_forward_hook(lambda module, args, out: 0.5 * out)
    try:
        hooked = calls["run"]()
        own = model(hooked.tokens)[range(3), hooked.end]
        torch.testing.assert_close(th.logits(model, hooked), own, atol=1e-4, rtol=1e-3)
        with refuses("a hook of its own at blocks.1.mlp"):
            calls["rerun_last"]()
        th.rerun_last(model, hooked, start=2)  # it acts before
        with refuses("made with a hook at blocks.1.mlp"):
            th.direct_logit_attribution(model, hooked)
    finally:
        handle.remove()


def test_a_hook_after_the_blocks_is_refused(ready, refuses):
    model, calls = ready
    model.add_hook("ln_final.hook_scale", lambda value, hook: 2 * value)
    try:
        everything_refuses(calls, refuses, "hook of its own at ln_final.hook_scale.*reset_hooks")
    finally:
        model.reset_hooks()


def test_training_mode_autocast_and_half_precision_are_refused(ready, refuses):
    model, calls = ready
    model.train()
    everything_refuses(calls, refuses, r"training mode.*model.eval\(\)")
    model.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        everything_refuses(calls, refuses, "autocast is on.*leave its block")
    for call in calls.values():
        call()
    model.to(torch.bfloat16)  # last: what it rounds off does not come back
    everything_refuses(calls, refuses, "the model is in torch.bfloat16.*load it anew")
    with refuses("W_Q must be float32 or float64, got torch.bfloat16"):
        th.head_weights(model)
