"""One colour per role, legible on its paper."""

import itertools

import pytest
from matplotlib.colors import to_rgb

from th_utils.views import palette

WRITTEN = [role for role in palette.ROLES if role not in ("line", "raised", "paper")]


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    parts = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in to_rgb(colour))
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


@pytest.mark.parametrize("theme", (0, 1), ids=("light", "dark"))
def test_every_role_can_be_read_as_text_on_its_paper(theme):
    for role, ground in itertools.product(WRITTEN, ("paper", "raised")):
        high, low = sorted((luminance(palette.ROLES[one][theme]) for one in (role, ground)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (role, ground)


def test_a_colour_stands_for_one_role():
    for theme in (0, 1):
        colours = [pair[theme] for role, pair in palette.ROLES.items() if role != "paper"]
        assert len(set(colours)) == len(colours)


def test_the_style_sheet_says_what_the_table_says():
    light, dark = palette.css().splitlines()
    for role, pair in palette.ROLES.items():
        assert f"--th-{role}:{pair[0]}" in light and f"--th-{role}:{pair[1]}" in dark
