"""What the sections of a report measure: identities, planted structure, agreement with an independent computation."""

from dataclasses import replace

import pytest
import torch

import th_utils as th
from th_utils.report import measure, steer
from th_utils.report.measure import QUICK, Settings

SETTINGS = replace(QUICK, directions=2)


@pytest.fixture(scope="module")
def m(tiny):
    return tiny("tiny-llama")


@pytest.fixture(scope="module")
def pair(m):
    return measure.halves(m, SETTINGS)


def test_the_halves_share_no_name_and_no_template_and_are_balanced(m):
    tables = [prompts.table for prompts in measure.halves(m, Settings())]
    names = [set(table.IO) | set(table.S) for table in tables]
    assert not names[0] & names[1] and not set(tables[0].template) & set(tables[1].template)
    counts = [set(table.groupby(["template", "order"]).size()) for table in tables]
    assert counts == [{112 // 16}, {112 // 14}], "every template in both orders equally often"


def test_accuracy_is_that_of_the_models_own_forward_pass(m, pair):
    found, prompts = measure.task(m, SETTINGS, {}), pair[1]
    last = m(prompts.tokens)[torch.arange(len(prompts)), prompts.end]
    right, wrong = (last.gather(1, ids[:, None])[:, 0] for ids in (prompts.answer, prompts.distractor))
    assert found["accuracy"]["value"] == pytest.approx(float((right > wrong).double().mean()))
    assert found["logit_difference"]["value"] == pytest.approx(float((right - wrong).mean()), abs=1e-4)
    assert found["top1"]["value"] == pytest.approx(float((last.argmax(-1) == prompts.answer).double().mean()))


def test_all_heads_kept_leave_everything_and_random_circuits_of_all_heads_too(m, pair):
    every = th.head_weights(m).heads
    found = measure._faithfulness(m, pair[1], every, SETTINGS)
    assert found["keep"]["value"] == pytest.approx(1, abs=1e-4)
    assert found["control"]["kept"] == pytest.approx([1] * len(found["control"]["kept"]), abs=1e-3)
    assert found["control"]["out"] != pytest.approx([1] * len(found["control"]["out"]), abs=1e-2)


@pytest.fixture(scope="module")
def turned(m, pair):
    weights = th.head_weights(m)
    choose, base = (th.run(m, prompts) for prompts in pair)
    one = th.channel(weights, [(1, 2, 0), (2, 0, 1)])
    return choose, base, one, steer._turned(m, SETTINGS, choose, base, one, [(2, 1), (3, 1)])


def test_factor_one_is_nature_for_the_channel_and_for_its_control(m, turned):
    choose, base, one, found = turned
    doses = {dose["factor"]: dose for dose in found["doses"]}
    natural = float(measure.gap(base, [(2, 1), (3, 1)]).mean())
    assert doses[1]["gap"]["value"] == pytest.approx(natural, abs=1e-4)
    assert doses[1]["control"]["gap"]["value"] == pytest.approx(natural, abs=1e-4)
    assert doses[1]["logit_difference"]["value"] == pytest.approx(float(th.logit_difference(m, base).mean()), abs=1e-3)
    assert doses[-3]["gap"]["value"] != pytest.approx(natural, abs=1e-3)


def test_mirrored_is_a_reflection_at_the_middle_of_the_two_orders(m, turned):
    """By a whole run of the model's own, with the coordinates changed in a hook on z."""
    choose, base, one, found = turned
    c, known, rows = one.coordinates(base), one.coordinates(choose), measure.abba(choose.prompts)
    middle = (known[rows].double().mean(0) + known[~rows].double().mean(0)) / 2
    hooks = one.set((2 * middle - c).float(), at=base.prompts.end)
    whole = th.run(m, base.prompts, hooks=hooks)
    expected = float(th.logit_difference(m, whole).mean())
    mirrored = next(dose for dose in found["doses"] if dose["factor"] == -1)
    assert mirrored["logit_difference"]["value"] == pytest.approx(expected, abs=1e-3)


def test_a_direction_from_a_component_is_nearest_to_it(turned):
    found = turned[3]
    assert [tuple(one["component"]) for one in found["nearest"]] == [(1, 2, 0), (2, 0, 1)]
    assert [one["cosine"] for one in found["nearest"]] == pytest.approx([1, 1], abs=1e-5)


def test_steering_makes_the_channel_again_from_what_the_json_holds(m, turned):
    one, chosen = turned[2], turned[3]
    small = replace(SETTINGS, lists=12, directions=1)
    pools = th.tasks.laundry_list.pools(m, 2, 0, frames=("buy",))
    found = steer._steering(m, small, chosen, pools)
    assert found["names"] == one.names and found["items"] == 5 and len(found["control"]["contrasts"]) == 1
    gain = found["steered"]["value"] - found["unsteered"]["value"]
    assert found["gain"]["value"] == pytest.approx(gain, abs=1e-6)
    assert found["contrast"]["value"] == pytest.approx(
        found["steered"]["value"] - found["control"]["wrong place"]["value"], abs=1e-6
    )
    assert steer.lists(m, small, {"channel": {"refused": "no"}})["steering"] == {}


def test_components_are_ranked_as_th_ranks_them(m):
    weights = th.head_weights(m)
    found = {"circuit": {"roles": {"name mover": [[3, 2]], "S-inhibition": [[1, 0], [2, 3]]}, "effects": [[0.2] * 16]}}
    section = measure.components(m, SETTINGS, found)
    scores = th.component_scores(weights, "Q", [(3, 2)])
    for edge, head in zip(section["edges"], [(1, 0), (2, 3)], strict=True):
        values = weights.ov.write[head] @ weights.W_Q[3, 2] @ weights.W_K[3, 2].T
        expected = values.norm(dim=-1) / torch.linalg.matrix_norm(weights.W_Q[3, 2] @ weights.W_K[3, 2].T)
        assert edge["score"] == pytest.approx(float(expected.max()), rel=1e-4)
        assert edge["rank"] == scores.rank(head).rank and edge["of"] == 3 * 4 * 8
        assert edge["null_high"] < 1 and edge["score"] < edge["null_high"] + 3
    assert len(section["top"]) == 10
    assert section["top"][0]["score"] == pytest.approx(float(scores.values[scores.values.isfinite()].max()))
