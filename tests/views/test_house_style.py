"""The house style: the package's figures keep it, and each rule refuses the figure that breaks only this rule."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from house_style import check

import th_utils as th
from th_utils.views import COLOURS, ROLES, new, tint

TITLE, ALT = "Rises with the square of its input", "One rising line: the value against its input."
SIGNED = np.linspace(-1, 2, 12).reshape(3, 4)
XY = {"xlabel": "x", "ylabel": "y"}
FIGURES = {
    "head_map": lambda **t: th.views.head_map({"a": torch.randn(6, 4), "b": torch.rand(6, 4)}, unit="u", **t),
    "bars": lambda **t: th.views.bars({"one": th.Estimate(2.0, 1.0, 3.0), "two": 3.0}, unit="u", baseline=0.5, **t),
    "roles": lambda **t: th.views.bars({"one": 2.0, "two": 3.0}, unit="u", highlight=["two"], role="mover", **t),
    "compare": lambda **t: th.views.compare(
        {"a": {"n": 1.0, "m": 2.0}, "b": {"m": -1, "n": 0}}, unit="u", roles={"b": "message"}, marks={"here": 0.5}, **t
    ),
    "hills": lambda **t: th.views.compare({"a": {"n": 1.0}}, unit="u", hills=([0, 2], {"a": {"n": [1, 0]}}), **t),
    "lines": lambda **t: th.views.lines([0, 1], {"p": {"a": [0.0, 1.0]}}, marks={"m": 0.5}, **XY, **t),
    "dial": lambda **t: th.views.lines(
        [0, 1],
        {"p": {"a": [0.0, 1.0], "_b": [0.0, 0.5]}, "q": {"a": [1.0, 0.0]}},
        xlabel="x",
        roles={"p": "mover"},
        natural={"n": [0.2, 0.4]},
        **t,
    ),
    "ordered": lambda **t: th.views.lines([0, 1], {"a": [0.0, 1.0], "b": [1.0, 0.0]}, ordered=True, **XY, **t),
    "strip": lambda **t: th.views.strip({"h": torch.rand(9)}, unit="u", band=(0.1, 0.2), **t),
    "scatter": lambda **t: th.views.scatter({"g": (torch.rand(3), torch.rand(3))}, **XY, **t),
    "clouds": lambda **t: th.views.scatter({"a": {"1": ([0, 1], [0, 2]), "2": ([1], [1])}}, ordered=True, **XY, **t),
    "heatmap": lambda **t: th.views.heatmap(np.eye(2), ["2", "3"], ["1st", "2nd"], unit="share", **XY, **t),
    "territories": lambda **t: th.views.territories([0, 1], [0, 1], {"a": [[0, 0], [1, 0]]}, ["1", "2"], **XY, **t),
    "attention": lambda **t: th.views.attention(["a", "b"], {"0.0": torch.tensor([0.4, 0.6])}, **t),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_of_the_package_keeps_the_style(name, drawn):
    view = FIGURES[name](title=TITLE, alt=ALT)
    check(drawn[0], TITLE, view.alt)


def figure(colour="#222222", labels=("input", "value"), image=None, other=None, unit="share", role=None, **options):
    """Two panels of one row: a line, and perhaps an image in each."""
    made, axes = new(5.0, 3.0, 2)
    for axis, values in zip(axes, (image, image if other is None else other), strict=True):
        axis.plot(range(4), [x * x for x in range(4)], color=colour, gid=role)
        axis.set_xlabel(labels[0])
        if values is not None:
            shown = axis.imshow(values, **options)
    axes[0].set_ylabel(labels[1])
    if image is not None:
        made.colorbar(shown, ax=axes, label=unit)
    return made


@pytest.mark.parametrize("cmap, limits", [("RdBu_r", (-2, 2)), ("Blues", (-1, 2))])
def test_a_figure_in_the_style_passes(cmap, limits):
    values = SIGNED if cmap == "RdBu_r" else abs(SIGNED)
    check(figure(image=values, cmap=cmap, vmin=limits[0], vmax=limits[1]), TITLE, ALT)


@pytest.mark.parametrize("role", ROLES)
def test_a_hue_that_carries_the_name_of_its_role_passes(role):
    check(figure(colour=tint(role)["color"], role=tint(role)["gid"]), TITLE, ALT)


@pytest.mark.parametrize("broken, message", [
    ({"colour": "#ff0000"}, "#ff0000 is not of the house"),
    ({"colour": "tab:green"}, "not of the house"),
    ({"colour": COLOURS[0]}, "it stands for no role"),
    ({"colour": ROLES["mover"][0]}, "it stands for no role"),  # a role's colour for a condition
    ({"colour": ROLES["mover"][0], "role": "message"}, "it stands for no role"),  # two roles in one colour
    ({"labels": ("", "value")}, "x axis without a label"),
    ({"labels": ("input", "")}, "y axis without a label"),
    ({"image": SIGNED, "cmap": "jet"}, "colour map jet"),
    ({"image": SIGNED, "cmap": "Blues"}, "numbers of both signs"),
    ({"image": SIGNED, "cmap": "RdBu_r"}, "zero in its middle, got -1 to 2"),
    ({"image": abs(SIGNED), "other": 2 * abs(SIGNED), "cmap": "Blues"}, "different colour scales"),
    ({"image": abs(SIGNED), "cmap": "Blues", "unit": ""}, "colour bar with its unit"),
    ({"colour": "red", "labels": ("input", "")}, "y axis without a label; colour #ff0000"),  # all breaches at once
])  # fmt: skip
def test_each_rule_refuses_the_figure_that_breaks_it(broken, message):
    with pytest.raises(ValueError, match=message):
        check(figure(**broken), TITLE, ALT)


@pytest.mark.parametrize("title, alt, message", [
    (" ", ALT, "must state the finding"), (TITLE, "a figure", "alt text must"), (TITLE, TITLE, "alt text must"),
])  # fmt: skip
def test_words_are_part_of_the_style(title, alt, message):
    with pytest.raises(ValueError, match=message):
        check(figure(), title, alt)


USE = """
from th_utils.views import finish, new
import th_utils as th
calls = [lambda: finish(new(3, 2)[0], "a title", "short"), lambda: th.views.bars({"a": 1}, "a title", "short", "unit"),
         lambda: th.live.attention_viewer(["a"], [[[1.0]]], ["0.0"], "a title", "short")]
for call in calls:
    try:
        call()
    except ValueError as error:
        print("refused:", "alt text must" in str(error))
print(th.views.bars({"a": 1}, "a title", "one bar from zero to one", "unit").alt)
"""


@pytest.mark.parametrize("first", ["", "import th_utils as th\nth.views\n"])
def test_an_installed_check_holds_for_every_later_figure(first):
    """Whether th_utils was imported before or not, and however a notebook comes by `finish`."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    script = f"{first}import house_style\nhouse_style.install()\nhouse_style.install()\n{USE}"
    done = subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": path}, text=True,
                          capture_output=True)  # fmt: skip
    assert done.stdout.splitlines() == ["refused: True"] * 3 + ["one bar from zero to one"], done.stderr


def test_the_colours_of_groups_can_be_told_apart_without_red_and_green():
    """Seen by a deuteranope (Viénot, Brettel and Mollon 1999), every pair of colours still differs."""
    rgb = np.array([matplotlib.colors.to_rgb(colour) for colour in COLOURS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = linear @ np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]).T
    assert min(np.abs(a - b).max() for i, a in enumerate(seen) for b in seen[:i]) > 0.05
