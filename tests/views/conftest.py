"""What the tests of figures share: the matplotlib figures behind the pictures, and pages to open live ones on."""

from contextlib import ExitStack

import pytest
from pages import headless, opened

from th_utils.views import figure as house


@pytest.fixture
def drawn(monkeypatch):
    """The matplotlib figures of all views made in a test, in order."""
    figures = []

    class Recorded(house.View):
        def __init__(self, figure, *args, **options):
            figures.append(figure)
            super().__init__(figure, *args, **options)

    monkeypatch.setattr(house, "View", Recorded)
    return figures


@pytest.fixture(scope="module")
def chromium():
    with headless() as browser:
        yield browser


@pytest.fixture
def show(chromium):
    """A function that opens figures on a page; the test fails if anything goes wrong on it (see `opened`)."""
    with ExitStack() as pages:
        yield lambda *views, **options: pages.enter_context(opened(chromium, *views, **options))
