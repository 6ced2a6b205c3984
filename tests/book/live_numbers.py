"""What each kind of live figure should show, computed from the numbers in the page and compared with what it shows."""

import base64
import re

import numpy as np
import pytest

# Where a colour stands on a canvas, in CSS pixels: its mean place and its box, rightwards and downwards.
COLOUR = """(canvas, colour) => {
    const wanted = [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));
    const { width, height } = canvas, unit = canvas.clientWidth / width;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const xs = [], ys = [];
    for (let i = 0; i < data.length; i += 4)
        if (data[i + 3] > 90 && wanted.every((value, c) => Math.abs(data[i + c] - value) < 6)) {
            xs.push(unit * (i / 4 % width));
            ys.push(unit * Math.floor(i / 4 / width));
        }
    const mean = list => list.reduce((a, b) => a + b, 0) / list.length;
    const end = (list, f) => list.reduce((a, b) => f(a, b));
    return xs.length && { mean: [mean(xs), mean(ys)],
        box: [end(xs, Math.min), end(xs, Math.max), end(ys, Math.min), end(ys, Math.max)] };
}"""


MARGIN = (20, 20)  # CSS pixels above and below the map of an atlas


def words(place) -> str:
    return place.inner_text().replace("−", "-")


def numbers(code: str, *shape: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(code), dtype=np.uint8).reshape(shape)


def check_percents(texts, shares):
    """Whole per cent, and nothing where it would be none."""
    shown = [float(text.rstrip("%")) / 100 if text else 0.0 for text in texts]
    np.testing.assert_allclose(shown, shares, atol=0.005 + 1e-9)


def check_straight(values, pixels):
    """A drawn place moves in proportion to its number."""
    values, pixels = np.array(values), np.array(pixels)
    assert np.ptp(values) > 0 and np.ptp(pixels) > 10, (values, pixels)
    fit = np.polyval(np.polyfit(values, pixels, 1), values)
    np.testing.assert_allclose(fit, pixels, atol=1.5)


