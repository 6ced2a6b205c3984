"""Figures and sentences: alt text is demanded and safe, signed maps are centred, wrong input is named."""

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from th_utils import prose, stats
from th_utils.views import charts as views

ALT = "a map that shows what a map shows"
TEXT = {"title": "a finding", "alt": ALT}
CALLS = {
    "head_map": lambda **t: views.head_map(torch.randn(6, 4), unit="u", marks=[(0, 1), (5, 3)], **t),
    "panels": lambda **t: views.head_map({"a": torch.rand(6, 4), "b": torch.rand(6, 4)}, unit="u", **t),
    "bars": lambda **t: views.bars({"one": stats.mean([1.0, 2.0]), "two": 3.0}, unit="u", baseline=0.5, **t),
    "lines": lambda **t: views.lines([0, 1], {"a": [stats.mean([0.0, 1.0])] * 2}, xlabel="x", ylabel="y", **t),
    "line panels": lambda **t: views.lines(
        [0, 1], {"p": {"a": [0.0, 1.0]}}, xlabel="x", ylabel="y", marks={"m": 0.5}, **t
    ),
    "strip": lambda **t: views.strip({"h": torch.rand(9)}, unit="u", band=(0.1, 0.2), labels={"h": "abcdefghi"}, **t),
    "scatter": lambda **t: views.scatter({"g": (torch.rand(3), torch.rand(3))}, xlabel="x", ylabel="y", **t),
    "attention": lambda **t: views.attention(["<a>", "$b$"], {"0.0": torch.tensor([0.4, 0.6])}, **t),
    "cloud": lambda **t: views.cloud(torch.randn(9, 3), list("abcabcabc"), axes="xyz", unit="u", **t),
    "compare": lambda **t: views.compare({"a": {"n": 1.0, "m": stats.mean([0.0, 1.0])}, "b": {"m": -1, "n": 0}}, **t),
    "circuit": lambda **t: views.circuit({"r": [(0, 1)], "": ["LD"]}, [((0, 1), "LD", -0.5)], **t),
    "plane": lambda **t: views.plane([0, 1], [0, 1, 2], torch.randn(3, 2), xlabel="x", ylabel="y", unit="u", **t),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_figure_has_a_picture_and_its_alt_text(name):
    bundle = CALLS[name](**TEXT)._repr_mimebundle_()
    assert f'alt="{ALT}"' in bundle["text/html"] and ALT in bundle["text/plain"] and bundle["image/png"]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("alt", ["", "a map"])
def test_a_figure_without_a_real_alt_text_is_refused(name, alt):
    with pytest.raises(ValueError, match="alt text"):
        CALLS[name](title="a finding", alt=alt)


def test_alt_text_cannot_break_out_of_the_page():
    view = CALLS["head_map"](title="t", alt='a <script>alert("1")</script> in the words of a prompt')
    html = view._repr_mimebundle_()["text/html"]
    assert "<script>" not in html and html.count('"') % 2 == 0


def test_the_same_figure_is_the_same_file(tmp_path):
    figures = [views.bars({"one": 1.0}, unit="u", **TEXT) for _ in range(2)]
    assert figures[0].png == figures[1].png
    figures[0].save(tmp_path / "bars.png")
    assert (tmp_path / "bars.png").read_bytes() == figures[0].png


@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_signed_maps_are_centred_at_zero(shift, monkeypatch):
    norms = []
    from matplotlib.axes import Axes

    real = Axes.imshow
    monkeypatch.setattr(Axes, "imshow", lambda self, *a, **k: norms.append(k["norm"]) or real(self, *a, **k))
    views.head_map(torch.linspace(-1, 2, 12).reshape(4, 3) + shift, unit="u", **TEXT)
    (norm,) = norms
    if shift == 0:
        assert norm.vmin == -norm.vmax == -2.0
    else:
        assert 0.0 in (norm.vmin, norm.vmax)


@pytest.mark.parametrize("states", [{}, {"a": {}}, {"a": {"n": 1.0}, "b": {"m": 1.0}}])
def test_compare_wants_the_same_numbers_in_every_state(states):
    with pytest.raises(ValueError, match="state"):
        views.compare(states, **TEXT)


def test_sentences_and_tables_are_markdown():
    InteractiveShell.instance()
    with capture_output() as captured:
        prose.say("one   **two**\n three")
        prose.table(["a|b", "c"], [(1, stats.mean([1.0, 1.0]))])
    sentence, table = (output.data["text/markdown"] for output in captured.outputs)
    assert sentence == "one **two** three"
    assert table.splitlines() == [r"| a\|b | c |", "| --- | --- |", "| 1 | 1.00 [1.00, 1.00] |"]
    with pytest.raises(ValueError, match="2 entries"):
        prose.table(["a", "b"], [(1,)])


def test_heads_in_prose():
    assert [prose.heads(h) for h in ([], [(1, 2)], [(1, 2), (3, 4), (5, 6, 7)])] == [
        "none",
        "1.2",
        "1.2, 3.4 and 5.6.7",
    ]
