"""The circuit: arrows between the right nodes, as wide as their effect is large, coloured by its sign."""

import th_utils as th
from th_utils.views import COLOURS


def test_a_circuit_draws_every_edge_between_its_nodes(drawn):
    columns = {"movers": [(0, 1), (0, 2)], "": ["logits"]}
    edges = [((0, 1), "logits", -0.5), ((0, 2), "logits", 1.0)]
    th.views.circuit(columns, edges, "a finding", "two heads with an arrow to the logits each")
    (axis,) = drawn[0].axes
    nodes = {text.get_text(): text.get_position() for text in axis.texts if text.get_text()}
    assert nodes["0.1"][0] == nodes["0.2"][0] < nodes["logits"][0]
    against, helpful = (text for text in axis.texts if getattr(text, "arrow_patch", None))
    for arrow, name in ((against, "0.1"), (helpful, "0.2")):
        (x0, y0), (x1, y1) = arrow.xyann, arrow.xy
        assert nodes[name][0] < x0 < x1 < nodes["logits"][0] and (y0, y1) == (nodes[name][1], nodes["logits"][1])
    assert against.arrow_patch.get_linewidth() < helpful.arrow_patch.get_linewidth()
    assert [arrow.arrowprops["color"] for arrow in (against, helpful)] == [COLOURS[1], COLOURS[0]]
