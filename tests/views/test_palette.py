"""The house style: a good figure passes, and each rule refuses the figure that breaks only this rule."""

import matplotlib
import numpy as np
import pytest

from th_utils.views import figure as house

TITLE, ALT = "Rises with the square of its input", "One rising line: the value against its input."
SIGNED = np.linspace(-1, 2, 12).reshape(3, 4)


def drawn(colour=house.COLOURS[0], labels=("input", "value"), image=None, other=None, unit="share", **options):
    """Two panels of one row: a line, and perhaps an image in each."""
    figure, axes = house.new(5.0, 3.0, 2)
    for axis, values in zip(axes, (image, image if other is None else other), strict=True):
        axis.plot(range(4), [x * x for x in range(4)], color=colour)
        axis.set_xlabel(labels[0])
        if values is not None:
            shown = axis.imshow(values, **options)
    axes[0].set_ylabel(labels[1])
    if image is not None:
        figure.colorbar(shown, ax=axes, label=unit)
    return figure


@pytest.mark.parametrize("cmap, limits", [("RdBu_r", (-2, 2)), ("Blues", (-1, 2))])
def test_a_figure_of_the_house_passes(cmap, limits):
    values = SIGNED if cmap == "RdBu_r" else abs(SIGNED)
    figure = drawn(image=values, cmap=cmap, vmin=limits[0], vmax=limits[1])
    assert house.finish(figure, TITLE, ALT).png.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "broken, message",
    [({"colour": "#ff0000"}, "#ff0000 is not of the house"), ({"colour": "tab:green"}, "not of the house"),
     ({"labels": ("", "value")}, "x axis without a label"), ({"labels": ("input", "")}, "y axis without a label"),
     ({"image": SIGNED, "cmap": "jet"}, "colour map jet"),
     ({"image": SIGNED, "cmap": "Blues"}, "numbers of both signs"),
     ({"image": SIGNED, "cmap": "RdBu_r"}, "zero in its middle, got -1 to 2"),
     ({"image": abs(SIGNED), "other": 2 * abs(SIGNED), "cmap": "Blues"}, "different colour scales"),
     ({"image": abs(SIGNED), "cmap": "Blues", "unit": ""}, "colour bar with its unit")],
)  # fmt: skip
def test_each_rule_refuses_the_figure_that_breaks_it(broken, message, refuses):
    with refuses(message):
        house.finish(drawn(**broken), TITLE, ALT)


@pytest.mark.parametrize(
    "title, alt, message",
    [(" ", ALT, "must state the finding"), (TITLE, "a figure", "alt text must"), (TITLE, TITLE, "alt text must")],
)
def test_words_are_part_of_the_style(title, alt, message, refuses):
    with refuses(message):
        house.finish(drawn(), title, alt)


def test_all_that_is_wrong_is_said_at_once(refuses):
    with refuses("(?s)y axis without a label.*#ff0000"):
        house.finish(drawn(colour="red", labels=("input", "")), TITLE, ALT)


def test_the_colours_of_groups_can_be_told_apart_without_red_and_green():
    """Seen by a deuteranope (Viénot, Brettel and Mollon 1999), every pair of colours still differs."""
    to_linear = lambda c: np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)  # noqa: E731
    seen = [to_linear(np.array(matplotlib.colors.to_rgb(colour))) for colour in house.COLOURS]
    mix = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    seen = [mix @ colour for colour in seen]
    assert min(np.abs(a - b).max() for i, a in enumerate(seen) for b in seen[:i]) > 0.05
