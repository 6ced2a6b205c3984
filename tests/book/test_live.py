"""Every figure of the built pages that comes alive: by mouse, keyboard and touch, with its numbers recomputed.

A control works if it changes what its figure shows (`look`) and undoing it brings that back. What a kind of figure
should show is computed here again, from the numbers in the page: `SHOWS` needs a check for every kind.
"""

import json
import re

import pytest
from live_numbers import SHOWS, words
from pages import settle
from rendered import HTML, toc_pages

CONTROLS = "button, input, select, summary, a[href], [role=button], [tabindex]"
LOOK = """figure => JSON.stringify([
    figure.innerText,
    [...figure.querySelectorAll("img, input, [aria-pressed], [style]")].map(node =>
        [node.src && node.src.length + node.src.slice(-99), node.value, node.ariaPressed, node.style.cssText]),
    [...figure.querySelectorAll("canvas")].map(canvas => canvas.width && canvas.toDataURL()),
])"""
BUTTONS = "button, [role=button]"
FRESH = """async () => {
    const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
    const fresh = [...page.querySelectorAll("figure.th-live")];
    document.querySelectorAll("figure.th-live").forEach((figure, i) => {
        figure.replaceWith(fresh[i]);
        const code = [...fresh[i].querySelectorAll("script:not([type])")];
        code.forEach(old => old.replaceWith(Object.assign(document.createElement("script"), { text: old.text })));
    });
}"""
LIBRARY = "figure.th-attention-viewer > button[aria-expanded]"
OPEN = """selector => document.querySelectorAll(selector).forEach(one => one.ariaExpanded === "true" || one.click())"""
ROLES = "button|slider|combobox|link|application|checkbox|img"
KEYS = [("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown")]


def live_pages() -> list[str]:
    def alive(path):
        return path.is_file() and '<figure class="th-live ' in path.read_text(encoding="utf8")

    return [page for page in toc_pages() if alive(HTML / f"{page}.html")]


class Hand:
    """One way to use a figure: by mouse, keyboard or touch."""

    def __init__(self, tab, way):
        self.tab, self.way = tab, way

    def press(self, button, key="Enter"):
        if self.way == "keyboard":
            button.press(key)
        else:
            button.click() if self.way == "mouse" else button.tap()
        settle(self.tab)

    def keys(self, place, *keys):
        for key in keys:
            place.press(key)
        settle(self.tab)

    def slide(self, slider, share):
        """To about this share of the slider; where it then stands is to be read from it."""
        if self.way == "keyboard":
            self.keys(slider, "Home" if share < 0.5 else "End")
            return
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        pointer = self.tab.mouse.click if self.way == "mouse" else self.tab.touchscreen.tap
        pointer(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        settle(self.tab)


@pytest.fixture(scope="module", params=live_pages())
def page_name(request):
    return request.param


def open_libraries(tab):
    """What is loaded on demand: circuitsvis, which then draws the figure."""
    tab.evaluate(OPEN, LIBRARY)
    tab.wait_for_function(
        """selector => [...document.querySelectorAll(selector)]
        .every(button => button.parentElement.querySelector("[aria-label^='show head']"))""",
        arg=LIBRARY,
    )
    settle(tab)


def visited(browser, address, page, **options):
    """The page and what went wrong on it, without what no figure needs: icons and mathematics."""
    context = browser.new_context(**options)
    tab = context.new_page()
    trouble: list[str] = []
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    context.route(re.compile("mathjax|fontawesome"), lambda route: route.abort())
    tab.goto(f"{address}/{page}.html", wait_until="load")
    open_libraries(tab)
    return tab, trouble


@pytest.fixture(scope="module")
def desk(browser, address, page_name):
    tab, trouble = visited(browser, address, page_name, viewport={"width": 1280, "height": 900})
    yield tab
    tab.context.close()
    assert not trouble


@pytest.fixture(scope="module")
def phone(browser, address, page_name):
    """A small screen under a finger, in the dark, of somebody who wants nothing to move by itself."""
    options = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "reduced_motion": "reduce"}
    tab, trouble = visited(browser, address, page_name, **options, has_touch=True, is_mobile=True)
    yield tab
    tab.context.close()
    assert not trouble


