"""The gallery: circuitsvis draws what it is given, from one copy of its script, by mouse and by keys."""

import pytest
import torch
from pages import data, html, served

import th_utils as th
from th_utils.views.live.pattern_gallery import IN_BOOK, bundle

TOKENS, NAMES = ["BOS", " Ana", " $b", " and", " said"], ["1.0", "1.1", "2.0"]
TEXT = ("a finding", "whole attention patterns of a few heads")


@pytest.fixture(scope="module")
def patterns():
    scores = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0)) * 2
    return scores.masked_fill(torch.ones(5, 5, dtype=torch.bool).triu(1), -torch.inf).softmax(-1)


def test_in_a_kernel_the_figure_needs_no_other_file(show, patterns, monkeypatch):
    monkeypatch.delenv("TH_STATIC", raising=False)
    view = th.live.pattern_gallery(TOKENS, patterns, NAMES, *TEXT)
    torch.testing.assert_close(torch.tensor(data(view)["patterns"]), patterns, atol=5.1e-4, rtol=0)
    tab = show(view)
    tab.get_by_text(f"{NAMES[0]} Zoomed").wait_for()
    buttons = tab.get_by_role("button", name="show head")
    assert buttons.count() == len(NAMES)
    buttons.nth(2).press("Enter")
    tab.get_by_text(f"{NAMES[2]} Zoomed").wait_for()
    buttons.nth(1).click()
    tab.get_by_text(f"{NAMES[1]} Zoomed").wait_for()
    assert tab.locator("canvas:not([aria-label])").count() == 0
    assert not tab.locator("figure > img").is_visible()


def test_in_the_book_a_page_loads_the_script_once_and_on_demand(chromium, patterns, monkeypatch, tmp_path):
    monkeypatch.setenv("TH_STATIC", "1")
    figure = html(th.live.pattern_gallery(TOKENS, patterns, NAMES, *TEXT))
    assert len(figure) < 100_000, "the script belongs to the book, not into the figure"
    for folder in ("chapters", "_static"):
        (tmp_path / folder).mkdir()
    page = f'<!doctype html><html lang="en" data-content_root="../"><meta charset="utf8">{figure + figure}</html>'
    (tmp_path / "chapters" / "one.html").write_text(page, encoding="utf8")
    script, asked = tmp_path / IN_BOOK, []
    tab = chromium.new_context().new_page()
    tab.on("request", lambda request: asked.append(request.url))
    with served(tmp_path) as address:
        tab.goto(f"{address}/chapters/one.html")
        button = tab.get_by_role("button", name="Open in circuitsvis")
        button.first.click()
        tab.wait_for_timeout(200)
        assert tab.locator("figure > img").nth(1).is_visible(), "while the script is missing, the picture stays"
        script.write_text(bundle(), encoding="utf8")
        asked.clear()
        tab.reload()
        tab.wait_for_timeout(200)
        assert button.count() == 2 and f"{address}/{IN_BOOK}" not in asked, "nothing is loaded before it is asked for"
        button.nth(1).press("Enter")
        button.click()
        tab.get_by_text("Zoomed").nth(1).wait_for()
    assert asked.count(f"{address}/{IN_BOOK}") == 1
    tab.context.close()
