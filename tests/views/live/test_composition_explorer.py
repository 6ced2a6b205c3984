"""The component explorer: the page holds the scores it was given, and what it says of a pair is what torch says."""

import base64
from dataclasses import replace

import numpy as np
import pytest
import torch
from pages import data, press, settle

import th_utils as th
from th_utils.views.live.composition_explorer import STEPS

READERS = [(2, 1), (3, 0)]
TEXT = {"title": "a finding", "alt": "an explorer of writers into two readers", "unit": "share"}


@pytest.fixture(scope="module")
def scores(weights):
    effects = torch.randn(4, 4, 2, generator=torch.Generator().manual_seed(0))
    both = (score(weights, "Q", READERS) for score in (th.component_scores, th.head_scores))
    return (*both, effects)


@pytest.fixture(scope="module")
def view(scores):
    return th.live.composition_explorer(*scores, **TEXT, marks=[(1, 2)])


def test_the_page_holds_every_score_of_every_earlier_head(scores, view):
    components, whole, effects = scores[0].values, scores[1].values, scores[2]
    for j, (reader, shipped) in enumerate(zip(READERS, data(view)["readers"], strict=True)):
        assert shipped["writers"] == [[layer, head] for layer in range(reader[0]) for head in range(4)]
        levels = np.frombuffer(base64.b64decode(shipped["components"]), dtype=np.uint8).reshape(-1, 4, 8)
        expected = components[: reader[0], ..., j].numpy()
        np.testing.assert_allclose(levels / STEPS * shipped["top"], expected, atol=0.51 * expected.max() / STEPS)
        np.testing.assert_allclose(shipped["whole"], whole[: reader[0], :, j].flatten(), rtol=1e-5)
        np.testing.assert_allclose(shipped["effect"], effects[: reader[0], :, j].flatten(), atol=1e-6)


def test_the_page_names_the_ranks_that_the_scores_have(show, scores, view):
    """From the writer with the largest effect, one step left and one down, then another reader."""
    components, whole, effects = scores[0].values, scores[1].values, scores[2]
    tab = show(view)
    figure, grid = tab.locator("figure"), tab.locator("canvas.th-grid")

    def check(j):
        reader, writer = READERS[j], figure.get_attribute("data-writer")
        layer, head = map(int, writer.split("."))
        by_head, size = whole[: reader[0], :, j], effects[: reader[0], :, j].abs()
        parts, best = components[: reader[0], ..., j], components[layer, head, :, j].max()
        sentence = tab.locator("p").inner_text()
        for part in (
            f"{writer} as a writer into {th.label(reader)}: by weights ",
            f"its best component, {writer}.{int(components[layer, head, :, j].argmax())}, ",
            f"ranks {int((parts > best).sum()) + 1} of {parts.numel():,}, ",
            f"by measurement it ranks {int((size > size[layer, head]).sum()) + 1} of {size.numel()} heads.",
        ):
            assert part in sentence
        told = [text.replace("−", "-") for text in tab.locator(".th-boards span").all_inner_texts()]
        assert told == [f"By weights, best component: {best:.3f}", f"By measurement: {effects[layer, head, j]:.2f}"]
        tab.get_by_role("button", name="whole head").click()
        settle(tab)
        rank = int((by_head > by_head[layer, head]).sum()) + 1
        assert f"the whole head ranks {rank} of {by_head.numel()} heads, " in tab.locator("p").inner_text()
        assert tab.locator(".th-boards span").first.inner_text().endswith(f": {by_head[layer, head]:.3f}")
        tab.get_by_role("button", name="best component").click()
        settle(tab)
        return layer, head

    assert check(0) == divmod(int(effects[:2, :, 0].abs().argmax()), 4)
    for keys in (["ArrowLeft"], ["ArrowRight", "ArrowDown"], ["ArrowUp"] * 5):
        press(grid, *keys)
        at = check(0)
    assert at[1] == 0  # no farther than the edge
    tab.get_by_role("button", name=th.label(READERS[1])).click()
    settle(tab)
    check(1)
    for canvas, (layer, head) in ((grid, (1, 2)), (tab.locator("canvas.th-measured"), (0, 3))):  # the same cell in both
        wide = (canvas.bounding_box()["width"] - 20) / 3
        canvas.click(position={"x": 20 + wide * (layer + 0.5), "y": 18 * head + 9})
        settle(tab)
        assert check(1) == (layer, head)


def test_components_are_shown_on_demand_and_boards_fit(show, view):
    for width, most in ((790, 420), (358, 600)):
        tab = show(view, width=width + 16)
        assert tab.locator("figure").bounding_box()["height"] <= most
        bars = tab.locator("canvas.th-profile")
        assert not bars.is_visible()
        tab.get_by_role("button", name="Its components").press("Enter")
        settle(tab)
        assert bars.is_visible() and "Composition scores of the 8 components" in bars.get_attribute("aria-label")
        assert tab.locator("canvas.th-grid").bounding_box()["width"] > 300
        top = [tab.locator(f"canvas.{name}").bounding_box()["y"] for name in ("th-grid", "th-measured")]
        assert (top[0] == top[1]) == (width > 700), "side by side where there is room"


def test_scores_that_do_not_fit_their_readers_are_refused(scores, refuses):
    components, whole, effects = scores
    late, turned = torch.tensor([1, float("nan")]), [replace(one, readers=one.readers[::-1]) for one in scores[:2]]
    less = [replace(one, values=one.values * late) for one in scores[:2]]
    for given, message in (
        ((components, whole, effects[..., :1]), "need the same writers and readers"),
        ((components, turned[1], effects), "need the same writers and readers"),
        ((replace(components, values=components.values - 1), whole, effects), "into 2.1 must be 0 or more"),
        ((*less, effects), "into 3.0 must be .* from earlier heads"),
        ((*turned, effects), "into 3.0 must be .* NaN from all others"),
        ((components, whole, effects * float("nan")), "JSON compliant"),
    ):
        with refuses(message):
            th.live.composition_explorer(*given, **TEXT)
