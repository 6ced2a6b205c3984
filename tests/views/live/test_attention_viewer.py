"""The attention viewer: what the page says a token looks at is the pattern that it was given."""

import pytest
import torch
from pages import settle

import th_utils as th

TOKENS, HEADS = ["BOS", " Ana", " $b", " and", " said"], ["1.0", "1.1", "2.0"]


def test_every_head_and_token_shows_its_own_row(show):
    scores = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0)) * 2
    patterns = scores.masked_fill(torch.ones(5, 5, dtype=torch.bool).triu(1), -torch.inf).softmax(-1)
    tab = show(th.live.attention_viewer(TOKENS, patterns, HEADS, "a finding", "an attention viewer"))

    def looks():
        settle(tab)
        return [float(share) for share in tab.locator("figure").get_attribute("data-looks").split()]

    assert looks() == pytest.approx(patterns[0, -1].tolist(), abs=3e-3)
    tab.get_by_role("button", name="2.0", exact=True).click()
    tab.get_by_role("group", name="The token that looks").get_by_role("button").nth(3).press("Enter")
    assert looks() == pytest.approx(patterns[2, 3].tolist(), abs=3e-3)
    best = int(patterns[2, 3].argmax())
    sentence = f"“and” {patterns[2, 3, best]:.0%} at “{TOKENS[best].strip()}” (token {best})"
    assert sentence in tab.locator("p").inner_text()
