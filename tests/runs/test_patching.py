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
    layer, head = receiver
    found = th.patch_edges(model, clean, new, th.Edge(receiver, via, source="S2"))
    assert found.senders == tuple(h for h in weights.heads if h[0] < layer)
    assert torch.equal(found.clean_z, clean.at().z[layer, head])
    assert torch.equal(found.clean_pattern, clean.at().pattern[layer, head])
    for i, sender in enumerate(found.senders):
        streams = dict.fromkeys("qkv", clean.resid[layer])
        at = prompts.at("END" if via == "q" else "S2")
        streams[via] = streams[via] + sender_change(weights, clean, new, sender, at)
        pattern, z = reference.attention(model, weights, layer, *streams.values())
        torch.testing.assert_close(found.pattern[i], reference.at(pattern[:, head], prompts.end), **CLOSE)
        torch.testing.assert_close(found.z[i], reference.at(z[:, :, head], prompts.end), **CLOSE)
    assert (found.z - found.clean_z).abs().max() > 0.01, "at least one sender must matter, or this test is empty"


@pytest.mark.parametrize("via", ["q", "k", "v"])
def test_edges_can_be_read_at_another_position(model, weights, prompts, clean, via):
    """The edge from S2's (or S1+1's) writes into the query at S2; positions by name and by indices."""
    bad = th.run(model, ioi.corrupt(model, prompts, "ABC"), positions="all")
    layer, head = RECEIVER
    found = th.patch_edges(model, clean, bad, th.Edge(RECEIVER, via, "S2", "S1+1"), [SENDER])
    read_at, source = prompts.positions["S2"], prompts.positions["S1+1"]
    same = th.patch_edges(model, clean, bad, th.Edge(RECEIVER, via, read_at, source), [SENDER])
    assert torch.equal(found.z, same.z)
    streams = dict.fromkeys("qkv", clean.resid[layer])
    streams[via] = streams[via] + sender_change(weights, clean, bad, SENDER, read_at if via == "q" else source)
    pattern, z = reference.attention(model, weights, layer, *streams.values())
    torch.testing.assert_close(found.pattern[0], reference.at(pattern[:, head], read_at), **CLOSE)
    torch.testing.assert_close(found.z[0], reference.at(z[:, :, head], read_at), **CLOSE)


def test_runs_that_keep_end_only_are_enough_for_queries_and_chunks_do_not_matter(model, prompts, corrupted, clean, new):
    short = [th.run(model, p) for p in (prompts, corrupted)]
    one, other = (th.patch_edges(model, *runs, th.Edge(RECEIVER)) for runs in (short, (clean, new)))
    torch.testing.assert_close(one.z, other.z, **CLOSE)
    for via in "qkv":
        edge = th.Edge(RECEIVER, via, source="S2")
        one, other = (th.patch_edges(model, clean, new, edge, chunk=chunk) for chunk in (3, 64))
        torch.testing.assert_close(one[1:], other[1:], **CLOSE)


@pytest.mark.parametrize("via", ["q", "k", "v"])
def test_attention_stays_a_causal_distribution_and_a_senders_own_output_changes_nothing(
    model, prompts, clean, new, via
):
    edge = th.Edge(RECEIVER, via, source="S2")
    found, same = (th.patch_edges(model, clean, other, edge) for other in (new, clean))
    torch.testing.assert_close(found.pattern.sum(-1), torch.ones(found.pattern.shape[:2]))
    assert (found.pattern[:, torch.arange(found.pattern.shape[-1]) > prompts.end[:, None]] == 0).all()
    torch.testing.assert_close(same.pattern, same.clean_pattern.expand_as(same.pattern), **CLOSE)
    torch.testing.assert_close(same.z, same.clean_z.expand_as(same.z), **CLOSE)


def test_inside_edited_an_edge_carries_what_the_edited_sender_writes(model, weights, prompts, corrupted):
    """Against attention by hand with the edited weights, and against the full form, which runs the edited model."""
    layer, head = RECEIVER
    with th.edited(model, th.scale_head(weights, SENDER, -2.0)):
        live = th.head_weights(model)
        clean, new = (th.run(model, p, "all") for p in (prompts, corrupted))
        found = th.patch_edges(model, clean, new, th.Edge(RECEIVER), [SENDER])
        run = th.path_patch(model, clean, new, [SENDER], [RECEIVER], freeze_mlps=True)
        stream, z = clean.resid[layer], {}
        for name, these in (("live", live), ("of before", weights)):
            query = stream + sender_change(these, clean, new, SENDER, prompts.end)
            z[name] = reference.at(reference.attention(model, live, layer, query, stream, stream)[1], prompts.end)
    torch.testing.assert_close(found.z[0], z["live"][:, head], **CLOSE)
    torch.testing.assert_close(found.z[0], run.at().z[layer, head], **CLOSE)
    assert not torch.allclose(found.z[0], z["of before"][:, head], atol=1e-2), "stale weights must matter here"


