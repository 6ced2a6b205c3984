"""What each kind of live figure should show, computed from the numbers in the page and compared with what it says.

A figure says what it shows in words, table cells and `data-` attributes. Colours and places are for the eye alone.
"""

import base64
import re

import numpy as np
import pytest


def words(place) -> str:
    return place.inner_text().replace("−", "-")


def numbers(text: str) -> list[float]:
    return [float(part) for part in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text.replace("−", "-"))]


def stated(figure, name: str) -> list[float]:
    return numbers(figure.get_attribute(f"data-{name}"))


def check_percents(texts, shares):
    """Whole per cent, and nothing where it would be none."""
    np.testing.assert_allclose([(numbers(text) or [0])[0] for text in texts], 100 * shares, atol=0.5 + 1e-6)


def attention_viewer(figure, data, hand):
    heads = figure.get_by_role("group", name="Head").get_by_role("button")
    tokens = figure.get_by_role("group", name="The token that looks").get_by_role("button")
    size = len(data["tokens"])
    for head, token in ((1 % len(data["heads"]), size // 2), (0, size - 1)):
        hand.press(heads.nth(head))
        hand.press(tokens.nth(token))
        pattern = np.frombuffer(base64.b64decode(data["heads"][head]["pattern"]), np.uint8).reshape(size, size)
        looks = pattern[token] / data["steps"]
        np.testing.assert_allclose(stated(figure, "looks"), looks, atol=6e-4)
        check_percents(tokens.locator("small").all_inner_texts(), looks)
        best, name = int(looks.argmax()), data["heads"][head]["name"]
        said = figure.locator("p").inner_text()
        assert said.startswith(f"Head {name} looks from “{data['tokens'][token].strip()}” ")
        assert f"% at “{data['tokens'][best].strip()}” (token {best})" in re.split(r"\), ", said)[0] + ")"
        widths = [float(one.get_attribute("stroke-width")) for one in figure.locator(".th-scene path").all()]
        np.testing.assert_allclose(widths, [max(1, 22 * share) for share in looks if share >= 0.015], atol=1e-3)
    if (
        data["source"] is not None
    ):  # circuitsvis draws: that it shows the head that was asked for is all that can be read
        names = [head["name"] for head in data["heads"]]
        for head in (len(names) - 1, 0):
            hand.press(figure.get_by_role("button", name="show head").nth(head))
            figure.get_by_text(f"{names[head]} Zoomed").wait_for()


def channel_playground(figure, data, hand):
    """Numbers between two settings lie on the line between them, and no sentence disagrees with the whole model's."""
    slider, grid = figure.get_by_role("slider"), np.array(data["grid"])
    prompts = figure.get_by_role("group", name="Sentence").get_by_role("button")
    heads = figure.get_by_role("group", name="Head").get_by_role("button")
    messages = figure.get_by_role("group", name="Message").get_by_role("button")
    for p, prompt in enumerate(data["prompts"]):
        hand.press(prompts.nth(p))
        h = p % len(data["heads"])
        hand.press(heads.nth(h))
        for i, axis in enumerate(data["axes"]):
            if len(data["axes"]) > 1:
                hand.press(messages.nth(i))
            curve, size = prompt["curves"][i], len(prompt["tokens"])
            levels = np.frombuffer(base64.b64decode(curve["looks"]), np.uint8).reshape(-1, len(grid), size)
            before = np.interp(prompt["natural"][i] / axis["limit"], grid, curve["whole"])
            for share in (None, 0.1, 0.3, 0.5, 0.7, 0.9):
                if share is not None:
                    hand.slide(slider, share)
                value = float(slider.input_value()) * (-1 if axis["turned"] else 1)
                at = value / axis["limit"]
                assert stated(figure, "value") == [pytest.approx(value, abs=1e-4)]
                assert share is not None or value == pytest.approx(prompt["natural"][i], abs=1e-3)
                lead = float(np.interp(at, grid, curve["whole"]))
                looks = np.array([np.interp(at, grid, column) for column in levels[h].T]) / data["steps"]
                np.testing.assert_allclose(stated(figure, "attention"), looks, atol=1e-3)
                assert stated(figure, "lead") == [pytest.approx(lead, abs=1e-3)]
                assert stated(figure, "alone") == [pytest.approx(np.interp(at, grid, curve["alone"]), abs=1e-3)]
                said, likely = words(figure.locator(".th-sentence")), 1 / (1 + np.exp(-lead))
                names = [one for one in np.argsort(prompt["marks"]) if prompt["marks"][one] >= 0]
                for name in names:
                    assert f"{prompt['words'][name]}" in said
                check_percents(re.findall(r"\d+%", said), np.array([looks[prompt["marks"][name]] for name in names]))
                told = re.search(r"The whole model (now|still)?.*prefers (.*)\.$", said)
                assert bool(told) == (abs(lead) > curve["even"]) == ("about even" not in said), (said, lead)
                if told:
                    assert told[2] == prompt["words"][int(lead < 0)] and (told[1] == "now") == (lead * before < 0)
                answers = figure.locator(".th-answer > span").all_inner_texts()
                check_percents(
                    [text.rsplit(" ", 1)[1] for text in answers],
                    np.array([likely if name == 0 else 1 - likely for name in np.argsort(prompt["marks"])]),
                )


def composition_explorer(figure, data, hand):
    readers = figure.get_by_role("group", name="Reader").get_by_role("button")
    measures = figure.get_by_role("group", name="Weights").get_by_role("button")
    for r in (0, len(data["readers"]) - 1):
        hand.press(readers.nth(r))
        reader = data["readers"][r]
        levels = np.frombuffer(base64.b64decode(reader["components"]), np.uint8).reshape(-1, data["k"])
        whole, effect = np.array(reader["whole"]), np.array(reader["effect"])
        for key in (None, "ArrowLeft", "ArrowDown"):
            if key and hand.way == "keyboard":
                hand.keys(figure.locator("canvas").first, key)
            name = figure.get_attribute("data-writer")
            own = reader["writers"].index([int(part) for part in name.split(".")])
            best, score, rank = reader["best"][own]
            measured = f"it ranks {1 + (np.abs(effect) > abs(effect[own])).sum()} of {len(whole)} heads."
            for i, value, weighed in (
                (1, whole[own], f"the whole head ranks {1 + (whole > whole[own]).sum()} of {len(whole)} heads"),
                (0, score, f"its best component, {name}.{best}, ranks {rank} of {levels.size:,}"),
            ):
                hand.press(measures.nth(i))
                said = f"{name} as a writer into {reader['name']}: by weights {weighed}, by measurement {measured}"
                assert words(figure.locator("p")) == said
                one, other = map(words, figure.locator(".th-boards span").all())
                assert one.endswith(f": {value:.3f}") and other == f"By measurement: {effect[own]:.2f}"
            level = levels[own, best]
            assert level == levels[own].max() and (levels > level).sum() < rank <= (levels >= level).sum()


def frame_slider(figure, data, hand):
    slider, image = figure.get_by_role("slider"), figure.locator("img")
    places = [frame["at"] for frame in data["frames"]]
    assert float(slider.input_value()) == places[data["start"]]
    seen = set()
    for share in (0.02, 0.98):
        hand.slide(slider, share)
        frame = data["frames"][places.index(float(slider.input_value()))]
        seen.add(frame["name"])
        assert image.get_attribute("src").endswith(frame["png"]) and image.get_attribute("alt") == frame["alt"]
        assert figure.locator("output").inner_text() == slider.get_attribute("aria-valuetext") == frame["name"]
    assert len(seen) > 1
    for name, at in data["marks"]:  # where it would be on the slider
        track, tick = slider.bounding_box(), figure.locator("svg text").get_by_text(name, exact=True).bounding_box()
        share = (at - places[0]) / (places[-1] - places[0])
        middle = track["x"] + 8 + share * (track["width"] - 16)
        assert tick["x"] - 2 <= middle <= tick["x"] + tick["width"] + 2


def territory_atlas(figure, data, hand):
    slider, panels = figure.get_by_role("slider"), figure.get_by_role("group", name="Show").get_by_role("button")
    axes = [np.array(axis["values"]) for axis in data["axes"]]
    assert panels.nth(data["start"]).get_attribute("aria-pressed") == "true"
    for p in (0, len(data["panels"]) - 1):
        hand.press(panels.nth(p))
        hand.press(figure.get_by_role("button", name="Where the model is"))
        panel = data["panels"][p]
        levels = np.frombuffer(base64.b64decode(panel["shares"]), "<u2").astype(float) / data["steps"]
        levels = levels.reshape(*map(len, axes), -1)
        mean = np.array(panel["natural"]).mean(0)
        home = [int(np.abs(axis - x).argmin()) for axis, x in zip(axes, mean, strict=True)]
        assert stated(figure, "at") == home
        for share in (0.05, 0.95):
            hand.slide(slider, share)
            at = (*home[:2], int(slider.input_value()))
            assert stated(figure, "at") == list(at)
            here = levels[at]
            np.testing.assert_allclose(stated(figure, "shares"), here, atol=1e-4)
            rows = figure.locator(".th-row")
            np.testing.assert_allclose([numbers(text)[-1] for text in rows.all_inner_texts()], 100 * here, atol=0.0501)
            first, second = (data["names"][i] for i in np.argsort(-here, kind="stable")[:2])
            said = words(figure.locator("p[aria-live]"))
            assert f"{data['outcome']} {first} wins" in said and f"of {data['outcome']} {second}" in said


SHOWS = {
    one.__name__.replace("_", "-"): one
    for one in (attention_viewer, channel_playground, composition_explorer, frame_slider, territory_atlas)
}