@pytest.fixture(params=["mouse", "keyboard", "touch"])
def hand(request, page_name):
    """On figures as they are when the page opens."""
    tab = request.getfixturevalue("phone" if request.param == "touch" else "desk")
    tab.mouse.move(0, 0)
    tab.evaluate(FRESH)
    open_libraries(tab)
    return Hand(tab, request.param)


def figures(tab):
    """Every live figure, with its kind and the numbers in it."""
    for figure in tab.locator("figure.th-live").all():
        kind = re.search(r"\bth-(?!live)([\w-]+)", figure.get_attribute("class"))[1]
        yield figure, kind, json.loads(figure.locator("script[type='application/json']").text_content())


def controls(figure) -> list:
    return [one for one in figure.locator(CONTROLS).all() if one.evaluate("node => node.tabIndex >= 0")]


def look(figure) -> str:
    return figure.evaluate(LOOK)


# --- what they say and do ---


def test_figures_are_alive_and_every_control_has_a_name(desk):
    for figure, kind, data in figures(desk):
        assert figure.get_attribute("data-live") is not None, kind
        assert data.get("title", "") in figure.inner_text()
        assert figure.locator(":scope > img").is_visible() == (kind == "frame-slider"), (
            f"{kind}: the picture without scripts"
        )
        tree = figure.aria_snapshot()
        roles = re.findall(rf"^\s*- '?(?:{ROLES})\b(.*)", tree, re.M)
        assert len(roles) >= len(controls(figure)) > 0, tree
        assert all(re.match(r' "\S', rest) for rest in roles), tree


def test_every_control_works_and_can_be_undone(hand):
    for library in hand.tab.locator(LIBRARY).all():  # closed again, what it opened is gone
        before = words(library.locator(".."))
        hand.press(library)
        assert words(library.locator("..")) != before and not library.locator("..").locator("canvas").count()
        hand.press(library)
    open_libraries(hand.tab)
    for figure, *_ in figures(hand.tab):
        for group in button_groups(figure):
            pressed = [one for one in group if one.get_attribute("aria-pressed") == "true"]
            if group[0].get_attribute("role"):  # a library's own: one shown after another
                hand.press(group[0])
                there_and_back(figure, lambda g=group: hand.press(g[-1]), lambda g=group: hand.press(g[0]), words)
            elif not any(one.get_attribute("aria-pressed") for one in group):
                check_actions(figure, hand, group)
            elif len(pressed) == 1:  # one of several: the first and the last of the others
                others = [one for one in group if one is not pressed[0]]
                for other in [*others[:1], *others[1:][-1:]]:
                    there_and_back(figure, lambda o=other: hand.press(o), lambda p=pressed[0]: hand.press(p, "Space"))
            else:  # switches
                for one in pressed[:2]:
                    there_and_back(figure, lambda o=one: hand.press(o), lambda o=one: hand.press(o, "Space"))
        for slider in figure.get_by_role("slider").all():
            check_slider(figure, hand, slider)
        for canvas in figure.locator("canvas[tabindex]").all():
            check_canvas(figure, hand, canvas)


def button_groups(figure) -> list[list]:
    """Buttons that stand together: those below the nearest element that holds more than one."""
    buttons = figure.locator(BUTTONS).all()
    places = figure.evaluate("""(figure, buttons) => [...figure.querySelectorAll(buttons)].map(node => {
        while (node !== figure && node.querySelectorAll(buttons).length < 2) node = node.parentElement;
        return [...document.querySelectorAll("*")].indexOf(node);
    })""", BUTTONS)  # fmt: skip
    return [[one for one, at in zip(buttons, places, strict=True) if at == place] for place in dict.fromkeys(places)]


def there_and_back(figure, act, undo, see=look):
    before = see(figure)
    act()
    assert see(figure) != before, f"nothing happened: {figure.inner_text()[:200]}"
    undo()
    assert see(figure) == before, f"not undone: {figure.inner_text()[:200]}"


def check_actions(figure, hand, group):
    """All but one (a reset, which does nothing at the start) do something, and another undoes it."""
    start = look(figure)
    idle = []
    for button in group:
        hand.press(button)
        if look(figure) == start:
            idle.append(button.inner_text())
            continue
        for other in (group[-1], *group[:-1]):
            hand.press(other, "Space")
            if look(figure) == start:
                break
        else:
            pytest.fail(f"nothing in its group undoes {button.inner_text()!r}")
    assert len(idle) <= 1, idle


