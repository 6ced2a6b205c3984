"""What a reader plausibly gets wrong is refused at the door, by an error that names what was given and expected.

Each row: a call, and what the message must say. Silence would be a wrong number: a negative index counts from the end,
too few values broadcast, a name for a model fails somewhere deep inside.
"""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import th_utils as th
from th_utils.tasks import ioi

ONE, POINT = torch.ones(1, 1), torch.zeros(1, 3)
S2 = th.Edge((3, 1), "v", source="S2")


@pytest.fixture(scope="module")
def w(tiny):
    """The right things, by a letter or a short name each."""
    m = tiny("tiny-llama")
    w = SimpleNamespace(m=m, W=th.head_weights(m), P=ioi.generate(m, 10, seed=1))
    w.run, w.new, w.end = th.run(m, w.P, "all"), th.run(m, ioi.corrupt(m, w.P, "ABC"), "all"), th.run(m, w.P)
    w.channel = th.channel(w.W, [(1, 2, 0), (1, 2, 3), (2, 0, 1)])
    w.tokens = w.P.tokens
    w.left = replace(w.P, tokens=torch.cat([torch.full((10, 2), 1), w.tokens], 1))
    w.scores = th.component_scores(w.W, "Q", [(2, 0), (3, 1)])
    w.spots = torch.stack([w.P.at("IO"), w.P.at("S1")], 1)
    w.ids = torch.stack([w.P.answer, w.P.distractor], 1)
    w.hook = [("blocks.1.attn.hook_z", lambda z, hook: z)]
    return w


