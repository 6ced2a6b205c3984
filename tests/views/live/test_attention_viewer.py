"""The attention viewer: what the page says a token looks at is the pattern that it was given, and so are its ribbons.

Whole patterns are circuitsvis', from one copy of its script, by mouse and by keys.
"""

import numpy as np
import pytest
import torch
from pages import html, served, settle

import th_utils as th
from th_utils.views.live.attention_viewer import IN_BOOK, bundle

TOKENS, HEADS = ["BOS", " Ana", " $b", " and", " said"], ["1.0", "1.1", "2.0"]
TEXT = ("a finding", "an attention viewer of a few heads")
RIBBONS = """() => [...document.querySelectorAll(".th-scene path")].map(path => [
    Number(path.getAttribute("stroke-width")),
    path.getPointAtLength(0).x, path.getPointAtLength(path.getTotalLength()).x, getComputedStyle(path).stroke,
    getComputedStyle(document.querySelector(".th-token[aria-pressed=true]")).borderColor])"""
OPEN = "Whole patterns, in circuitsvis"


@pytest.fixture(scope="module")
def patterns():
    scores = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0)) * 2
    return scores.masked_fill(torch.ones(5, 5, dtype=torch.bool).triu(1), -torch.inf).softmax(-1)


def test_every_head_and_token_shows_its_own_row(show, patterns):
    tab = show(th.live.attention_viewer(TOKENS, patterns, HEADS, *TEXT))

    def looks():
        settle(tab)
        return [float(share) for share in tab.locator("figure").get_attribute("data-looks").split()]

    assert looks() == pytest.approx(patterns[0, -1].tolist(), abs=3e-3)
    assert not tab.get_by_role("button", name=OPEN).count()
    tab.get_by_role("button", name="2.0", exact=True).click()
    tab.get_by_role("group", name="The token that looks").get_by_role("button").nth(3).press("Enter")
    assert looks() == pytest.approx(patterns[2, 3].tolist(), abs=3e-3)
    best = int(patterns[2, 3].argmax())
    sentence = f"“and” {patterns[2, 3, best]:.0%} at “{TOKENS[best].strip()}” (token {best})"
    assert sentence in tab.locator("p").inner_text()


def test_ribbons_go_from_the_token_that_looks_to_what_it_looks_at(show, patterns, drawn):
    tab = show(th.live.attention_viewer(TOKENS, patterns, HEADS, *TEXT, start=2, role="noticer"))
    settle(tab)
    row = patterns[0, 2]
    ribbons = tab.evaluate(RIBBONS)
    assert len(ribbons) == int((row >= 0.015).sum()) > 1
    widths = [max(1, 22 * x) for x in row.tolist() if x >= 0.015]
    assert [ribbon[0] for ribbon in ribbons] == pytest.approx(widths, abs=0.1)
    starts = [ribbon[1] for ribbon in ribbons if ribbon[1] - ribbon[2] > 20]
    assert len(set(starts)) == 1, "all but the one to itself come from one place"
    assert {tuple(ribbon[3:]) for ribbon in ribbons} == {("rgb(138, 100, 0)", "rgb(138, 100, 0)")}
    np.testing.assert_allclose(drawn[0].axes[0].images[0].get_array(), patterns[:, 2], rtol=1e-6)


@pytest.mark.parametrize(("width", "most"), [(790, 420), (358, 600)])
def test_it_fits_a_projector_and_a_phone(show, width, most):
    words = [f" word{i}" for i in range(16)]
    view = th.live.attention_viewer(words, torch.full((9, 16, 16), 1 / 16), [f"14.{i}" for i in range(9)], *TEXT)
    assert show(view, width=width + 16).locator("figure").bounding_box()["height"] <= most


def test_in_a_kernel_the_figure_needs_no_other_file(show, patterns, monkeypatch):
    monkeypatch.delenv("TH_STATIC", raising=False)
    tab = show(th.live.attention_viewer(TOKENS, patterns, HEADS, *TEXT, whole=True))
    button, buttons = tab.get_by_role("button", name=OPEN), tab.get_by_role("button", name="show head")
    assert not tab.locator("canvas").count(), "on demand"
    button.click()
    tab.get_by_text(f"{HEADS[0]} Zoomed").wait_for()
    assert buttons.count() == len(HEADS)
    buttons.nth(2).press("Enter")
    tab.get_by_text(f"{HEADS[2]} Zoomed").wait_for()
    buttons.nth(1).click()
    tab.get_by_text(f"{HEADS[1]} Zoomed").wait_for()
    assert tab.locator("canvas:not([aria-label])").count() == 0
    button.press("Enter")
    assert not tab.locator("canvas").count()
    button.press("Enter")
    tab.get_by_text("Zoomed").wait_for()


def test_circuitsvis_is_given_the_patterns(show, patterns, monkeypatch):
    monkeypatch.delenv("TH_STATIC", raising=False)
    tab = show(th.live.attention_viewer(TOKENS, patterns, HEADS, *TEXT, whole=True))
    tab.evaluate("() => { window.CircuitsVis = { render: (place, kind, given) => { window.given = given; } } }")
    tab.get_by_role("button", name=OPEN).click()
    settle(tab)
    given = tab.evaluate("window.given")
    torch.testing.assert_close(torch.tensor(given["attention"]), patterns, atol=0.5 / 255 + 1e-6, rtol=0)
    assert given["tokens"] == TOKENS and given["attentionHeadNames"] == HEADS


def test_in_the_book_a_page_loads_the_script_once_and_on_demand(chromium, patterns, monkeypatch, tmp_path):
    monkeypatch.setenv("TH_STATIC", "1")
    figure = html(th.live.attention_viewer(TOKENS, patterns, HEADS, *TEXT, whole=True))
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
        button = tab.get_by_role("button", name=OPEN)
        button.first.click()
        tab.wait_for_timeout(200)
        assert not tab.locator("canvas").count() and tab.locator(".th-scene").first.is_visible(), "the viewer stays"
        script.write_text(bundle(), encoding="utf8")
        button.first.click()
        button.first.click()
        tab.get_by_text("Zoomed").wait_for()  # asked again
        asked.clear()
        tab.reload()
        tab.wait_for_timeout(200)
        assert button.count() == 2 and f"{address}/{IN_BOOK}" not in asked, "nothing is loaded before it is asked for"
        button.nth(1).press("Enter")
        button.first.click()
        tab.get_by_text("Zoomed").nth(1).wait_for()
    assert asked.count(f"{address}/{IN_BOOK}") == 1
    tab.context.close()
