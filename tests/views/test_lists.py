"""Figures for lists: a picture for every function, and clear words for what does not fit."""

import numpy as np
import pytest

from th_utils.views import lists as maps

ALT = "a figure of planted numbers for a test"


@pytest.mark.parametrize(
    "view",
    [
        lambda: maps.numbers([[0.5, np.nan], [1.0, 0.0]], ["2", "3"], ["1st", "2nd"], "t", ALT, "share", "x", "y"),
        lambda: maps.clouds(
            {"a": (np.eye(2), [0, 1]), "b": (np.ones((3, 2)), [0, 0, 0])}, ["1", "2"], "t", ALT, "x", "y"
        ),
        lambda: maps.territories(
            [0, 1], [0, 1, 2], {"a": [[0, 0], [1, 0], [1, 2]]}, ["1", "2", "3"], "t", ALT, "x", "y"
        ),
    ],
)
def test_every_map_has_a_picture_and_its_alt_text(view):
    made = view()
    assert made.png.startswith(b"\x89PNG") and made.alt == ALT


def test_numbers_need_a_name_for_every_row_and_column():
    with pytest.raises(ValueError, match=r"expected \(1, 2\)"):
        maps.numbers([[0.5]], ["2"], ["1st", "2nd"], "t", ALT, "share", "x", "y")


def test_places_in_words():
    assert [maps.nth(i) for i in (0, 1, 2, 3, 10, 11, 12, 20, 21)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="counted from 0"):
        maps.nth(-1)


def clouds(points=((0, 0), (1, 1)), labels=(0, 1)):
    maps.clouds({"a": (points, labels)}, ["1", "2"], "t", ALT, "x", "y")


def territories(labels=((0, 0), (0, 1)), **marks):
    return maps.territories([0, 1], [0, 1], {"a": labels}, ["1", "2"], "t", ALT, "x", "y", **marks)


def test_marks_are_drawn_and_those_outside_stand_on_the_edge():
    marked = [territories(marks={"a": [[0, 0], at]}, marked="m").png for at in ([1, 1], [7, 9], [0.5, 1])]
    assert marked[0] == marked[1] != marked[2] and territories().png not in marked


@pytest.mark.parametrize("draw, match", [
    (lambda: maps.numbers([[1.5]], ["1"], ["1"], "t", ALT, "u", "x", "y"), "shares"),
    (lambda: maps.numbers([[-0.5]], ["1"], ["1"], "t", ALT, "u", "x", "y"), "shares"),
    (lambda: maps.numbers(np.zeros((0, 1)), [], ["1"], "t", ALT, "u", "x", "y"), "at least one"),
    (lambda: clouds(labels=(0, 2)), "indices of 2 names"),
    (lambda: clouds(labels=(0, -1)), "indices of 2 names"),
    (lambda: clouds(labels=(0,)), "n labels"),
    (lambda: clouds(points=((0, np.nan), (1, 1))), "finite points"),
    (lambda: clouds(points=np.zeros((0, 2)), labels=()), "finite points"),
    (lambda: territories(((0, 0), (0, -1))), "indices of 2 names"),
    (lambda: territories(((0, 0), (0, np.nan))), "indices of 2 names"),
    (lambda: territories(((0, 1),)), r"labels \[2, 2\]"),
    (lambda: maps.clouds({}, ["1"], "t", ALT, "x", "y"), "at least one panel"),
    (lambda: territories(marks={"b": [[0, 0]]}), r"marks need a panel .* got 'b'"),
    (lambda: territories(marks={"a": [[0, np.nan]]}), "finite points"),
    (lambda: territories(marks={"a": [0, 0]}), r"finite points .* \(2,\)"),
])  # fmt: skip
def test_what_cannot_be_drawn_is_refused(draw, match):
    with pytest.raises(ValueError, match=match):
        draw()
