"""What a run was made under is known: other weights, edits or hooks are not mixed in without a word."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny_models import load

import th_utils as th

CLOSE = {"atol": 1e-5, "rtol": 1e-4}
EDGE = th.Edge((3, 1))


def flipped(model):
    th.parts.head_matrix(model, 1, "W_O")[2].mul_(-1)


def permuted(model):
    view = th.parts.head_matrix(model, 1, "W_O")
    view.copy_(view[[1, 0, 2, 3]].clone())


def halved(model):
    th.parts.head_matrix(model, 1, "W_O").mul_(0.5)


def retrained(model):
    model.load_state_dict(load("tiny-gpt2", seed=1).state_dict())


@pytest.mark.parametrize("change", [flipped, permuted, halved, retrained])
def test_weights_that_were_changed_are_those_of_another_model(prompts, refuses, change, tiny):
    model = load("tiny-gpt2")
    prompts = th.tasks.ioi.generate(model, 4, seed=1)
    clean, before = th.run(model, prompts, "all"), th.state.fingerprint(model)
    with torch.no_grad():
        change(model)
    assert th.state.fingerprint(model) != before
    with refuses("model and run come from different models"):
        th.direct_logit_attribution(model, clean)


def test_an_edit_gives_the_weights_and_their_fingerprint_back(model, weights):
    before = th.state.fingerprint(model)
    with th.edited(model, th.scale_head(weights, (1, 2), 0.5)):
        assert th.state.fingerprint(model) == before and th.head_weights(model).fingerprint != before
    assert th.state.fingerprint(model) == before == th.head_weights(model).fingerprint and not th.state.edits(model)


def test_runs_from_outside_an_edit_are_refused_where_they_would_be_half_edited(model, weights, prompts, clean, refuses):
    kept, edit = th.run(model, prompts, keep=2), th.scale_head(weights, (1, 2), 0.0)
    spots = prompts.at("IO")[:, None]
    with th.edited(model, edit):
        inside = th.run(model, prompts, "all")
        for call in (
            lambda: th.rerun_last(model, clean),
            lambda: th.rerun_last(model, clean, th.channel(weights, [(2, 0, 0)]).scale(0.0)),
            lambda: th.rerun_last(model, clean, start=2),
            lambda: th.rerun(model, kept),
            lambda: th.path_patch(model, clean, clean, [(0, 1)]),
        ):
            with refuses("layer 1 is edited now or was in the base"):
                call()
        for call in (
            lambda: th.direct_logit_attribution(model, clean),
            lambda: th.patch_edges(model, clean, clean, EDGE),
            lambda: th.position_codes(model, clean, (2, 1), torch.eye(32), spots),
        ):
            with refuses("made under other edits"):
                call()
        again = th.rerun(model, clean.resumable_at(1))  # from the edited layer on it is right
        torch.testing.assert_close(again.resid, inside.at().resid[:, :, None], **CLOSE)
    with refuses("made under other edits"):
        th.direct_logit_attribution(model, inside)
    torch.testing.assert_close(th.rerun(model, inside.resumable_at(1)).resid, clean.at().resid[:, :, None], **CLOSE)


def test_the_same_weights_are_edited_by_one_block_at_a_time(model, weights, prompts, refuses):
    edit, other = th.scale_head(weights, (1, 2), 0.0), th.scale_head(weights, (1, 1), 2.0)
    before = model(prompts.tokens)
    with th.edited(model, edit), refuses("W_O of head 1.2 is being edited already"), th.edited(model, edit):
        pass
    first, second = th.edited(model, edit), th.edited(model, other)
    first.__enter__(), second.__enter__()
    first.__exit__(None, None, None), second.__exit__(None, None, None)  # not in turn
    assert torch.equal(model(prompts.tokens), before)


def test_weights_copied_inside_an_edit_are_not_used_outside(model, weights, clean, refuses):
    with th.edited(model, th.scale_head(weights, (1, 2), 0.5)):
        inside = th.head_weights(model)
    with refuses("different models"), th.edited(model, th.scale_head(inside, (1, 2), 0.0)):
        pass


def test_hooks_of_a_base_are_kept_or_refused_and_never_left_out(model, weights, prompts, clean, refuses):
    early, late = th.channel(weights, [(1, 1, 0)]).set(3.0), th.channel(weights, [(2, 0, 0)]).set(5.0)
    both = th.rerun_last(model, clean, early + late)
    in_turn = th.rerun_last(model, th.rerun_last(model, clean, early, stop=2), late)
    torch.testing.assert_close(in_turn.resid, both.resid, **CLOSE)
    assert in_turn.hooked == both.hooked == {"blocks.1.attn.hook_z", "blocks.2.attn.hook_z"}
    base = th.run(model, prompts, "all", late)
    for call in (
        lambda: th.rerun_last(model, th.rerun_last(model, clean, late), early),
        lambda: th.rerun_last(model, base, early),
        lambda: th.rerun(model, base.resumable_at(2)),
        lambda: th.path_patch(model, base, base, [(0, 1)]),
    ):
        with refuses("the base was run with a hook at blocks.2.attn.hook_z, which would be left out"):
            call()
    with refuses("made with a hook at blocks.2.attn.hook_z"):
        th.patch_edges(model, base, base, th.Edge((2, 1)))
    th.patch_edges(model, base, base, EDGE)  # of a later layer, which is as it was


@pytest.mark.parametrize("point", ["hook_resid_pre", "hook_attn_out"])
def test_what_neither_heads_nor_mlps_wrote_is_not_credited_to_them(model, prompts, refuses, point):
    run = th.run(model, prompts, hooks=[(f"blocks.2.{point}", lambda x, hook: x + 1)])
    with refuses(f"made with a hook at blocks.2.{point}"):
        th.direct_logit_attribution(model, run)
    run = th.run(model, prompts, hooks=[("blocks.2.attn.hook_z", lambda z, hook: 2 * z)])
    total = th.direct_logit_attribution(model, run).total
    torch.testing.assert_close(total, th.logit_difference(model, run), atol=1e-4, rtol=1e-4)


def test_a_part_in_training_mode_is_refused(refuses):
    model = load("tiny-gpt2")
    model.original_model.transformer.h[1].train()
    with refuses("training mode"):
        th.run(model, th.tasks.ioi.generate(model, 2))


def test_end_is_no_padding(model, prompts, refuses):
    last = torch.full_like(prompts.end, prompts.tokens.shape[1] - 1)
    with refuses("END must be the last token: in .* of 10 prompts it is padding"):
        th.run(model, replace(prompts, positions=prompts.positions | {"END": last}))


def test_autocast_touches_no_weights(weights, clean, refuses):
    channel = th.channel(weights, [(1, 2, 0)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for call in (
            lambda: th.head_scores(weights, "Q"),
            lambda: channel.coordinates(clean),
            lambda: th.scale_component(weights, channel, 2.0),
            lambda: channel.set(1.0),
        ):
            with refuses("autocast is on"):
                call()


def test_parameters_that_were_replaced_are_seen(refuses):
    model = load("tiny-gpt2", fold=False)
    run = th.run(model, th.tasks.ioi.generate(model, 2), "all")
    model.enable_compatibility_mode(disable_warnings=True)  # folds
    with refuses("model and run come from different models"):
        th.logits(model, run)


def test_what_is_written_to_other_weights_inside_an_edit_is_seen(prompts, refuses):
    model = load("tiny-gpt2")
    before = th.state.fingerprint(model)
    with th.edited(model, th.scale_head(th.head_weights(model), (1, 2), 0.5)), torch.no_grad():
        th.parts.head_matrix(model, 3, "W_O").mul_(-3)
    assert th.state.fingerprint(model) != before


def test_an_equal_edit_made_again_is_the_same(model, weights, prompts):
    with th.edited(model, th.scale_head(weights, (1, 2), 0.5)):
        run = th.run(model, prompts)
    with th.edited(model, th.scale_head(weights, (1, 2), 0.5)):
        th.direct_logit_attribution(model, run)


def test_edits_that_z_does_not_show_are_no_new_run(model, weights, clean, prompts, refuses):
    with th.edited(model, th.scale_head(weights, (1, 2), 0.0)):
        written = th.run(model, prompts, "all")
    with th.edited(model, th.scale_query(weights, (1, 2), 0.0)):
        attended = th.run(model, prompts, "all")
    th.patch_edges(model, clean, attended, EDGE, [(1, 2)])
    with refuses("other edits of W_O or b_O"):
        th.patch_edges(model, clean, written, EDGE, [(1, 2)])


def test_hooks_that_only_look_and_streams_that_went_through_one_are_no_hindrance(model, weights, prompts, clean):
    look = [(f"blocks.{layer}.attn.hook_z", lambda z, hook: z) for layer in range(4)]
    assert not th.run(model, prompts, hooks=look).hooked
    noise = [("blocks.2.hook_resid_pre", lambda x, hook: x + 1)]
    base = th.run(model, prompts, "all", noise, keep=2)
    for again in (th.rerun(model, base.resumable_at(2)), th.rerun(model, base), th.rerun_last(model, base, start=2)):
        torch.testing.assert_close(again.at().resid, base.at().resid, **CLOSE)
        assert again.hooked == base.hooked
    with torch.inference_mode():
        torch.testing.assert_close(th.run(model, prompts, hooks=noise).resid, base.at().resid[:, :, None], **CLOSE)


def test_a_stream_that_a_hook_sets_carries_no_edge(model, prompts, refuses):
    base = th.run(model, prompts, "all", [("blocks.2.hook_resid_pre", lambda x, hook: 0 * x)])
    with refuses("made with a hook at blocks.2.hook_resid_pre"):
        th.patch_edges(model, base, base, EDGE, [(0, 1)])


# --- what changes a model behind the back of a run ---


def own_end(model, prompts):
    return model(prompts.tokens)[range(len(prompts)), prompts.end]


def inner(model):
    """The last block as transformers has it."""
    return model.blocks[3].original_component


@pytest.mark.parametrize("block", [lambda model: model.blocks[3], inner])
def test_a_hook_of_pytorch_on_the_last_block_acts(block):
    model = load("tiny-llama")
    prompts = th.tasks.ioi.generate(model, 3)

    def more(module, args, out):
        return (1.5 * out[0], *out[1:]) if isinstance(out, tuple) else 1.5 * out

    before = th.logits(model, th.run(model, prompts))
    handle = block(model).register_forward_hook(more)
    found = th.logits(model, th.run(model, prompts))
    torch.testing.assert_close(found, own_end(model, prompts), atol=1e-4, rtol=1e-3)
    handle.remove()
    torch.testing.assert_close(th.logits(model, th.run(model, prompts)), before)


def doubled(module, args, out):
    return 2 * out


@pytest.mark.parametrize("change", [
    lambda model: model.original_model.transformer.drop.register_forward_hook(doubled),  # no part of the bridge
    lambda model: object.__setattr__(model.blocks[1].mlp, "forward", lambda x: 0 * x),
    lambda model: setattr(model.original_model.transformer, "drop", torch.nn.Dropout(0.5).train()),
    lambda model: setattr(model.original_model.transformer, "drop", torch.nn.Linear(32, 32).eval()),
])  # fmt: skip
def test_a_base_from_before_the_model_was_changed_is_refused(change):
    model = load("tiny-gpt2")
    prompts = th.tasks.ioi.generate(model, 3)
    clean = th.run(model, prompts)
    change(model)
    with pytest.raises(ValueError, match=r"hook of its own at|training mode|different models"):
        th.rerun_last(model, clean, th.channel(th.head_weights(load("tiny-gpt2")), [(1, 0, 0)]).scale(0.0))


@pytest.mark.parametrize("whole", [lambda m: m, lambda m: m.original_model, lambda m: m.original_model.transformer])
def test_hooks_on_the_whole_model_are_refused(whole, refuses):
    model = load("tiny-gpt2")
    prompts = th.tasks.ioi.generate(model, 2)
    whole(model).register_forward_hook(lambda module, args, out: out)
    with refuses("where runs do not come by"):
        th.run(model, prompts)


def test_a_copy_of_a_model_is_looked_at_anew(refuses):
    model = load("tiny-gpt2")
    prompts = th.tasks.ioi.generate(model, 2)
    th.run(model, prompts)
    copied = copy.deepcopy(model)
    copied.original_model.transformer.drop.train()
    with refuses("training mode"):
        th.run(copied, prompts)
    th.run(model, prompts)


def test_the_same_weights_under_another_configuration_are_another_model():
    one, other = load("tiny-llama"), load("tiny-llama")
    other.original_model.config.rope_parameters["rope_theta"] = 50.0
    assert th.state.fingerprint(one) != th.state.fingerprint(other)
    assert th.state.fingerprint(one) == th.state.fingerprint(load("tiny-llama"))


def test_a_refusal_from_a_passing_state_is_not_kept(refuses):
    model = load("tiny-llama")
    weights, prompts = th.head_weights(model), th.tasks.ioi.generate(model, 2)
    silent = [th.scale_head(weights, (2, head), 0.0) for head in range(4)]
    with th.edited(model, silent), refuses("does not change what it says"):
        th.run(model, prompts)
    assert len(th.run(model, prompts)) == 2
