"""Weights, runs, channels and edits know their model: those of another one are refused by name, even of one shape."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tiny_models import load

import th_utils as th
from th_utils.tasks import ioi


def everything_of(model) -> SimpleNamespace:
    made = SimpleNamespace(model=model, weights=th.head_weights(model), prompts=ioi.generate(model, 4, seed=1))
    made.clean = th.run(model, made.prompts, "all", keep=1)
    made.new = th.run(model, ioi.corrupt(model, made.prompts, "ABC"), "all")
    made.channel = th.channel(made.weights, [(1, 2, 0)])
    made.edit = th.scale_head(made.weights, (1, 2), 0.5)
    made.spots = torch.stack([made.prompts.at("IO"), made.prompts.at("S1")], 1)
    return made


@pytest.fixture(scope="module")
def mine(tiny):
    return everything_of(tiny("tiny-gpt2"))


@pytest.fixture(scope="module", params=[dict(seed=1), dict(fold=False)], ids=["another seed", "not folded"])
def other(request, tiny):
    """A model of the same shape."""
    return everything_of(tiny("tiny-gpt2", **request.param))


def applied(model, edit):
    with th.edited(model, edit):
        return None


EDGE = th.Edge((3, 1))
MIXED = {  # what is called with things of my model and of the other one, and which of them are named
    "random_channel": (lambda m, o: th.random_channel(m.weights, o.channel), "weights and channel"),
    "scale_component": (lambda m, o: th.scale_component(m.weights, o.channel, 0.5), "weights and channel"),
    "set_component": (lambda m, o: th.set_component(o.weights, m.channel, 1.0), "weights and channel"),
    "coordinates": (lambda m, o: m.channel.coordinates(o.clean), "channel and run"),
    "rerun": (lambda m, o: th.rerun(m.model, o.clean), "model and run"),
    "rerun_last": (lambda m, o: th.rerun_last(m.model, o.clean), "model and run"),
    "logits": (lambda m, o: th.logits(m.model, o.clean), "model and run"),
    "logit_difference": (lambda m, o: th.logit_difference(m.model, o.clean), "model and run"),
    "divergence": (lambda m, o: th.divergence(m.model, m.clean, o.clean), "model and run"),
    "attribution": (lambda m, o: th.direct_logit_attribution(m.model, o.clean), "model and run"),
    "edges of clean": (lambda m, o: th.patch_edges(m.model, o.clean, o.new, EDGE), "model and run"),
    "edges of new": (lambda m, o: th.patch_edges(m.model, m.clean, o.new, EDGE), "clean and new"),
    "path_patch": (lambda m, o: th.path_patch(m.model, m.clean, o.new, [(0, 1)]), "clean and new"),
    "ablated": (lambda m, o: th.ablated(m.clean, o.new, "resample"), "clean and new"),
    "traverse": (lambda m, o: th.traverse(m.model, m.clean, o.channel, [[1.0]], [(2, 0)], m.spots), "channel and run"),
    "codes": (lambda m, o: th.position_codes(m.model, o.clean, (2, 1), torch.eye(32), m.spots), "model and run"),
    "edited": (lambda m, o: applied(m.model, o.edit), "model and edit"),
    "save_edits": (lambda m, o: th.save_edits("never.safetensors", [o.edit], m.model), "model and edit"),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXED)
def test_things_of_two_models_are_refused_by_name(mine, other, refuses, name):
    call, named = MIXED[name]
    with refuses(f"{named} come from different models"):
        call(mine, other)
    if name != "save_edits":
        call(mine, mine)  # and of one they are not


def test_records_made_by_hand_fit_everywhere(mine, other):
    """They have no fingerprint; whoever makes them answers for them."""
    th.scale_component(replace(other.weights, fingerprint=None), mine.channel, 0.5)
    replace(other.channel, fingerprint=None).coordinates(mine.clean)
    th.rerun_last(mine.model, replace(other.clean, fingerprint=None))
    th.patch_edges(mine.model, mine.clean, replace(other.new, fingerprint=None), EDGE)
    applied(mine.model, replace(other.edit, fingerprint=None))


def test_a_fingerprint_is_that_of_the_weights(mine, other):
    again = load("tiny-gpt2")
    assert th.state.fingerprint(again) == th.state.fingerprint(mine.model) != th.state.fingerprint(other.model)
    assert mine.weights.fingerprint == mine.clean.fingerprint == mine.channel.fingerprint == mine.edit.fingerprint
    with th.edited(mine.model, mine.edit):
        assert (
            th.state.fingerprint(mine.model) == mine.clean.fingerprint == th.run(mine.model, mine.prompts).fingerprint
        )
    with th.edited(again, mine.edit):  # what was made with one copy of a model can be used with another one
        th.rerun_last(again, mine.clean, start=mine.edit.head[0])


def test_a_new_run_of_other_prompts_is_refused(mine, refuses):
    """The same number and length of prompts, but their names are in other places."""
    turned = mine.new.select([3, 2, 1, 0])
    assert turned.z.shape == mine.clean.z.shape
    for call in (lambda: th.patch_edges(mine.model, mine.clean, turned, EDGE),
                 lambda: th.path_patch(mine.model, mine.clean, turned, [(0, 1)]),
                 lambda: th.ablated(mine.clean, turned, "resample")):  # fmt: skip
        with refuses("differ in where .*S2.* is: corrupt clean's"):
            call()
