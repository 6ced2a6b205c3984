"""What would draw something wrong without a word is refused, with what was given and what was expected."""

import numpy as np
import pytest
import torch

import th_utils as th

TEXT = ("a finding", "a figure that cannot be drawn right")
NAN, INF = float("nan"), float("inf")
LABELS = ["A", "B"]
PATTERNS = torch.full((2, 3, 3), 0.5)
GRID = {"x": [0.0, 1.0], "y": [0.0, 1.0], "z": [0.0, 1.0]}
SHARES, NATURAL = {"p": torch.full((8, 2), 0.5)}, {"p": torch.zeros(2, 3)}


def territories(labels=((0, 0), (0, 1)), **marks):
    return th.views.territories([0, 1], [0, 1], {"p": labels}, LABELS, *TEXT, "x", "y", **marks)


def heatmap(values):
    return th.views.heatmap(values, ["row"], LABELS, *TEXT, "share", "x", "y")


def viewer(patterns=PATTERNS, tokens="abc", names=LABELS, **options):
    return th.live.attention_viewer(list(tokens), patterns, names, *TEXT, **options)


def slider(**options):
    return th.live.frame_slider({name: th.views.bars({name: 1}, *TEXT, "u") for name in LABELS}, "step", **options)


def floors(**lines):
    return th.views.floors({"IO": "Anna"}, {"IO": [(0, 1)]}, {}, range(2), *TEXT, **lines)


def atlas(axes=GRID, shares=SHARES, natural=NATURAL, names=LABELS):
    return th.live.territory_atlas(axes, shares, natural, names, *TEXT, "share")


REFUSED = {
    "a stack of maps would be colours": (lambda: th.views.head_map(torch.rand(6, 4, 3), *TEXT, "u"), "layers, heads"),
    "panels of two models": (lambda: th.views.head_map({"a": np.eye(2), "b": np.eye(3)}, *TEXT, "u"), "one shape"),
    "infinity flattens the scale": (lambda: th.views.head_map(torch.tensor([[1.0, INF]]), *TEXT, "u"), "infinite"),
    "a head from the end": (lambda: th.views.head_map(np.eye(3), *TEXT, "u", marks=[(-1, 0)]), "head"),
    "a number of one state": (lambda: th.views.compare({"a": {"n": 1}, "b": {"m": 1}}, *TEXT, "u"), "same numbers"),
    "more labels than dots": (lambda: th.views.strip({"a": [1]}, *TEXT, "u", labels={"a": "xy"}), "1 numbers and 2 l"),
    "fewer names than rows": (lambda: heatmap([[0.5, 0.5]] * 2), r"\(2, 2\), expected \(1, 2\)"),
    "a percentage as a share": (lambda: heatmap([[50.0, 0.5]]), "shares, 0 to 1"),
    "the last name for −1": (lambda: territories(((0, 0), (0, -1))), "indices of 2 names"),
    "NaN as a place": (lambda: territories(((0, 0), (0, NAN))), "indices of 2 names"),
    "a third coordinate": (lambda: th.views.scatter({"a": np.eye(3)}, *TEXT, "x", "y"), "too many values"),
    "marks of no panel": (lambda: territories(marks={"q": [[0, 0]]}), "panels"),
    "marks nowhere": (lambda: territories(marks={"p": [[0, NAN]]}), "finite"),
    "fewer weights than tokens": (lambda: th.views.attention(list("abc"), {"0.0": [0.5]}, *TEXT), "the 3 tokens"),
    "an edge of no strength": (lambda: floors(edges=[((0, 1), (0, 1), NAN)]), "finite"),
    "attention of NaN": (lambda: floors(looks=[((0, 1), "IO", NAN)]), "finite"),
    "a head that stands nowhere": (lambda: floors(looks=[((1, 1), "IO", 0.5)]), "stand on no rail"),
    "a place without a rail": (lambda: floors(looks=[((0, 1), "S1", 0.5)]), "stand on no rail"),
    "the place before the first": (lambda: th.views.nth(-1), "counted from 0"),
    "patterns of other tokens": (lambda: viewer(tokens="ab"), r"\(2, 2, 2\), .* got \(2, 3, 3\)"),
    "patterns over 1 as bytes": (lambda: viewer(3 * PATTERNS), "between 0 and 1"),
    "patterns of NaN as bytes": (lambda: viewer(NAN * PATTERNS), "between 0 and 1"),
    "a role that has no colour": (lambda: viewer(role="speaker"), "role must be one of"),
    "frames that step back": (lambda: slider(at=[1, 0]), "rise from frame to frame"),
    "one place for two frames": (lambda: slider(at=[1]), "2 in all"),
    "a mark beyond the last frame": (lambda: slider(marks={"here": 2}), "between 0 and 1"),
    "a place without a colour": (lambda: atlas(names=list("ABCDEFGHIJ"), shares={"p": torch.full((8, 9), 0.1)},
                                               natural={"p": torch.zeros(9, 3)}), "2-8 outcomes"),
    "unequal steps": (lambda: atlas(GRID | {"z": [0, 1, 5]}), "axis 'z' must be .* equal steps"),
    "another grid": (lambda: atlas(GRID | {"z": [0, 1, 2]}), r"\[12 points, 2-2 outcomes\], got \(8, 2\)"),
    "an outcome without a name": (lambda: atlas(names=["A"]), "2-1 outcomes"),
    "shares over 1": (lambda: atlas(shares={"p": 2 * SHARES["p"]}), "probabilities"),
    "shares of NaN": (lambda: atlas(shares={"p": NAN * SHARES["p"]}), "probabilities"),
    "natural means of other panels": (lambda: atlas(natural={"q": NATURAL["p"]}), "same panels"),
    "fewer means than outcomes": (lambda: atlas(natural={"p": NATURAL["p"][:1]}), r"finite \[2, 3\]"),
    "a natural mean nowhere": (lambda: atlas(natural={"p": NATURAL["p"] * NAN}), "finite"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_wrong_in_silence_is_refused(case, refuses, monkeypatch):
    monkeypatch.setenv("TH_STATIC", "1")
    draw, message = REFUSED[case]
    with refuses(message):
        draw()
