"""A finished figure: a picture with its words, safe in any page and the same every time."""

import io
import tomllib
from pathlib import Path

import pytest
import torch
from bs4 import BeautifulSoup
from pages import EVIL, html
from PIL import Image

import th_utils as th
from th_utils.views.figure import alive, is_live, rounded, written

ROOT = Path(__file__).resolve().parents[2]


def simple(title="a finding", alt="one bar", **options):
    figure, (axis,) = th.views.new(3.0, 2.0)
    axis.bar([0], [1.0])
    return th.views.finish(figure, title, alt, **options)


def test_a_picture_comes_with_its_alt_text_for_every_reader():
    bundle = simple(alt="  one bar,\n one  long ")._repr_mimebundle_()
    assert BeautifulSoup(bundle["text/html"], "html.parser").img["alt"] == "one bar, one long"
    assert bundle["text/plain"] == "Figure: one bar, one long" and bundle["image/png"].startswith("iVBOR")


def test_alt_text_cannot_break_out_of_the_page():
    page = BeautifulSoup(html(simple(alt=f'words "quoted" {EVIL}')), "html.parser")
    assert [tag.name for tag in page.find_all()] == ["img"] and page.img["alt"] == f'words "quoted" {EVIL}'


def test_the_same_figure_is_the_same_file():
    assert simple().png == simple().png


def test_dollar_signs_are_no_formulas(drawn):
    simple(title="the token $x_{$")  # as a formula it would raise
    assert drawn[0].get_suptitle() == "the token $x_{$"


def test_few_colours_make_a_light_file():
    assert len(simple(colours=4).png) < len(simple().png)
    assert len(Image.open(io.BytesIO(simple().png)).getcolors()) <= 128


def test_a_picture_is_sharp_on_a_dense_screen():
    view = simple()
    assert Image.open(io.BytesIO(view.png)).width // 2 == int(BeautifulSoup(html(view), "html.parser").img["width"])


def test_a_reader_may_title_and_describe_a_figure_as_they_like():
    assert th.views.lines([0, 1], {"a": [0, 1]}, "My curve", "a curve", "", "").alt == "a curve"


def test_panels_of_one_row_share_their_vertical_axis():
    _, axes = th.views.new(4.0, 4.0, columns=2, rows=2)
    axes[0].set_ylim(0, 7)
    assert axes[1].get_ylim() == (0, 7) and axes[2].get_ylim() != (0, 7)


def test_what_pages_ship_has_few_digits_and_no_minus_zero():
    assert rounded(torch.tensor([[1 / 3, -1e-9], [123456.7, -0.0]]), 3) == [[0.333, -1e-9], [123000.0, 0.0]]
    assert str(rounded(-0.0)) == "0.0"
    assert [written(x) for x in (-0.0, -1 / 3, 1e6)] == ["0", "−0.333", "1e+06"]


def test_numbers_that_are_none_never_reach_a_page():
    with pytest.raises(ValueError, match="JSON compliant"):
        alive("frame-slider", {"value": float("nan")})


@pytest.mark.parametrize("static, live", [("", True), ("0", True), ("1", False)])
def test_the_built_book_waits_for_no_kernel(static, live, monkeypatch):
    monkeypatch.setenv("TH_STATIC", static)
    assert is_live("json") is live and not is_live("json", "no_such_library")


def test_every_script_is_shipped_and_fetches_or_evaluates_nothing():
    package = ROOT / "th_utils"
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
    shipped = {path for one in settings["tool"]["setuptools"]["package-data"]["th_utils"] for path in package.glob(one)}
    scripts = set(package.rglob("*.js"))
    figures = {path.stem for path in (package / "views" / "live").glob("[a-z]*.py")}
    assert {path.stem for path in scripts} == figures | {"live"} and scripts <= shipped
    for path in scripts:
        text = path.read_text(encoding="utf8").replace("http://www.w3.org/2000/svg", "")  # a name, not an address
        words = ("http", "//cdn", "fetch(", "import(", "eval(", "Function(", "innerHTML", "document.write")
        assert not [word for word in words if word in text], path
