"""The search for the circuit: effects are what patching says, and code that needs a head gets one."""

import pytest
import torch

import th_utils as th
from th_utils.runs.ioi_circuit import attention_gap
from th_utils.tasks import ioi


@pytest.fixture(scope="module", params=["tiny-gpt2", "tiny-neox", "tiny-llama"])
def setting(request):
    model = th.load_model(request.param)
    prompts = ioi.generate(model, 12, seed=0)
    clean = th.run(model, prompts, "all")
    new = th.run(model, ioi.corrupt(model, prompts, "ABC", seed=1), "all")
    return model, th.head_weights(model), prompts, clean, new


def test_gap_is_attention_on_io_minus_s1(setting):
    _, _, prompts, clean, _ = setting
    rows = th.attention_between(clean, prompts, "END", "IO") - th.attention_between(clean, prompts, "END", "S1")
    torch.testing.assert_close(th.clean_gap(clean, prompts, (2, 1)), rows[2, 1])


def test_effects_are_zero_when_nothing_is_exchanged(setting):
    model, weights, prompts, clean, _ = setting
    effects = th.query_effects(model, weights, clean, clean, prompts, [(3, 0), (2, 1)])
    fed = th.value_effects(model, weights, clean, clean, prompts, [(2, 2), (0, 1)], [(3, 0)])
    assert effects.abs().to_numpy().max() < 1e-3 and fed.abs().to_numpy().max() < 1e-3


def test_query_effects_match_a_run_with_the_edge_patched(setting):
    """Independent road: the full form with frozen MLPs, through a re-run of the last token."""
    model, weights, prompts, clean, new = setting
    effects = th.query_effects(model, weights, clean, new, prompts, [(3, 2)])
    before = th.clean_gap(clean, prompts, (3, 2)).mean()
    for sender in [(0, 1), (2, 3)]:
        patched = th.path_patch(model, weights, clean, new, [sender], [(3, 2)], freeze_mlps=True)
        expected = float((before - th.clean_gap(patched, prompts, (3, 2)).mean()) / before)
        assert effects.loc[sender].iloc[0] == pytest.approx(expected, abs=1e-3, rel=1e-3)


def test_value_effects_go_through_the_middle_head_only(setting):
    """Independent road: put the middle head's patched output into the mover's query by hand."""
    model, weights, prompts, clean, new = setting
    middle, mover, sender = (2, 0), (3, 1), (1, 2)
    fed = th.value_effects(model, weights, clean, new, prompts, [middle], [mover])
    _, _, z = th.patch_edges(model, weights, clean, new, middle, "v", [sender], source=prompts.positions["S2"])
    replaced = clean.z.clone()
    replaced[2, torch.arange(len(prompts)), clean.end, 0] = z[0]
    _, patterns, _ = th.patch_edges(model, weights, clean, replaced, mover, "q", [middle])
    before = th.clean_gap(clean, prompts, mover).mean()
    expected = float((before - attention_gap(patterns, prompts).mean()) / before)
    assert fed.loc[sender].iloc[0] == pytest.approx(expected, abs=1e-3, rel=1e-3)


def test_a_circuit_always_has_a_mover_and_an_inhibitor(setting):
    model, weights, prompts, clean, new = setting
    strict = th.Thresholds(attention=2.0, attribution=2.0, effect=1e9)
    circuit = th.find_circuit(model, weights, prompts, clean, new, thresholds=strict)
    assert circuit.forced == ("name mover", "S-inhibition")
    (mover,), (inhibitor,) = circuit["name mover"], circuit["S-inhibition"]
    assert inhibitor[0] < mover[0]
    assert all(not heads for role, heads in circuit.roles.items() if role not in circuit.forced)
    with pytest.raises(KeyError, match="no role 'mover'"):
        circuit["mover"]