# --- whole paths ---


@pytest.mark.parametrize("sender, receiver", [((0, 1), (1, 2)), ((0, 3), (3, 1)), ((2, 0), (3, 3))])
def test_with_frozen_mlps_a_path_is_its_edge(model, clean, new, sender, receiver):
    run = th.path_patch(model, clean, new, [sender], [receiver], freeze_mlps=True)
    found = th.patch_edges(model, clean, new, th.Edge(receiver), [sender])
    layer, head = receiver
    torch.testing.assert_close(run.pattern[layer, :, head, 0], found.pattern[0], **CLOSE)
    torch.testing.assert_close(run.z[layer, :, 0, head], found.z[0], **CLOSE)


def pattern_gap(model, clean, new, sender, receiver):
    """Largest difference of the receiver's attention between MLPs computed again and the bare edge."""
    run = th.path_patch(model, clean, new, [sender], [receiver])
    found = th.patch_edges(model, clean, new, th.Edge(receiver), [sender])
    return (run.pattern[receiver[0], :, receiver[1], 0] - found.pattern[0]).abs().max().item()


def test_the_full_form_differs_exactly_where_an_mlp_lies_between(model, clean, new):
    """A sequential block's MLP reads its own heads, so one lies between any two layers. In a parallel block
    it does not: there the full form and the edge agree for neighbouring layers, and part further on."""
    neighbour = max(pattern_gap(model, clean, new, (0, h), (1, r)) for h, r in ((0, 1), (2, 3)))
    further = max(pattern_gap(model, clean, new, (0, h), (2, r)) for h, r in ((0, 1), (2, 3)))
    assert further > 1e-2
    assert neighbour < 1e-5 if model.cfg.parallel_attn_mlp else neighbour > 1e-2


def test_only_the_receivers_query_is_replaced(model, clean, new):
    """Everything before the receiver, and every other head of its layer, is as in the clean run."""
    run = th.path_patch(model, clean, new, [SENDER], [RECEIVER])
    layer, head = RECEIVER
    others, before, after = [h for h in range(4) if h != head], clean.at().z, run.at().z
    torch.testing.assert_close(after[:layer], before[:layer], **CLOSE)
    torch.testing.assert_close(after[layer][others], before[layer][others], **CLOSE)
    assert not torch.allclose(after[layer, head], before[layer, head], atol=1e-3)


def test_all_heads_as_senders_give_the_new_run(model, weights, clean, new):
    """END holds the same token in both prompts, so all heads at once carry the whole difference."""
    run = th.path_patch(model, clean, new, weights.heads)
    torch.testing.assert_close(th.logits(model, run), th.logits(model, new), **CLOSE)
    assert not torch.allclose(th.logits(model, new), th.logits(model, clean), atol=0.1)


def test_direct_effect_on_the_logits_is_the_sum_of_writes_through_the_final_norm(model, weights, prompts, clean, new):
    pair = [SENDER, (1, 2)]
    run = th.path_patch(model, clean, new, pair, freeze_mlps=True)
    moved = clean.resid[-1] + sum(sender_change(weights, clean, new, s, prompts.end) for s in pair)
    final = reference.normalise(model, reference.at(moved, prompts.end))
    torch.testing.assert_close(th.logits(model, run), final @ model.W_U + model.b_U, **CLOSE)


def test_replacement_outputs_may_be_any_tensor(model, weights, clean):
    run = th.path_patch(model, clean, th.ablated(clean, None, "zero"), [SENDER], freeze_mlps=True)
    written = clean.at().z[0, 1] @ weights.W_O[SENDER]
    torch.testing.assert_close(run.at().resid[-1], clean.at().resid[-1] - written, **CLOSE)


@pytest.mark.parametrize("freeze_mlps", [False, True])
@pytest.mark.parametrize("receivers", [(), ((2, 2), (3, 0))])
def test_patching_with_the_clean_output_changes_nothing(model, clean, freeze_mlps, receivers):
    run = th.path_patch(model, clean, clean, [(0, 1), (1, 0)], receivers, freeze_mlps)
    torch.testing.assert_close(th.logits(model, run), th.logits(model, clean), **CLOSE)


def test_a_source_after_the_reader_is_refused(model, clean, refuses):
    with refuses("source must not come after read_at"):
        th.patch_edges(model, clean, clean, th.Edge((3, 1), "k", read_at="S1", source="END"))
