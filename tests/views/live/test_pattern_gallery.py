"""The gallery: circuitsvis draws what it is given, from one copy of its script, by mouse and by keys."""

import http.server
import threading
from functools import partial

import pytest
import torch
from test_cloud import browser, data, html, opened, page_of  # noqa: F401

import th_utils as th
from th_utils.views.live import pattern_gallery as module

TOKENS = ["BOS", " Ana", "</script ><script>harm=1", " $b", " said"]
NAMES = ["1.0", "1.1", "2.0"]
TEXT = ("a finding", "whole attention patterns of a few heads")


@pytest.fixture(scope="module")
def patterns():
    scores = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0)) * 2
    return scores.masked_fill(torch.ones(5, 5, dtype=torch.bool).triu(1), -torch.inf).softmax(-1)


def shown(tab) -> str:
    """Which head the large map shows."""
    tab.get_by_text("Zoomed").wait_for()
    return tab.get_by_text("Zoomed").inner_text().split()[0]


def drive(tab) -> None:
    assert shown(tab) == NAMES[0]
    buttons = tab.get_by_role("button", name="show head")
    assert buttons.count() == len(NAMES)
    buttons.nth(2).press("Enter")
    tab.get_by_text(f"{NAMES[2]} Zoomed").wait_for()
    buttons.nth(1).click()
    tab.get_by_text(f"{NAMES[1]} Zoomed").wait_for()
    assert tab.locator("canvas:not([aria-label])").count() == 0
    assert not tab.locator("figure > img").is_visible()


def test_in_a_kernel_the_figure_needs_no_other_file(browser, patterns, monkeypatch):  # noqa: F811
    monkeypatch.delenv("TH_STATIC", raising=False)
    view = th.live.pattern_gallery(TOKENS, patterns, NAMES, *TEXT)
    torch.testing.assert_close(torch.tensor(data(view)["patterns"]), patterns, atol=5.1e-4, rtol=0)
    tab, trouble = opened(browser, page_of(html(view)), width=360)
    drive(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.evaluate("window.harm") is None and not trouble
    tab.context.close()


def test_in_the_book_a_page_loads_the_script_once(browser, patterns, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("TH_STATIC", "1")
    figure = html(th.live.pattern_gallery(TOKENS, patterns, NAMES, *TEXT))
    assert len(figure) < 100_000, "the script belongs to the book, not into the figure"
    (tmp_path / "chapters").mkdir()
    page = page_of(figure + figure).replace("<html", '<html data-content_root="../"')
    (tmp_path / "chapters" / "one.html").write_text(page, encoding="utf8")
    (tmp_path / "_static").mkdir()
    (tmp_path / module.IN_BOOK).write_text(module.bundle(), encoding="utf8")
    asked = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tab = browser.new_context().new_page()
    tab.goto(f"http://127.0.0.1:{server.server_port}/chapters/one.html")
    tab.get_by_text("Zoomed").nth(1).wait_for()
    assert asked.count(f"/{module.IN_BOOK}") == 1
    tab.context.close()
    server.shutdown()


def test_without_the_script_the_picture_stays(browser, patterns, monkeypatch):  # noqa: F811
    monkeypatch.setenv("TH_STATIC", "1")
    tab, _ = opened(browser, page_of(html(th.live.pattern_gallery(TOKENS, patterns, NAMES, *TEXT))))
    tab.wait_for_timeout(200)
    assert tab.locator("figure > img").is_visible() and tab.get_by_text("Zoomed").count() == 0
    tab.context.close()


@pytest.mark.parametrize(
    "change, message",
    [({"names": ["a"]}, "patterns must be"), ({"tokens": TOKENS[:2]}, "patterns must be"),
     ({"patterns": torch.full((3, 5, 5), -0.1)}, "between 0 and 1")],
)  # fmt: skip
def test_what_is_no_attention_is_refused(patterns, change, message, refuses):
    given = {"tokens": TOKENS, "patterns": patterns, "names": NAMES} | change
    with refuses(message):
        th.live.pattern_gallery(*given.values(), *TEXT)
