"""The map of a circuit: heads stand where they write, at the height of their layer, and lines say what they carry."""

import re
import xml.etree.ElementTree as ElementTree

import th_utils as th
from th_utils.views.glyphs import colour

RAILS = {"IO": "Anna", "S1": "James", "S2": "James", "END": "to"}
ROLES = {"name mover": [(4, 0)], "S-inhibition": [(3, 1), (3, 2)], "duplicate token": [(1, 1)]}
HEADS = {"S2": [(1, 1)], "END": [(3, 1), (4, 0), (3, 2), (2, 0)]}
TEXT = {"title": "A <finding>", "alt": 'Five "heads" on four rails.'}


def elements(kind, **lines):
    html = th.views.floors(RAILS, HEADS, ROLES, range(6), **TEXT, **lines)._repr_mimebundle_()["text/html"]
    return [*ElementTree.fromstring(html).iter(kind)]


def at(text):
    """Where a text stands, and its colour."""
    (one,) = [one for one in elements("text", answer="Ann & Co") if one.text == text]
    return float(one.get("x")), float(one.get("y")), one.get("fill")


def test_heads_stand_on_the_rail_of_their_token_at_the_height_of_their_layer():
    names = {"1.1 D": 1, "2.0": 2, "3.1": 3, "3.2": 3, "4.0": 4}
    heights = {layer: {at(name)[1] for name, one in names.items() if one == layer} for layer in (1, 2, 3, 4)}
    levels = [*heights.values()]
    assert all(len(one) == 1 for one in levels)
    (a,), (b,), (c,), (d,) = levels
    assert a - b == b - c == c - d > 0, "higher layers stand higher, in equal steps"
    assert at("S1")[0] < at("S2")[0] < at("1.1 D")[0] < at("3.2")[0] < at("3.1")[0] < at("END")[0] < at("4.0")[0]
    assert abs(at("S2")[0] - at("1.1 D")[0]) < 20 and at("END")[0] < at("2.0")[0]


def test_colours_are_those_of_roles():
    wanted = {"4.0": "mover", "3.1": "message", "1.1 D": "noticer", "2.0": "other", "Anna": "io", "END": "ink"}
    assert {name: at(name)[2] for name in wanted} == {name: colour(role) for name, role in wanted.items()}


def test_an_arc_is_as_wide_as_the_attention():
    plain = {one.get("d") for one in elements("path")}
    arcs = [
        one for one in elements("path", looks=[((4, 0), "IO", 0.8), ((4, 0), "S1", 0.1)]) if one.get("d") not in plain
    ]
    wide, narrow = sorted(arcs, key=lambda one: -float(one.get("stroke-width")))
    assert float(wide.get("stroke-width")) - float(narrow.get("stroke-width")) > 4
    starts = [float(re.match(r"M([\d.]+)", one.get("d"))[1]) for one in (wide, narrow)]
    assert starts == [at("IO")[0], at("S1")[0]]


def test_an_edge_says_its_sign_by_its_line_and_its_size_by_width_and_number():
    shares = {((3, 1), (4, 0)): 0.5, ((1, 1), (3, 1)): -0.2, ((1, 1), (3, 2)): None}
    plain = {one.get("d") for one in elements("path")}
    edges = [(*pair, share) for pair, share in shares.items()]
    unmeasured, first, second = (one for one in elements("path", edges=edges) if one.get("d") not in plain)
    assert [bool(one.get("stroke-dasharray")) for one in (first, second, unmeasured)] == [False, True, False]
    widths = [float(one.get("stroke-width")) for one in (first, second, unmeasured)]
    assert widths[0] > widths[1] > widths[2]
    texts = {one.text for one in elements("text", edges=edges)}
    assert {"0.50", "−0.20"} < texts and "None" not in texts


def test_words_stay_words_and_the_page_reads_the_description():
    (picture,) = [one for one in elements("div", answer="Ann & Co") if one.get("role") == "img"]
    assert picture.get("aria-label") == 'Five "heads" on four rails.'
    assert elements("strong")[0].text == "A <finding>"
    assert [one.text for one in elements("b")] == ["name mover", "S-inhibition", "duplicate token (D)"]