ROWS = {
    "a name for a model": (lambda w: th.run("gpt2", w.P), "TransformerBridge from th.load_model.., got 'gpt2'"),
    "a name for a model's weights": (lambda w: th.head_weights("gpt2"), "TransformerBridge .* got 'gpt2'"),
    "a name to attribute": (lambda w: th.direct_logit_attribution("gpt2", w.run), "TransformerBridge .* got 'gpt2'"),
    "another class": (lambda w: th.find_circuit(w.m.original_model, w.run, w.new), "TransformerBridge .* got"),
    "a head outside the model": (lambda w: th.patch_edges(w.m, w.run, w.new, th.Edge((9, 0))), "no head 9.0: .* 0-3"),
    "a head from the end": (lambda w: th.component_scores(w.W, "Q", [(-1, 0)]), "no head -1.0: .* layers 0-3"),
    "a head to edit from the end": (lambda w: th.scale_head(w.W, (1, -1), 0.5), "no head 1.-1: .* heads 0-3"),
    "a head for a component": (lambda w: th.channel(w.W, [(1, 2)]), "expected 3"),
    "a component outside": (lambda w: th.channel(w.W, [(0, 0, 8)]), "component must be a whole number, 0-7, got 8"),
    "a layer from the end": (lambda w: th.run(w.m, w.P, keep=-1), "keep must be a whole number, 0-3, got -1"),
    "a fraction of a layer": (lambda w: w.run.resumable_at(1.5), "layer must be a whole number, 0-3, got 1.5"),
    "a late start": (lambda w: th.rerun_last(w.m, w.run, w.hook, start=2), "start must be a whole number, 0-1, got 2"),
    "an unknown mode": (lambda w: th.head_scores(w.W, "QK"), "mode must be 'Q', 'K' or 'V'.* got 'QK'"),
    "an unknown input": (lambda w: th.Edge((1, 0), "o"), "via must be 'q', 'k' or 'v'.* got 'o'"),
    "a value without its place": (lambda w: th.Edge((1, 0), "v"), "via='v' needs source="),
    "an unknown ablation": (lambda w: th.ablated(w.run, w.new, "noise"), "'noise': expected 'zero', 'mean' or"),
    "unknown positions": (lambda w: th.run(w.m, w.P, "last"), "positions must be 'end', 'all' or .* names, got 'last'"),
    "an unknown matrix": (lambda w: th.Edit("e", (1, 1), "W_E", ONE, ONE), "changes 'W_E': expected one of"),
    "an unknown place": (lambda w: w.run.at("S3"), "no position named 'S3': these prompts have"),
    "places for other prompts": (lambda w: w.run.at(w.P.end[:3]), "position must be .batch=10., got int64 .3."),
    "a place before the prompt": (lambda w: w.run.at().looks_at(w.P.end - 99), "position must lie between 0 and"),
    "a key for other prompts": (lambda w: w.run.at().looks_at(w.P.end[:3]), "position must be .batch=10., got int64"),
    "S2 of a run of END": (lambda w: w.end.at("S2"), "keeps 'end' only: name others in run.*positions="),
    "S2 of runs of END": (lambda w: th.patch_edges(w.m, w.end, w.end, S2), "keeps 'end' only: name others"),
    "a loss of a run of END": (lambda w: th.run_loss(w.m, w.end), "positions='all' .* got 'end'"),
    "a run kept nowhere": (lambda w: th.rerun(w.m, w.run), "kept no layer to resume from: call run.*keep="),
    "a short run": (lambda w: th.logits(w.m, th.rerun_last(w.m, w.run, start=1, stop=2)), "stops before layer"),
    "no prompts": (lambda w: th.run(w.m, w.P.select([])), "no prompts to run: was everything filtered out"),
    "padding on the left": (lambda w: th.run(w.m, w.left), "padded on the right: 10 of 10 begin with padding"),
    "tokens of another model": (lambda w: th.run(w.m, replace(w.P, tokens=w.tokens + 9999)), "must lie between 0"),
    "prompts that are too long": (lambda w: th.run(w.m, replace(w.P, tokens=w.tokens.repeat(1, 30))), "is 512: cut"),
    "fewer new prompts": (lambda w: th.patch_edges(w.m, w.run, w.new.select([0]), S2), "differ in where"),
    "means of fewer prompts": (lambda w: th.ablated(w.run, w.new.select([0]), "mean"), "different shapes .*batch"),
    "places as positions": (lambda w: th.run(w.m, w.P, [w.P.end]), "'end', 'all' or a list of names"),
    "outputs of END": (lambda w: th.ablated(w.run, w.end), "keep 'all' and 'end': use the same positions="),
    "a later sender": (lambda w: th.patch_edges(w.m, w.run, w.new, S2, [(3, 0)]), "before receiver 3.1, got 3.0"),
    "no senders": (lambda w: th.patch_edges(w.m, w.run, w.new, S2, []), "before receiver 3.1, got none"),
    "a path back": (lambda w: th.path_patch(w.m, w.run, w.new, [(2, 0)], [(1, 3)]), "before receiver 1.3"),
    "one change": (lambda w: th.patch_input(w.m, w.run, S2, torch.ones(1, 1, 32)), "changes must be .n, batch=10"),
    "too few values": (lambda w: w.channel.set([1.0, 2.0]), "one for each of 1.2.0, .* got shape .2,."),
    "one factor": (lambda w: w.channel.scale(torch.ones(10, 1)), " or .batch, 3., got shape .10, 1."),
    "fewer values": (lambda w: th.run(w.m, w.P, hooks=w.channel.set(torch.ones(9, 3))), "values for 9 prompts"),
    "values that are no numbers": (lambda w: w.channel.set(float("nan")), "value must be finite real numbers"),
    "replacing at END": (lambda w: th.keep_heads(w.m, w.P, w.end.z, []), "replacement must be .layers=4"),
    "a row of a mask": (lambda w: th.keep_heads(w.m, w.P, w.new.z, torch.ones(1, 4) > 0), "mask must be .4, 4., one"),
    "one label": (lambda w: th.ablated(w.end, w.end, "mean", ["a"]), "one label for each of the 10 prompts, got 1"),
    "a mask of other prompts": (lambda w: w.run.select(torch.ones(3) > 0), "one entry for each of the 10 prompts"),
    "rows from floats": (lambda w: w.run.select([0.5]), "rows must choose among 10 prompts by indices or a mask"),
    "fewer tokens": (lambda w: th.logits(w.m, w.run, w.ids[:3]), "ids must be .batch=10, k., got int64 .3, 2."),
    "tokens from the end": (lambda w: th.logits(w.m, w.run, w.ids * 0 - 1), "ids must lie between 0 and"),
    "fewer answers": (lambda w: w.run.judged_by(w.ids[:3, 0], w.ids[:3, 1]), "answer .*3"),
    "texts of other runs": (lambda w: th.divergence(w.m, w.run, w.new), "runs of the same tokens with positions='all'"),
    "an unknown hook": (lambda w: th.run(w.m, w.P, hooks=[("blocks.0.attn.hook_k", print)]), "no hook point .*hook_q"),
    "a hook of a later model": (lambda w: th.rerun_last(w.m, w.run, [("blocks.9.attn.hook_z", print)]), "blocks.<0-3>"),
    "another reader": (lambda w: w.scores.rank((0, 1), (3, 3)), "no scores into 3.3: .* are 2.0, 3.1"),
    "a rank without its reader": (lambda w: w.scores.rank((0, 1)), "name the reader, one of 2.0, 3.1"),
    "fewer effects": (lambda w: th.predictive_power(w.scores, w.scores.values[..., :1], 0), "must have one shape"),
    "weights with NaN": (lambda w: replace(w.W, W_O=w.W.W_O * float("nan")), "W_O holds NaN or infinite .* damaged"),
    "half precision": (lambda w: w.W.to(torch.half), "W_Q must be float32 or float64, got torch.float16"),
    "transposed weights": (lambda w: replace(w.W, W_O=w.W.W_O.mT), "W_O has shape .*expected"),
    "one direction": (lambda w: th.scale_reading(w.W, (1, 0), torch.ones(32), 0.0), r"\[n, d_model=32\], got"),
    "codes of padding": (lambda w: th.position_codes(w.m, w.run, (2, 0), torch.eye(32), w.ids + 99), "positions must"),
    "too early a head": (lambda w: th.traverse(w.m, w.run, w.channel, POINT, [(1, 0)], w.spots), "channel's"),
    "points in a plane": (lambda w: th.traverse(w.m, w.run, w.channel, POINT[:, :2], [(2, 0)], w.spots), "=3"),
    "an empty choice": (lambda w: th.best_settings(w.m, w.run, w.channel, w.ids, w.P.end * 0, 5), "none for .1."),
    "the margin of one point": (lambda w: th.margins([[1.0, 2.0]]), "need points .items >= 2, k. and one offset each"),
    "a share of shares": (lambda w: th.stats.share([0.5, 1.0]), "hits must be true/false or 0/1: use mean"),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_what_a_reader_gets_wrong_is_named(w, refuses, row):
    call, message = ROWS[row]
    with refuses(message, (ValueError, TypeError, KeyError)):
        call(w)
