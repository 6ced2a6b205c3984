"""The attention viewer: what the page says a token looks at is the pattern that it was given."""

import pytest
import torch
from test_cloud import browser, html, opened, page_of, settle  # noqa: F401

import th_utils as th

TOKENS = ["BOS", " Ana", "</script ><script>harm=1", " $b", " said"]
HEADS = ["1.0", "1.1", "2.0"]
TEXT = ("a finding", "an attention viewer for a few heads")


@pytest.fixture(scope="module")
def patterns():
    scores = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0)) * 2
    return scores.masked_fill(torch.ones(5, 5, dtype=torch.bool).triu(1), -torch.inf).softmax(-1)


def test_every_head_and_token_shows_its_own_row(browser, patterns):  # noqa: F811
    view = th.live.attention_viewer(TOKENS, patterns, ["1.0", "1.1", "2.0"], *TEXT)
    tab, trouble = opened(browser, page_of(html(view), style="background: #121212; color: #ddd"), width=360)
    figure = tab.locator("figure[data-live][data-theme-dark]")

    def looks():
        settle(tab)
        return [float(share) for share in figure.get_attribute("data-looks").split()]

    assert looks() == pytest.approx(patterns[0, -1].tolist(), abs=3e-3)
    tab.get_by_role("button", name="2.0", exact=True).click()
    tab.get_by_role("group", name="The token that looks").get_by_role("button").nth(3).press("Enter")
    assert looks() == pytest.approx(patterns[2, 3].tolist(), abs=3e-3)
    best = int(patterns[2, 3].argmax())
    assert (
        f"“$b” {patterns[2, 3, best]:.0%} at “{TOKENS[best].strip()}” (token {best})" in tab.locator("p").inner_text()
    )
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.evaluate("window.harm") is None and not trouble
    tab.context.close()


def test_a_figure_whose_cell_runs_again_leaves_quietly(browser, patterns):  # noqa: F811
    tab, trouble = opened(browser, page_of(html(th.live.attention_viewer(TOKENS, patterns, HEADS, *TEXT))))
    tab.evaluate("document.querySelector('figure').remove(); document.body.style.color = '#ddd'")
    settle(tab)
    settle(tab)
    assert not trouble
    tab.context.close()


@pytest.mark.parametrize(
    "change, message",
    [({"names": ["a"]}, "patterns must be"),
     ({"names": [(1, 0)] * 3}, "must be texts"), ({"tokens": TOKENS[:2]}, "patterns must be"),
     ({"patterns": torch.full((3, 5, 5), 2.0)}, "between 0 and 1"),
     ({"patterns": torch.full((3, 5, 5), torch.nan)}, "between 0 and 1")],
)  # fmt: skip
def test_what_is_no_attention_is_refused(patterns, change, message, refuses):
    given = {"tokens": TOKENS, "patterns": patterns, "names": ["1.0", "1.1", "2.0"]} | change
    with refuses(message):
        th.live.attention_viewer(*given.values(), *TEXT)
