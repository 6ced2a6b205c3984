"""Path patching, against attention written out by hand and against totals that must come out exactly."""

import pytest
import reference
import torch

import th_utils as th
from th_utils.tasks import ioi

CLOSE = {"rtol": 1e-3, "atol": 1e-4}
SENDER, RECEIVER = (0, 1), (2, 2)


def sender_change(weights, clean, new, sender, position):
    """What replacing one head's z at one position per prompt adds to the residual stream."""
    layer, head = sender
    change = (new.z - clean.z)[layer, :, :, head] @ weights.W_O[layer, head]
    here = torch.arange(change.shape[1]) == position[:, None]
    return change * here[..., None]


# --- one edge ---


@pytest.mark.parametrize("via", ["q", "k", "v"])
@pytest.mark.parametrize("receiver", [(1, 3), (3, 0)])
def test_edges_equal_attention_written_out(model, weights, prompts, clean, new, via, receiver):
    source = prompts.positions["S2"]
    changed_at = prompts.end if via == "q" else source
    layer, head = receiver
    senders, patterns, outputs = th.patch_edges(
        model, weights, clean, new, receiver, via, source=None if via == "q" else source
    )
    assert senders == [h for h in weights.heads if h[0] < layer]
    stream = clean.resid[layer]
    moved = 0.0
    for i, sender in enumerate(senders):
        streams = dict.fromkeys("qkv", stream)
        streams[via] = stream + sender_change(weights, clean, new, sender, changed_at)
        pattern, z = reference.attention(model, weights, layer, *streams.values())
        expected = reference.at(pattern[:, head], prompts.end)
        torch.testing.assert_close(patterns[i], expected, **CLOSE)
        torch.testing.assert_close(outputs[i], reference.at(z[:, :, head], prompts.end), **CLOSE)
        moved = max(moved, (outputs[i] - clean.at(clean.z)[layer, :, head]).abs().max().item())
    assert moved > 0.01, "at least one sender must matter, or this test is empty"


@pytest.mark.parametrize("via", ["q", "k", "v"])
def test_edges_can_be_read_at_another_position(model, weights, prompts, clean, new, via):
    """The edge from S2's (or S1+1's) writes into the query at S2."""
    read_at, source = prompts.positions["S2"], prompts.positions["S1+1"]
    bad = th.run(model, ioi.corrupt(model, prompts, "ABC"), positions="all")
    changed_at = read_at if via == "q" else source
    layer, head = RECEIVER
    _, patterns, outputs = th.patch_edges(model, weights, clean, bad, RECEIVER, via, [SENDER], read_at, source)
    streams = dict.fromkeys("qkv", clean.resid[layer])
    streams[via] = clean.resid[layer] + sender_change(weights, clean, bad, SENDER, changed_at)
    pattern, z = reference.attention(model, weights, layer, *streams.values())
    torch.testing.assert_close(patterns[0], reference.at(pattern[:, head], read_at), **CLOSE)
    torch.testing.assert_close(outputs[0], reference.at(z[:, :, head], read_at), **CLOSE)


def test_runs_that_keep_end_only_are_enough_for_queries(model, weights, prompts, corrupted, clean, new):
    short = [th.run(model, p) for p in (prompts, corrupted)]
    _, one, _ = th.patch_edges(model, weights, *short, RECEIVER, "q")
    _, other, _ = th.patch_edges(model, weights, clean, new, RECEIVER, "q")
    torch.testing.assert_close(one, other, **CLOSE)


@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_do_not_matter(model, weights, prompts, clean, new, chunk):
    for via in "qkv":
        source = prompts.positions["S2"]
        one = th.patch_edges(model, weights, clean, new, RECEIVER, via, source=source, chunk=chunk)
        other = th.patch_edges(model, weights, clean, new, RECEIVER, via, source=source)
        torch.testing.assert_close(one[1:], other[1:], **CLOSE)


@pytest.mark.parametrize("via", ["q", "k", "v"])
def test_a_senders_own_output_changes_nothing(model, weights, prompts, clean, via):
    _, patterns, outputs = th.patch_edges(model, weights, clean, clean, RECEIVER, via, source=prompts.positions["S2"])
    layer, head = RECEIVER
    torch.testing.assert_close(patterns, clean.at(clean.pattern, axis=3)[layer, :, head].expand_as(patterns), **CLOSE)
    torch.testing.assert_close(outputs, clean.at(clean.z)[layer, :, head].expand_as(outputs), **CLOSE)


