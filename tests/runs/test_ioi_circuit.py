"""The search for the circuit: tables are means, effects are what patching says, roles follow their definitions."""

import pandas as pd
import pytest
import torch

import th_utils as th
from th_utils.tasks import ioi

MOVER = (3, 2)


@pytest.fixture(scope="module")
def abc(model, prompts):
    return th.run(model, ioi.corrupt(model, prompts, "ABC", seed=1), "all")


def test_head_table_holds_the_means(model, weights, clean):
    table, direct = th.head_table(model, clean), th.direct_logit_attribution(model, clean)
    assert list(table.index) == weights.heads
    assert table.attribution.sum() == pytest.approx(direct.heads.mean(-1).sum().item(), rel=1e-4)
    for head in [(0, 0), (2, 3)]:
        row = table.loc[head]
        assert row["attribution"] == pytest.approx(direct.heads[head].mean().item(), rel=1e-4)
        assert row["share"] * direct.total.mean().item() == pytest.approx(row["attribution"], rel=1e-3)
        assert row["S2→S1+1"] == pytest.approx(clean.at("S2").looks_at("S1+1")[head].mean().item())


def test_gap_is_attention_on_io_minus_s1(clean):
    expected = (clean.at().looks_at("IO") - clean.at().looks_at("S1"))[MOVER]
    torch.testing.assert_close(th.clean_gap(clean, MOVER), expected)


def test_effects_are_zero_when_nothing_is_exchanged(model, clean):
    effects = th.query_effects(model, clean, clean, [MOVER, (2, 1)])
    fed = th.value_effects(model, clean, clean, [(2, 2), (0, 1)], [MOVER])
    assert effects.abs().to_numpy().max() < 1e-3 and fed.abs().to_numpy().max() < 1e-3


def test_query_effects_match_a_run_with_the_edge_patched(model, clean, abc):
    """Independent road: the full form with frozen MLPs, through a re-run of the last token."""
    effects, before = th.query_effects(model, clean, abc, [MOVER]), th.clean_gap(clean, MOVER).mean()
    for sender in [(0, 1), (2, 3)]:
        patched = th.path_patch(model, clean, abc, [sender], [MOVER], freeze_mlps=True)
        expected = float((before - th.clean_gap(patched, MOVER).mean()) / before)
        assert effects.loc[sender].iloc[0] == pytest.approx(expected, abs=1e-3, rel=1e-3)


def test_value_effects_go_through_the_middle_head_only(model, clean, abc):
    """Independent road: put the middle head's patched output into the mover's query by hand."""
    middle, sender = (2, 0), (1, 2)
    fed = th.value_effects(model, clean, abc, [middle], [MOVER])
    replaced = clean.z.clone()
    z = th.patch_edges(model, clean, abc, th.Edge(middle, "v", source="S2"), [sender]).z[0]
    replaced[2, torch.arange(len(clean)), clean.end, 0] = z
    found = th.patch_edges(model, clean, replaced, th.Edge(MOVER), [middle])
    before = th.clean_gap(clean, MOVER).mean()
    expected = float((before - th.attention_gap(found.pattern, clean.prompts).mean()) / before)
    assert fed.loc[sender].iloc[0] == pytest.approx(expected, abs=1e-3, rel=1e-3)


def head_rows(**rows):
    columns = ["share", "END→IO", "END→S1", "END→S2", "S2→S1", "S2→S1+1", "previous token"]
    heads = [tuple(map(int, name[1:].split("_"))) for name in rows]
    index = pd.MultiIndex.from_tuples(heads, names=["layer", "head"])
    return pd.DataFrame([[row.get(c, 0.0) for c in columns] for row in rows.values()], index, columns)


TABLE = head_rows(
    h0_1={"previous token": 0.9}, h1_0={"S2→S1": 0.3}, h1_1={"S2→S1": 0.8}, h2_2={"S2→S1+1": 0.5},
    h5_0={"share": 0.10, "END→IO": 0.6}, h5_1={"share": 0.40, "END→IO": 0.5, "END→S1": 0.1},
    h6_0={"share": -0.2, "END→IO": 0.4}, h6_1={"share": 0.2, "END→S2": 0.7},
    h7_0={"share": 0.3, "END→IO": 0.3, "END→S1": 0.35}, h7_1={"share": 0.01, "END→IO": 0.9},
)  # fmt: skip


def test_roles_follow_their_definitions_strongest_first():
    assert th.mover_roles(TABLE) == {
        "name mover": [(5, 1), (5, 0)], "negative name mover": [(6, 0)], "subject suppressor": [(6, 1)],
    }  # fmt: skip
    assert th.source_roles(TABLE) == {
        "duplicate token": [(1, 1), (1, 0)], "induction": [(2, 2)], "previous token": [(0, 1)],
    }  # fmt: skip
    loose, strict = th.Thresholds(attribution=0.005), th.Thresholds(attention=0.55)
    assert (7, 1) in th.mover_roles(TABLE, loose)["name mover"]
    assert th.mover_roles(TABLE, strict)["name mover"] == [(5, 0)]
    assert th.source_roles(TABLE, strict)["duplicate token"] == [(1, 1)]


def test_a_circuit_always_has_a_mover_and_an_earlier_inhibitor(model, clean, abc):
    strict = th.Thresholds(attention=2.0, attribution=2.0, effect=1e9)
    circuit = th.find_circuit(model, clean, abc, thresholds=strict)
    assert circuit.forced == ("name mover", "S-inhibition")
    (mover,), (inhibitor,) = circuit["name mover"], circuit["S-inhibition"]
    assert inhibitor[0] < mover[0]
    assert all(not heads for role, heads in circuit.roles.items() if role not in circuit.forced)
