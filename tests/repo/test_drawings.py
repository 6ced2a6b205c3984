"""The drawings are what the code draws: legible, in the palette, described, without results, and each is shown once."""

import importlib.util
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest
from matplotlib import font_manager
from PIL import ImageFont

from th_utils.views import glyphs, palette

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import drawings  # noqa: E402

SPEC = importlib.util.spec_from_file_location("drawings_in_pages", ROOT / "_ext" / "drawings.py")
in_pages = importlib.util.module_from_spec(SPEC)  # both files are called drawings.py
SPEC.loader.exec_module(in_pages)

SVG = "{http://www.w3.org/2000/svg}"
NAMES = sorted(drawings.DRAWINGS)
CELLS = [(path.name, cell.source) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
         for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]  # fmt: skip


def test_the_folder_holds_what_the_code_draws_and_nothing_else():
    stored = {path.stem: path.read_text(encoding="utf8") for path in drawings.FOLDER.iterdir()}
    assert stored == {name: drawings.written(name) for name in NAMES}, "run python tools/drawings.py"


@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_is_described_legible_and_small(name):
    text = drawings.written(name)
    root = ElementTree.fromstring(text)
    assert root.find(f"{SVG}title").text and len(root.find(f"{SVG}desc").text.split()) >= 15
    panels = root.findall(f"{SVG}svg")
    sizes = [float(one.get("font-size")) for one in root.iter(f"{SVG}text")]
    width, height = map(float, root.get("viewBox").split()[2:])
    assert width <= 720 and height <= 420 and len(text) < 30_000
    assert min(sizes) * min(1, 680 / width) >= 11, "on a page"
    widest = max(float(panel.get("width")) for panel in panels)
    assert min(sizes) * min(1, 350 / widest) >= 10.5, "on a phone, where the panels stand below each other"


@pytest.mark.parametrize("name", NAMES)
def test_every_colour_is_a_role_of_the_page(name):
    roles = {glyphs.colour(role) for role in palette.ROLES}
    for element in ElementTree.fromstring(drawings.written(name)).iter():
        colours = {element.get("fill"), element.get("stroke")} - {None, "none"}
        assert colours <= roles, element.tag


@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_explains_and_reports_nothing(name):
    words = [one.text for one in ElementTree.fromstring(drawings.written(name)).iter(f"{SVG}text")]
    assert not re.search(r"\d", " ".join(words)), "no head of a model and no number"


@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_is_shown_once_with_its_description(name):
    shown = [
        (file, alt)
        for file, source in CELLS
        for alt in re.findall(rf"!\[([^\]]*)\]\(\.\./book/drawings/{name}\.svg\)", source)
    ]
    assert [alt for _, alt in shown] == [drawings.alt(name)]


def test_in_a_page_the_panels_stand_alone_and_are_named_together():
    row = in_pages.inlined(drawings.written("control_prompts"), 'one "two" <three>')
    root = ElementTree.fromstring(row)
    assert root.get("aria-label") == 'one "two" <three>' and root.get("role") == "img"
    assert [one.tag for one in root] == ["svg"] * 3 and "xmlns" not in row
    with pytest.raises(ValueError, match="without panels"):
        in_pages.inlined("<svg></svg>", "")


@pytest.mark.parametrize("name", NAMES)
def test_no_word_is_cut_off_even_in_a_wide_font(name):
    for panel in ElementTree.fromstring(drawings.written(name)).findall(f"{SVG}svg"):
        for one in panel.iter(f"{SVG}text"):
            file = font_manager.findfont(
                font_manager.FontProperties(family="DejaVu Sans", weight=int(one.get("font-weight")))
            )
            long = ImageFont.truetype(file, 100).getlength(one.text) * float(one.get("font-size")) / 100
            left = float(one.get("x")) - long * {"start": 0, "middle": 0.5, "end": 1}[one.get("text-anchor")]
            assert left >= -2 and left + long <= float(panel.get("width")) + 2, one.text