def test_attention_stays_a_causal_distribution(model, weights, prompts, clean, new):
    for via in "qkv":
        _, patterns, _ = th.patch_edges(model, weights, clean, new, RECEIVER, via, source=prompts.positions["S2"])
        torch.testing.assert_close(patterns.sum(-1), torch.ones(patterns.shape[:2]))
        after = torch.arange(patterns.shape[-1]) > prompts.end[:, None]
        assert (patterns[:, after] == 0).all()


def test_impossible_edges_are_refused(model, weights, prompts, corrupted, clean, new, refuses):
    end_only = [th.run(model, p) for p in (prompts, corrupted)]
    source = prompts.positions["S2"]
    for match, arguments in (
        ("via must be 'q', 'k' or 'v'", (clean, new, RECEIVER, "o")),
        ("via='k' needs source", (clean, new, RECEIVER, "k")),
        ("via='v' needs source", (clean, new, RECEIVER, "v")),
        ("no head 9.0", (clean, new, (9, 0), "q")),
        ("no head 0.7", (clean, new, RECEIVER, "q", [(0, 7)])),
        (r"before receiver 2.2, got \[\(2, 0\)\]", (clean, new, RECEIVER, "q", [(0, 0), (2, 0)])),
        ("before receiver 2.2, got none", (clean, new, RECEIVER, "q", [])),
        ("before receiver 0.1, got none", (clean, new, (0, 1), "q")),
        ("differ in shape", (clean, end_only[1], RECEIVER, "q")),
        ("positions='all'", (*end_only, RECEIVER, "k", None, None, source)),
    ):
        with refuses(match):
            th.patch_edges(model, weights, *arguments)


# --- whole paths ---


@pytest.mark.parametrize("sender, receiver", [((0, 1), (1, 2)), ((0, 3), (3, 1)), ((2, 0), (3, 3))])
def test_with_frozen_mlps_a_path_is_its_edge(model, weights, clean, new, sender, receiver):
    run = th.path_patch(model, weights, clean, new, [sender], [receiver], freeze_mlps=True)
    _, patterns, outputs = th.patch_edges(model, weights, clean, new, receiver, "q", [sender])
    layer, head = receiver
    torch.testing.assert_close(run.pattern[layer, :, head, 0], patterns[0], **CLOSE)
    torch.testing.assert_close(run.z[layer, :, 0, head], outputs[0], **CLOSE)


def pattern_gap(model, weights, clean, new, sender, receiver):
    """Largest difference of the receiver's attention between MLPs computed again and the bare edge."""
    run = th.path_patch(model, weights, clean, new, [sender], [receiver])
    _, patterns, _ = th.patch_edges(model, weights, clean, new, receiver, "q", [sender])
    return (run.pattern[receiver[0], :, receiver[1], 0] - patterns[0]).abs().max().item()


def test_the_full_form_differs_exactly_where_an_mlp_lies_between(model, weights, clean, new):
    """A sequential block's MLP reads its own heads, so one lies between any two layers. In a parallel block
    it does not: there the full form and the edge agree for neighbouring layers, and part further on."""
    neighbour = max(pattern_gap(model, weights, clean, new, (0, h), (1, r)) for h, r in ((0, 1), (2, 3)))
    further = max(pattern_gap(model, weights, clean, new, (0, h), (2, r)) for h, r in ((0, 1), (2, 3)))
    assert further > 1e-2
    assert neighbour < 1e-5 if model.cfg.parallel_attn_mlp else neighbour > 1e-2


def test_only_the_receivers_query_is_replaced(model, weights, clean, new):
    """Everything before the receiver, and every other head of its layer, is as in the clean run."""
    run = th.path_patch(model, weights, clean, new, [SENDER], [RECEIVER])
    layer, head = RECEIVER
    others = [h for h in range(4) if h != head]
    clean_z = clean.at(clean.z)
    torch.testing.assert_close(run.z[:layer, :, 0], clean_z[:layer], **CLOSE)
    torch.testing.assert_close(run.z[layer, :, 0, others], clean_z[layer, :, others], **CLOSE)
    assert not torch.allclose(run.z[layer, :, 0, head], clean_z[layer, :, head], atol=1e-3)


def test_all_heads_as_senders_give_the_new_run(model, weights, prompts, clean, new):
    """END holds the same token in both prompts, so all heads at once carry the whole difference."""
    run = th.path_patch(model, weights, clean, new, weights.heads)
    torch.testing.assert_close(th.logits(model, run), th.logits(model, new), **CLOSE)
    assert not torch.allclose(th.logits(model, new), th.logits(model, clean), atol=0.1)


def test_direct_effect_on_the_logits_is_the_write_through_the_final_norm(model, weights, prompts, clean, new):
    run = th.path_patch(model, weights, clean, new, [SENDER], freeze_mlps=True)
    moved = clean.resid[-1] + sender_change(weights, clean, new, SENDER, prompts.end)
    final = reference.normalise(model, reference.at(moved, prompts.end))
    torch.testing.assert_close(th.logits(model, run), final @ model.W_U + model.b_U, **CLOSE)