def check_slider(figure, hand, slider):
    looks = []
    for share in (0.2, 0.8, 0.2):
        hand.slide(slider, share)
        looks.append(look(figure))
    assert looks[0] != looks[1] and looks[0] == looks[2]


def check_canvas(figure, hand, canvas):
    """By keyboard; what a pointer does on a canvas is tested where the figure is (tests/views)."""
    for there, back in KEYS if hand.way == "keyboard" else ():
        before = look(figure)
        hand.keys(canvas, there)
        if look(figure) == before:  # at an edge
            there, back = back, there
        else:
            hand.keys(canvas, back)
        there_and_back(figure, lambda key=there: hand.keys(canvas, key), lambda key=back: hand.keys(canvas, key))


def test_tab_goes_through_every_control_and_shows_where_it_is(desk):
    for figure, kind, _ in figures(desk):
        seen = figure.evaluate_handle("figure => { figure.tabIndex = -1; figure.focus(); return [] }")
        for _ in controls(figure):
            desk.keyboard.press("Tab")
            seen.evaluate("""seen => {
                const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
                seen.push([document.activeElement, outlineStyle === "solid" && parseFloat(outlineWidth) >= 2]);
            }""")
        wrong = figure.evaluate("""(figure, [seen, selector]) => {
            figure.removeAttribute("tabindex");
            const all = [...figure.querySelectorAll(selector)].filter(node => node.tabIndex >= 0);
            return all.filter((node, i) => !seen[i] || seen[i][0] !== node || !seen[i][1]).map(node => node.outerHTML);
        }""", [seen, CONTROLS])  # fmt: skip
        assert not wrong, f"{kind}: out of order, or without a ring where the focus is"


def test_every_kind_has_a_check_of_its_numbers():
    found = {kind for page in live_pages() for kind in re.findall(
        r'<figure class="th-live th-([\w-]+)"', (HTML / f"{page}.html").read_text(encoding="utf8"))}  # fmt: skip
    assert found and found <= set(SHOWS), f"no check in live_numbers.py for {sorted(found - set(SHOWS))}"


def test_what_is_shown_is_what_the_numbers_say(hand):
    for figure, kind, data in figures(hand.tab):
        SHOWS[kind](figure, data, hand)


# --- on a phone, in the dark ---


def test_figures_are_dark_on_a_dark_page(phone):
    for figure, kind, _ in figures(phone):
        light = figure.evaluate("""figure => {
            const found = [];
            for (let node = figure; node !== document.body; node = node.parentElement) {
                const paper = getComputedStyle(node).backgroundColor;
                if (!/, 0\\)$/.test(paper) && !(Math.max(...paper.match(/[\\d.]+/g).slice(0, 3)) < 90))
                    found.push(node.className + " " + paper);
            }
            return found;
        }""")
        assert figure.get_attribute("data-theme-dark") is not None and not light, f"{kind}: {light}"


def test_figures_fit_a_phone_and_a_finger(phone):
    for figure, kind, _ in figures(phone):
        wrong = figure.evaluate("""(figure, selector) => {
            const wrong = [], frame = figure.getBoundingClientRect();
            if (frame.left < 0 || frame.right > innerWidth || figure.scrollWidth > figure.clientWidth)
                wrong.push("wider than the screen");
            for (const node of figure.querySelectorAll(selector)) {
                const box = node.getBoundingClientRect();
                const name = node.outerHTML.slice(0, 80);
                if (node.tabIndex >= 0 && Math.min(box.width, box.height) < 24) wrong.push(`a small target: ${name}`);
                if (box.left < frame.left || box.right > frame.right) wrong.push(`outside: ${name}`);
            }
            const walker = document.createTreeWalker(figure, NodeFilter.SHOW_TEXT);
            while (walker.nextNode()) {
                const above = walker.currentNode.parentElement;
                if (!above.closest("script, style") && parseFloat(getComputedStyle(above).fontSize) < 11)
                    wrong.push(`small: ${walker.currentNode.data}`);
            }
            return wrong;
        }""", CONTROLS)  # fmt: skip
        assert not wrong, kind


def test_nothing_moves_by_itself(phone):
    for figure, kind, _ in figures(phone):
        Hand(phone, "touch").press(figure.get_by_role("button").last) if figure.get_by_role("button").count() else None
        assert not figure.evaluate("figure => figure.getAnimations({ subtree: true }).length"), kind
