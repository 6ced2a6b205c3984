"""The component explorer: the page holds the scores it was given, and what it says of a pair is what torch says."""

import base64
import json

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from test_cloud import browser, html, opened, page_of, settle  # noqa: F401

import th_utils as th
from th_utils.views.live import composition_explorer as module

READERS = [(2, 1), (3, 0)]
TEXT = {"title": "a finding", "alt": "an explorer of writers into two readers", "unit": "share"}


@pytest.fixture(scope="module")
def scores(weights):
    ov = th.decompose_ov(weights)
    effects = torch.randn(4, 4, 2, generator=torch.Generator().manual_seed(0))
    return th.component_scores(weights, ov, "Q", READERS), th.head_scores(weights, "Q", READERS), effects


@pytest.fixture(scope="module")
def view(scores):
    return th.live.composition_explorer(*scores, READERS, **TEXT, marks=[(1, 2)])


def data(view) -> dict:
    return json.loads(BeautifulSoup(html(view), "html.parser").find("script", type="application/json").string)


def test_the_page_holds_every_score_of_every_earlier_head(scores, view):
    components, whole, effects = scores
    for j, (reader, shipped) in enumerate(zip(READERS, data(view)["readers"], strict=True)):
        assert shipped["writers"] == [[layer, head] for layer in range(reader[0]) for head in range(4)]
        levels = np.frombuffer(base64.b64decode(shipped["components"]), dtype=np.uint8).reshape(-1, 4, 8)
        expected = components[: reader[0], ..., j].numpy()
        np.testing.assert_allclose(
            levels / module.STEPS * shipped["top"], expected, atol=0.51 * expected.max() / module.STEPS
        )
        np.testing.assert_allclose(shipped["whole"], whole[: reader[0], :, j].flatten(), rtol=6e-3)
        np.testing.assert_allclose(shipped["effect"], effects[: reader[0], :, j].flatten(), atol=6e-4)


def test_the_page_names_the_ranks_that_the_scores_have(browser, scores, view):  # noqa: F811
    """From the writer with the largest effect, one step left and one down, then another reader."""
    components, whole, effects = scores
    tab, trouble = opened(browser, page_of(html(view)))
    words, grid = tab.locator("p"), tab.locator("canvas.th-grid")

    def said_of(writer, j):
        reader = READERS[j]
        at = tuple(map(int, writer.split(".")))
        by_head, size = whole[: reader[0], :, j].flatten(), effects[: reader[0], :, j].abs().flatten()
        own = at[0] * 4 + at[1]
        best = components[(*at, slice(None), j)].max()
        parts = components[: reader[0], ..., j]
        return (f"{writer} → {th.label(reader)}.", f"rank {int((by_head > by_head[own]).sum()) + 1} of {len(by_head)}",
                f"{writer}.{int(components[(*at, slice(None), j)].argmax())}: {best:.3f}",
                f"rank {int((parts > best).sum()) + 1} of {parts.numel()}",
                f"rank {int((size > size[own]).sum()) + 1} by size")  # fmt: skip

    strongest = int(effects[:2, :, 0].abs().flatten().argmax())
    writer = f"{strongest // 4}.{strongest % 4}"
    assert all(part in words.inner_text() for part in said_of(writer, 0))
    for keys in (["ArrowLeft"], ["ArrowRight", "ArrowDown"], ["ArrowUp"] * 5):
        for key in keys:
            grid.press(key)
        settle(tab)
        writer = tab.locator("figure").get_attribute("data-writer")
        assert all(part in words.inner_text() for part in said_of(writer, 0))
    assert writer.endswith(".0")  # no farther than the edge
    tab.get_by_role("button", name=th.label(READERS[1])).click()
    settle(tab)
    assert all(part in words.inner_text() for part in said_of(tab.locator("figure").get_attribute("data-writer"), 1))
    box = grid.bounding_box()
    grid.click(position={"x": 26 + (box["width"] - 26) * 0.5, "y": 18 * 2 + 9})
    settle(tab)
    assert tab.locator("figure").get_attribute("data-writer") == "1.2"
    assert not trouble
    tab.context.close()


def test_it_fits_a_phone_in_the_dark_and_hostile_words_stay_text(browser, scores):  # noqa: F811
    evil = "</script ><script>window.harm = 1</script>"
    made = th.live.composition_explorer(*scores, READERS, evil, f"some words {evil} and more", evil)
    tab, trouble = opened(browser, page_of(html(made), style="background: #121212; color: #ddd"), width=360)
    assert tab.locator("figure[data-live][data-theme-dark]").count() == 1
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.evaluate("window.harm") is None and not trouble
    tab.context.close()


def test_what_does_not_fit_is_refused_by_name(scores, refuses):
    components, whole, effects = scores
    with refuses(r"need components \[layers, heads, k, readers\]"):
        th.live.composition_explorer(components, whole[..., 0], effects, READERS, **TEXT)
    with refuses("need one reader for each of the 2 columns, got 1"):
        th.live.composition_explorer(components, whole, effects, READERS[:1], **TEXT)
    with refuses("reader 3.0 has no earlier head"):
        late = torch.tensor([1, float("nan")])
        th.live.composition_explorer(components * late, whole * late, effects, READERS, **TEXT)
    with refuses("scores into reader 2.1 must be 0 or more"):
        th.live.composition_explorer(components - 1, whole, effects, READERS, **TEXT)
    with refuses("scores into reader 3.0 must be 0 or more, and NaN only for whole writers"):
        th.live.composition_explorer(components, whole * late, effects, READERS, **TEXT)
    with refuses("reader 2.1 has scores of writers not earlier: are the readers in order"):
        th.live.composition_explorer(components, whole, effects, READERS[::-1], **TEXT)
    with refuses("head"):
        th.live.composition_explorer(components, whole, effects, READERS, **TEXT, marks=[(99, 1)])
    with refuses("effects on reader 2.1 hold NaN"):
        th.live.composition_explorer(components, whole, effects * float("nan"), READERS, **TEXT)