def test_senders_act_together(model, weights, prompts, clean, new):
    pair = [(0, 1), (1, 2)]
    run = th.path_patch(model, weights, clean, new, pair, freeze_mlps=True)
    moved = clean.resid[-1] + sum(sender_change(weights, clean, new, s, prompts.end) for s in pair)
    torch.testing.assert_close(run.resid[-1, :, 0], reference.at(moved, prompts.end), **CLOSE)


@pytest.mark.parametrize("freeze_mlps", [False, True])
@pytest.mark.parametrize("receivers", [(), ((2, 2), (3, 0))])
def test_patching_with_the_clean_output_changes_nothing(model, weights, clean, freeze_mlps, receivers):
    run = th.path_patch(model, weights, clean, clean, [(0, 1), (1, 0)], receivers, freeze_mlps)
    torch.testing.assert_close(th.logits(model, run), th.logits(model, clean), **CLOSE)


def test_impossible_paths_are_refused(model, weights, corrupted, clean, new, refuses):
    for match, arguments in (
        ("senders must hold at least one head", (clean, new, [])),
        ("no head 4.0", (clean, new, [(4, 0)])),
        ("no head 0.4", (clean, new, [SENDER], [(0, 4)])),
        ("differ in shape", (clean, th.run(model, corrupted), [SENDER])),
        ("before receiver 1.3", (clean, new, [(1, 0), (2, 0)], [(3, 0), (1, 3)])),
    ):
        with refuses(match):
            th.path_patch(model, weights, *arguments)


# --- replacement outputs ---


def test_ablations_replace_with_what_they_say(prompts, clean, new):
    assert (th.ablated(clean, None, "zero") == 0).all() and th.ablated(clean, None, "zero").shape == clean.z.shape
    assert torch.equal(th.ablated(clean, new, "resample"), new.z)
    assert torch.equal(th.ablated(clean, new), new.z)


def test_mean_ablation_is_the_mean_over_the_batch_or_its_group(model, prompts, corrupted):
    clean, new = (th.run(model, p) for p in (prompts, corrupted))
    everyone = th.ablated(clean, new, "mean")
    torch.testing.assert_close(everyone, new.z.mean(1, keepdim=True).expand_as(new.z))
    groups = prompts.table.order
    grouped = th.ablated(clean, new, "mean", groups)
    for order in ("ABBA", "BABA"):
        members = torch.tensor((groups == order).to_numpy().copy())
        torch.testing.assert_close(
            grouped[:, members], new.z[:, members].mean(1, keepdim=True).expand_as(new.z[:, members])
        )
    assert not torch.allclose(grouped, everyone)


def test_mean_ablation_of_runs_of_all_positions_needs_equal_lengths(model, prompts, clean, new, refuses):
    """Position 12 of a short prompt is padding, which a mean over mixed lengths would use."""
    with refuses("different lengths"):
        th.ablated(clean, new, "mean")
    by_length = th.ablated(clean, new, "mean", prompts.end.tolist())
    for end in set(prompts.end.tolist()):
        members = prompts.end == end
        torch.testing.assert_close(
            by_length[:, members], new.z[:, members].mean(1, keepdim=True).expand_as(new.z[:, members])
        )


def test_mean_ablated_outputs_can_be_patched_in(model, weights, prompts, clean, new):
    z = th.ablated(clean, None, "zero")
    run = th.path_patch(model, weights, clean, z, [SENDER], freeze_mlps=True)
    layer, head = SENDER
    written = clean.at(clean.z)[layer, :, head] @ weights.W_O[layer, head]
    torch.testing.assert_close(run.resid[-1, :, 0], clean.at(clean.resid)[-1] - written, **CLOSE)


def test_impossible_ablations_are_refused(model, prompts, clean, new, refuses):
    short = th.run(model, prompts)
    for match, arguments in (
        ("unknown ablation 'noise'", (clean, new, "noise")),
        ("resample ablation needs a new run", (clean, None, "resample")),
        ("mean ablation needs a new run", (clean, short, "mean")),
        ("one label for each of the 10 prompts, got 3", (short, short, "mean", ["a", "b", "a"])),
    ):
        with refuses(match):
            th.ablated(*arguments)


def test_earlier_heads_are_all_heads_of_earlier_layers(weights):
    assert th.earlier_heads(weights, (2, 3)) == [(layer, head) for layer in (0, 1) for head in range(4)]
    assert th.earlier_heads(weights, (0, 0)) == []
