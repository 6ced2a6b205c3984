"""What the checks of the rendered book share."""

import os

import pytest
from bs4 import BeautifulSoup
from pages import headless, served
from rendered import HTML, toc_pages


def pytest_generate_tests(metafunc):
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", toc_pages(), scope="session")


@pytest.fixture(scope="session", autouse=True)
def built_book():
    if (HTML / "index.html").is_file():
        return
    if os.environ.get("TH_BOOK_BUILT"):  # set by `make test`, which has just built it
        pytest.fail(f"no rendered book in {HTML}")
    pytest.skip("no rendered book here: run make book first")


@pytest.fixture(scope="session")
def soups() -> dict[str, BeautifulSoup]:
    """Every page of the table of contents that exists, parsed once."""
    found = {page: HTML / f"{page}.html" for page in toc_pages()}
    return {
        page: BeautifulSoup(path.read_text(encoding="utf8"), "html.parser")
        for page, path in found.items()
        if path.is_file()
    }


@pytest.fixture
def soup(soups, page) -> BeautifulSoup:
    assert page in soups, f"{page} is in _toc.yml and has no rendered page"
    return soups[page]


@pytest.fixture(scope="session")
def address(built_book):
    with served(HTML) as address:
        yield address


@pytest.fixture(scope="session")
def browser(built_book):
    with headless() as browser:
        yield browser
