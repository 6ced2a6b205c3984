"""Runs under odd input: stored runs are not written to, rows keep their order, and what cannot be meant is refused."""

import pytest
import torch

import th_utils as th


@pytest.fixture(scope="module")
def base(model, prompts):
    return th.run(model, prompts, keep=2)


def test_hooks_that_write_in_place_do_not_reach_stored_runs(model, base):
    def erase(value, hook):
        value.zero_()

    kept, resid = base.kept[1].clone(), base.resid.clone()
    for again in (th.rerun, th.rerun_last):
        after = again(model, base, [("blocks.2.hook_resid_pre", erase)])
        assert (after.resid[2] == 0).all(), "the hook must have acted"
    assert torch.equal(base.kept[1], kept) and torch.equal(base.resid, resid)


def test_rows_in_any_order_and_repeated_are_rerun_as_themselves(model, prompts, base):
    hooks = [("blocks.3.attn.hook_z", lambda z, hook: 1.5 * z)]
    whole = th.run(model, prompts, hooks=hooks)
    order = [9, 0, 0, 4]
    some = th.rerun(model, th.rows(base, torch.tensor(order)), hooks, batch_size=3)
    assert torch.allclose(some.resid, whole.resid[:, order], atol=1e-4)


def test_rows_take_what_indexes_prompts(base, prompts):
    mask = prompts.end == prompts.end.max()
    assert torch.equal(th.rows(base, mask).end, base.end[mask])
    assert len(th.rows(base, torch.tensor([], dtype=torch.long))) == 0


def test_indices_that_are_no_rows_are_refused(base, refuses):
    for index in (torch.tensor([10]), torch.tensor([0.5]), torch.ones(3, dtype=torch.bool)):
        with refuses("index"):
            th.rows(base, index)


def test_a_run_made_on_edited_weights_is_rerun_on_those_there_are_now(model, weights, prompts):
    with th.edited(model, th.scale_query(weights, (2, 1), -2.0)):
        edited = th.run(model, prompts, keep=1)
    torch.testing.assert_close(th.rerun(model, edited).resid, th.run(model, prompts).resid, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("keep", [1.5, -1, 4])
def test_layers_that_are_none_are_not_kept(model, prompts, refuses, keep):
    with refuses("keep must be a whole number"):
        th.run(model, prompts, keep=keep)


def test_hooks_must_fit(model, prompts, base, weights, refuses):
    with refuses(r"hook blocks.2.attn.hook_z returned \[1, 1, 4, 8\], expected \[10, 1, 4, 8\]"):
        th.rerun_last(model, base, [("blocks.2.attn.hook_z", lambda z, hook: z[:1])])
    with refuses("no hook point 'nonsense'"):
        th.rerun(model, base, [("nonsense", lambda value, hook: value)])
    channel = th.channel(weights, th.decompose_ov(weights), [(2, 1, 0)])
    for rows in (9, 11):  # with 9, the last batch of 4 would see one row for two prompts
        with refuses(f"values for {rows} prompts"):
            th.run(model, prompts, hooks=channel.set(torch.ones(rows, 1)), batch_size=4)


def test_no_prompts_are_refused(model, prompts, base, refuses):
    nothing = th.rows(base, slice(0, 0))
    with refuses("no prompts"):
        th.rerun(model, nothing)
    with refuses("at least one"):
        th.top1(model, nothing, prompts.select([]))


def test_what_the_model_says_needs_the_last_layer_and_the_runs_own_prompts(model, prompts, base, refuses):
    early = th.rerun_last(model, base, start=1, stop=2)
    for ask in (th.answer_loss, th.logit_difference, th.top1):
        with refuses("stops before layer 2"):
            ask(model, early, prompts)
        with refuses("batch=10|run of these prompts"):
            ask(model, base, prompts.select([0]))
    with refuses("see stop="):
        th.rerun_last(model, early, start=3)


@pytest.mark.parametrize("ids", [torch.full((10, 1), -1), torch.full((10, 1), 10**6), torch.ones(10, 1)])
def test_ids_are_tokens(model, base, refuses, ids):
    with refuses("ids must"):
        th.logits(model, base, ids)
