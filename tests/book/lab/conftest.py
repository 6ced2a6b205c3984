"""The lab, once loaded for all its tests; skipped where the book was built without the model's file."""

import pytest
from lab_page import PAGE, PARTS, answers, open_and_load, settle
from rendered import HTML
from test_browser import watched

import th_utils as th
from th_utils.models.registry import DEFAULT


@pytest.fixture(scope="session", autouse=True)
def parts(built_book):
    if (HTML / "index.html").is_file() and not (PARTS / "model.json").is_file():
        pytest.skip("built without the model's file")


@pytest.fixture(scope="session")
def model():
    return th.load_model(DEFAULT)


@pytest.fixture(scope="session")
def weights(model):
    return th.head_weights(model)


@pytest.fixture(scope="session")
def loaded(browser, address):
    """The page with its model loaded by the button, and what went wrong on the way."""
    with watched(browser, address) as (tab, trouble):
        open_and_load(tab, f"{address}/{PAGE}")
        yield tab
        assert not trouble


@pytest.fixture
def visit(loaded):
    """The page as it stands when the model has been loaded, whatever the test before has left."""
    before = answers(loaded)
    loaded.get_by_role("button", name="Two names", exact=True).click()
    settle(loaded, before)
    return loaded