def viewer(figure, data, hand):
    heads = figure.get_by_role("group", name="Head").get_by_role("button")
    tokens = figure.get_by_role("group", name="The token that looks").get_by_role("button")
    size = len(data["tokens"])
    for head, token in ((1 % len(data["heads"]), size // 2), (len(data["heads"]) - 1, 1), (0, size - 1)):
        hand.press(heads.nth(head))
        hand.press(tokens.nth(token))
        looks = numbers(data["heads"][head]["pattern"], size, size)[token] / data["steps"]
        check_percents(tokens.locator("small").all_inner_texts(), looks)
        best = int(looks.argmax())
        start, most = f"Head {data['heads'][head]['name']} looks from “{data['tokens'][token].strip()}” ", looks[best]
        said = figure.locator("p").inner_text()
        assert said.startswith(start)
        assert any(said.startswith(f"{start}{n}% at “{data['tokens'][best].strip()}” (token {best})")
                   for n in {round(100 * most - 1e-6), round(100 * most + 1e-6)})  # fmt: skip


def attention(head: dict, change: np.ndarray) -> np.ndarray:
    """The docstring of th_utils/playground.py, in float64."""
    b, beta, kappa, cross, square = (np.array(head[name]) for name in ("b", "beta", "kappa", "cross", "square"))
    scores = (b - beta + kappa @ change) / np.sqrt(1 + change @ cross + change @ square @ change) + beta
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


def playground(figure, data, hand):
    sliders = figure.get_by_role("slider")
    chart = figure.locator("canvas")
    dark = figure.get_attribute("data-theme-dark") is not None
    prompts = figure.get_by_role("group", name="Prompt").get_by_role("button")
    heads = figure.get_by_role("group", name="Head").get_by_role("button")
    for p, h in ((0, 0), (len(data["prompts"]) - 1, len(data["heads"]) - 1)):
        hand.press(prompts.nth(p))
        hand.press(heads.nth(h))
        prompt = data["prompts"][p]
        natural = np.array(prompt["natural"])
        values, trace = natural.copy(), []

        def check(values=values, prompt=prompt, natural=natural, h=h):
            looks = attention(prompt["heads"][h], values - natural)
            lead = prompt["lead"] + sum(
                (attention(head, values - natural) - attention(head, 0 * values)) @ head["pull"]
                for head in prompt["heads"]
            )
            shown = [float(share) for share in figure.get_attribute("data-attention").split()]
            np.testing.assert_allclose(shown, looks, atol=1e-3)
            check_percents(figure.locator(".th-token small").all_inner_texts(), looks)
            assert float(figure.get_attribute("data-lead")) == pytest.approx(lead, abs=1e-3)
            said = words(figure.locator("p"))
            assert f"{prompt['words'][int(lead < 0)]} leads" in said
            assert float(said.split()[-1].rstrip(".")) == pytest.approx(abs(lead), abs=0.0501)
            outputs = [float(words(output)) for output in figure.locator("output").all()]
            np.testing.assert_allclose(outputs, values, atol=0.0501)
            assert float(chart.get_attribute("aria-label").split()[-1].rstrip(".").replace("−", "-")) == pytest.approx(
                lead, abs=0.0501
            )
            return lead

        check()
        for share in (0.1, 0.35, 0.9):  # along the curve that is drawn
            hand.slide(sliders.first, share)
            values[0] = float(sliders.first.input_value())
            lead = check()
            trace.append((values[0], lead, *chart.evaluate(COLOUR, "#e69f00" if dark else "#b34d00")["mean"]))
        value, lead, x, y = zip(*trace, strict=True)
        check_straight(value, x)
        check_straight(lead, y)
        for i in range(1, len(values)):
            hand.slide(sliders.nth(i), 0.8)
            values[i] = float(sliders.nth(i).input_value())
            check()
        hand.press(figure.get_by_role("button", name="As the model wrote it"))
        values[:] = natural
        check()


def explorer(figure, data, hand):
    grid, profile, scatter = figure.locator("canvas").all()
    readers = figure.get_by_role("group", name="Reader").get_by_role("button")
    for r in (0, len(data["readers"]) - 1):
        hand.press(readers.nth(r))
        reader = data["readers"][r]
        writers = [tuple(writer) for writer in reader["writers"]]
        layers, heads = (max(column) + 1 for column in zip(*writers, strict=True))
        levels = numbers(reader["components"], len(writers), data["k"])
        whole, effect = np.array(reader["whole"]), np.array(reader["effect"])
        trace = []
        strongest = writers[int(np.abs(effect).argmax())]
        for writer in (strongest, (max(layers - 3, 0), 0), (layers - 1, heads - 1), (layers // 2, heads // 3)):
            choose(grid, hand, writer, figure, layers, heads)
            own = writers.index(writer)
            best, score, rank = reader["best"][own]
            name = f"{writer[0]}.{writer[1]}"
            said = words(figure.locator("p"))
            expected = [
                f"{name} → {reader['name']}. ",
                f"Whole head {whole[own]:.3f}, rank {1 + (whole > whole[own]).sum()} of {len(writers)}. ",
                f"Best component {name}.{best}: {score:.3f}, rank {rank} of {levels.size}. ",
                f"Measured effect {effect[own]:.2f}, rank {1 + (np.abs(effect) > abs(effect[own])).sum()} by size.",
            ]
            assert all(part in said for part in expected), (said, expected)
            level = levels[own, best]
            assert level == levels[own].max() and (levels > level).sum() < rank <= (levels >= level).sum()
            assert f"largest {levels[own].max() / data['steps'] * reader['top']:.3f}" in profile.get_attribute(
                "aria-label"
            )
            ring, dot = (one.evaluate(COLOUR, "#e69f00")["mean"] for one in (grid, scatter))
            trace.append((*writer, *ring, score, effect[own], *dot))
        layer, head, ring_x, ring_y, score, size, dot_x, dot_y = zip(*trace, strict=True)
        for value, pixel in ((layer, ring_x), (head, ring_y), (score, dot_x), (size, dot_y)):
            check_straight(value, pixel)


def steps(right: int, up: int) -> list[str]:
    """The keys for so many steps."""
    across, along = "ArrowRight" if right > 0 else "ArrowLeft", "ArrowUp" if up > 0 else "ArrowDown"
    return [across] * abs(right) + [along] * abs(up)


def choose(grid, hand, writer, figure, layers, heads):
    if hand.way == "keyboard":
        now = [int(part) for part in figure.get_attribute("data-writer").split(".")]
        hand.keys(grid, *steps(writer[0] - now[0], now[1] - writer[1]))
        return
    box = grid.bounding_box()
    left = 26 / box["width"]
    hand.point(grid, left + (1 - left) * (writer[0] + 0.5) / layers, (18 * writer[1] + 9) / box["height"])


def cloud(figure, data, hand):
    """Each group alone: the box around its colour is the box around its projected points, up to one scale."""
    canvas = figure.locator("canvas.th-space")
    groups = figure.get_by_role("group", name="Groups shown").get_by_role("button")
    yaw, pitch = -60.0, 20.0
    if hand.way == "mouse":
        box = canvas.bounding_box()
        list(hand.drag(canvas, (0.5, 0.5), (0.5 + 80 / box["width"], 0.5 + 30 / box["height"])))
        yaw, pitch = yaw - 40, pitch + 15
    elif hand.way == "keyboard":
        hand.keys(canvas, "ArrowLeft", "ArrowLeft", "ArrowUp")
        yaw, pitch = yaw + 20, pitch - 10
    else:
        for name in ("Turn right", "Turn right", "Tilt down"):
            hand.press(figure.get_by_role("button", name=name))
        yaw, pitch = yaw - 20, pitch + 10
    cy, sy, cp, sp = (f(np.radians(a)) for a in (yaw, pitch) for f in (np.cos, np.sin))
    for button in groups.all()[1:]:
        hand.press(button)
    found, expected = [], []
    for i, group in enumerate(data["groups"]):
        assert f"({len(group['points']) // 3})" in groups.nth(i).inner_text()
        x, y, z = np.array(group["points"]).reshape(-1, 3).T / data["steps"]
        forward = cy * x + sy * y
        scale = 6 / (6 - cp * forward - sp * z)  # the reader is six half sides away
        right, down = scale * (cy * y - sy * x), -scale * (cp * z - sp * forward)
        expected.append([right.min(), right.max(), down.min(), down.max()])
        box = canvas.bounding_box()
        left, end, top, bottom = canvas.evaluate(COLOUR, group["colour"])["box"]
        half = box["width"] / 2, box["height"] / 2
        found.append([left - half[0], end - half[0], top - half[1], bottom - half[1]])
        hand.press(groups.nth(i), "Space")
        if i + 1 < len(data["groups"]):
            hand.press(groups.nth(i + 1), "Space")
    found, expected = np.ravel(found), np.ravel(expected)
    unit = (found @ expected) / (expected @ expected)
    assert unit > 40 and np.abs(found - unit * expected).max() < 8, (unit, found - unit * expected)
    for button in groups.all():
        if button.get_attribute("aria-pressed") == "false":
            hand.press(button)
    hand.press(figure.get_by_role("button", name="Reset the view"))


def dials(figure, data, hand):
    sliders, rows = figure.get_by_role("slider"), figure.locator("tbody tr")
    shape = [len(scale["stops"]) for scale in data["scales"]]
    states = np.array(data["states"])  # [settings, numbers, (value, low, high)]
    at = [scale["start"] for scale in data["scales"]]
    first = states[np.ravel_multi_index(at, shape)]
    most = np.abs(states[:, :, 0]).max(0)
    moves = [(i, share) for share in (0.95, 0.5) for i in range(len(at))]
    for i, share in [(None, None), *moves]:
        if i is not None:
            hand.slide(sliders.nth(i), share)
            at[i] = int(sliders.nth(i).input_value())
        here = states[np.ravel_multi_index(at, shape)]
        for scale, place, output in zip(data["scales"], at, figure.locator("output").all(), strict=True):
            assert float(words(output)) == pytest.approx(scale["stops"][place], rel=6e-3)
        table = rows.evaluate_all("""rows => rows.map(row => {
            const [start, now, bars] = row.querySelectorAll("td"), style = getComputedStyle(bars);
            const room = bars.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
            return [start.textContent, now.textContent, [...bars.children].map(bar => bar.offsetWidth / room)];
        })""")
        for n, (*cells, bars) in enumerate(table):
            for text, wanted in zip(cells, (first[n], here[n]), strict=True):
                shown = [float(part) for part in re.findall(r"[-\d.e+]+", text.replace("−", "-"))]
                assert len(shown) == (3 if wanted[1] < wanted[2] else 1)
                np.testing.assert_allclose(shown, wanted[: len(shown)], rtol=6e-3)
            np.testing.assert_allclose(bars, np.abs([here[n, 0], first[n, 0]]) / (most[n] or 1), atol=0.02)


def scrub(figure, data, hand):
    slider, image = figure.get_by_role("slider"), figure.locator("img")
    assert slider.input_value() == str(data["start"])
    seen = set()
    for share in (0.02, 0.5, 0.98):
        hand.slide(slider, share)
        frame = data["frames"][int(slider.input_value())]
        seen.add(frame["name"])
        assert image.get_attribute("src") == f"data:image/png;base64,{frame['png']}"
        assert image.get_attribute("alt") == frame["alt"] and len(frame["alt"].split()) >= 5
        assert figure.locator("output").inner_text() == slider.get_attribute("aria-valuetext") == frame["name"]
        size = image.evaluate(
            "async image => { await image.decode(); return [image.naturalWidth, image.naturalHeight] }"
        )
        header = base64.b64decode(frame["png"])[16:24]
        assert size == [int.from_bytes(header[:4]), int.from_bytes(header[4:])]
    assert len(seen) > 1


def atlas(figure, data, hand):
    canvas, slider = figure.locator("canvas"), figure.get_by_role("slider")
    panels = figure.get_by_role("group", name="Show").get_by_role("button")
    axes = [np.array(axis["values"]) for axis in data["axes"]]
    size = [len(axis) for axis in axes]
    for p in (0, len(data["panels"]) - 1):
        hand.press(panels.nth(p))
        panel = data["panels"][p]
        hand.press(figure.get_by_role("button", name="Where the model is"))
        levels = np.frombuffer(base64.b64decode(panel["shares"]), "<u2").astype(float) / data["steps"]
        levels = levels.reshape(*size, -1)
        means = np.array(panel["natural"])

        def snap(point):
            return tuple(int(np.abs(axis - x).argmin()) for axis, x in zip(axes, point, strict=True))

        home = snap(means.mean(0))
        for goal, third in ((home, None), ((size[0] - 1, 1), 0.05), ((0, size[1] - 1), 0.95), ((1, 0), None)):
            if goal is not home:
                walk(canvas, hand, goal, figure, size)
            if third is not None:
                hand.slide(slider, third)
            at = (*goal[:2], int(slider.input_value()))
            assert figure.get_attribute("data-at") == " ".join(map(str, at)) and (goal is not home or at == home)
            here = levels[at]
            shown = [float(row.split()[-1].rstrip("%")) for row in figure.locator(".th-row").all_inner_texts()]
            np.testing.assert_allclose(shown, 100 * here, atol=0.0501)
            first, second = np.argsort(-here, kind="stable")[:2]
            said = words(figure.locator("p[aria-live]"))
            outcome, names = data["outcome"], data["names"]
            assert f"{outcome} {names[first]} wins" in said and f"of {outcome} {names[second]}" in said
            numbers_said = [float(x) for x in re.findall(r"[\d.]+(?=%| points)", said)]
            np.testing.assert_allclose(
                numbers_said, 100 * np.array([here[first], here[first] - here[second]]), atol=0.0501
            )
            for axis, place in zip(data["axes"], at, strict=True):
                assert f"{axis['values'][place]:.3g}".removesuffix(".0") in said
            assert figure.locator(".th-row[data-wins]").inner_text().split()[1] == names[first]
            # Nine cells in ten have the winner's colour where neither ring nor number stands; marks cover some.
            wins = levels[:, :, at[2]].argmax(-1)
            drawn = corners(canvas, size)
            assert np.mean([drawn[at] == panel["colours"][winner][0] for at, winner in np.ndenumerate(wins)]) > 0.9
        owners = sorted({int(levels[snap(mean)].argmax()) for mean in means})
        last = figure.locator("p").last.inner_text()
        assert [word for word in re.findall(rf"(?<={data['outcome']} )\S+?(?=[,. ]|$)", last.split("cells of")[1])] == [
            data["names"][i] for i in owners
        ]


def cell(canvas, size, i, j) -> tuple[float, float]:
    """The middle of a cell in CSS pixels: 40 left of the map are for the axis, and MARGIN above and below."""
    wide, high = (canvas["width"] - 40) / size[0], (canvas["height"] - sum(MARGIN)) / size[1]
    return 40 + (i + 0.5) * wide, canvas["height"] - MARGIN[1] - (j + 0.5) * high


def walk(canvas, hand, goal, figure, size):
    if hand.way == "keyboard":
        now = [int(part) for part in figure.get_attribute("data-at").split()]
        hand.keys(canvas, *steps(goal[0] - now[0], goal[1] - now[1]))
    else:
        box = canvas.bounding_box()
        x, y = cell(box, size, *goal)
        hand.point(canvas, x / box["width"], y / box["height"])


def corners(canvas, size) -> dict[tuple[int, int], str]:
    """The colour near the corner of every cell."""
    box = canvas.bounding_box()
    cells = list(np.ndindex(*size[:2]))
    (left, low), (right, high) = cell(box, size, 0, 0), cell(box, size, 1, 1)
    spots = [(x - 0.42 * (right - left), y + 0.38 * (low - high)) for x, y in (cell(box, size, i, j) for i, j in cells)]
    found = canvas.evaluate("""(canvas, spots) => {
        const pen = canvas.getContext("2d"), unit = canvas.width / canvas.clientWidth;
        return spots.map(([x, y]) => "#" + [...pen.getImageData(x * unit, y * unit, 1, 1).data].slice(0, 3)
            .map(level => level.toString(16).padStart(2, "0")).join(""));
    }""", [[float(x), float(y)] for x, y in spots])  # fmt: skip
    return dict(zip(cells, found, strict=True))


def gallery(figure, data, hand):
    """circuitsvis' large map: the more a token is looked at, the less green is left in its blue."""
    buttons = figure.get_by_role("button", name="show head")
    size = len(data["tokens"])
    for head in (1 % len(data["names"]), len(data["names"]) - 1, 0):
        hand.press(buttons.nth(head))
        figure.get_by_text(f"{data['names'][head]} Zoomed").wait_for()
        hand.tab.wait_for_timeout(100)
        canvas = figure.locator("canvas").last
        left, right, top, bottom = canvas.evaluate(COLOUR, "#c8c8c8")["box"]  # what lies ahead of a token
        wide, high = (right - left) / (size - 1), (bottom - top) / (size - 1)
        places = [[left + (s - 0.5) * wide, top + (t + 0.5) * high] for t in range(size) for s in range(t + 1)]
        greens = canvas.evaluate("""(canvas, places) => {
            const unit = canvas.width / canvas.clientWidth, pen = canvas.getContext("2d");
            return places.map(([x, y]) => pen.getImageData(x * unit, y * unit, 1, 1).data[1]);
        }""", places)  # fmt: skip
        shares = np.array(data["patterns"][head])[np.tril_indices(size)]
        greens = np.array(greens)[np.argsort(shares, kind="stable")]
        assert np.ptp(greens) > 100 and np.diff(np.minimum.accumulate(greens) - greens).min() >= -4, greens


SHOWS = {one.__name__: one for one in (viewer, playground, explorer, cloud, dials, scrub, atlas, gallery)}
