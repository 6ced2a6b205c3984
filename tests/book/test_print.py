"""The PDF of two pages; `make pdf` joins all of them in the same way."""

import re
from unicodedata import normalize

import pages  # noqa: F401  (puts tools/ on the path)
import printing
import pytest
from pypdf import PdfReader

CHAPTER = "notebooks/00_first_look"
GLOSSARY = "book/glossary"


@pytest.fixture(scope="module")
def pdf(browser, address, tmp_path_factory) -> PdfReader:
    target = tmp_path_factory.mktemp("pdf") / "two.pdf"
    count = printing.write_pdf(browser, address, [("Chapters", [CHAPTER]), ("Reference", [GLOSSARY])], target)
    reader = PdfReader(target)
    assert len(reader.pages) == count > 6
    return reader


@pytest.fixture(scope="module")
def texts(pdf) -> list[str]:
    """Text of every page; NFKC takes ligatures apart."""
    return [" ".join(normalize("NFKC", page.extract_text()).split()) for page in pdf.pages]


def test_outline_has_parts_and_titles(pdf, soups):
    part, (chapter,), reference, (glossary,) = pdf.outline
    assert (part.title, reference.title, glossary.title) == ("Chapters", "Reference", "Glossary")
    assert chapter.title == soups[CHAPTER].select_one("article h1").get_text().strip().removesuffix("#")
    assert pdf.get_destination_page_number(chapter) == 0 < pdf.get_destination_page_number(glossary)


def test_text_of_the_chapter_is_there_and_solutions_are_not(texts, soups):
    whole = " ".join(texts)
    chapter = soups[CHAPTER]
    for heading in chapter.select("article h2"):
        assert " ".join(heading.find(string=True).split()) in whole
    solutions = chapter.select(".tag_solution")
    assert solutions and "Solution to exercise" in solutions[0].text
    assert "Solution to" not in whole and "Show code cell" not in whole
    hint = chapter.select_one("article details:not(.hide)")
    assert hint.summary.text in whole
    assert hint.get_text().removeprefix(hint.summary.text) not in whole


def test_pages_are_numbered_through(texts):
    assert [re.search(r"\d+$", text)[0] for text in texts] == [str(i + 1) for i in range(len(texts))]


def test_every_picture_of_the_chapter_is_printed(pdf, soups):
    """Live figures included: these show the picture that they replace on the screen."""
    printed = sum(len(page.images) for page in pdf.pages)
    assert printed >= len(soups[CHAPTER].select("article img")) > 2


def test_links_inside_lead_to_pages_of_the_file(pdf, texts):
    links = [(page, link.get_object()) for page in pdf.pages for link in page.get("/Annots", ())]
    inner = [link["/Dest"] for _, link in links if "/Dest" in link]
    numbers = {page.indirect_reference.idnum: i for i, page in enumerate(pdf.pages)}
    assert inner and {dest[0].idnum for dest in inner} <= set(numbers)
    assert any("Glossary" in texts[numbers[dest[0].idnum]] for dest in inner), "glossary terms are such links"
    assert not [link for _, link in links if "127.0.0.1" in str(link.get("/A", ""))]
