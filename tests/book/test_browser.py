"""Every page of the book in a real browser with the network cut: no kernel, no connection."""

import gzip
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from rendered import HTML

PHONE = {"width": 390, "height": 844}


@contextmanager
def watched(browser, root: str):
    """A tab that reaches nothing but the book at `root`, and the list of everything that goes wrong in it."""
    trouble: list[str] = []
    context = browser.new_context()
    tab = context.new_page()

    def gate(route):
        if route.request.url.startswith(root):
            route.continue_()
        else:
            trouble.append(f"asked for {route.request.url}")
            route.abort()

    context.route("**/*", gate)
    tab.on("console", lambda entry: entry.type == "error" and trouble.append(f"console: {entry.text}"))
    tab.on("pageerror", lambda error: trouble.append(f"script: {error}"))
    tab.on("requestfailed", lambda request: trouble.append(f"failed: {request.url}"))
    tab.on("response", lambda answer: answer.ok or trouble.append(f"{answer.status}: {answer.url}"))
    yield tab, trouble
    context.close()


@pytest.fixture(scope="session")
def visit(browser, address, page):
    """The page, loaded and typeset, and what went wrong on the way."""
    with watched(browser, address) as (tab, trouble):
        tab.goto(f"{address}/{page}.html", wait_until="load")
        tab.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise }")
        yield tab, trouble


def test_page_opens_without_errors(visit):
    assert not visit[1]


def test_images_are_there(visit):
    missing = visit[0].evaluate("""async () => {
        const images = [...document.images];
        images.forEach(image => image.loading = "eager");
        await Promise.all(images.map(image => image.decode().catch(() => null)));
        return images.filter(image => !image.naturalWidth).map(image => image.src.slice(0, 200));
    }""")
    assert not missing


def test_mathematics_is_typeset(visit):
    tab = visit[0]
    unset = tab.evaluate("""() => [...document.querySelectorAll(".math")]
        .filter(node => !node.querySelector("mjx-container") || node.querySelector("mjx-merror"))
        .map(node => node.textContent.slice(0, 120))""")
    assert not unset
    raw = tab.evaluate("""() => {
        const copy = document.querySelector("article").cloneNode(true);
        copy.querySelectorAll("pre, code, script, style").forEach(node => node.remove());
        copy.querySelectorAll(".math").forEach(node => node.remove());
        return (copy.textContent.match(/\\$\\$|\\$[^$\\n]{1,80}\\$|\\\\[(\\[].{0,40}/g) || []);
    }""")
    assert not raw


def test_page_fits_a_phone(visit):
    """Wide tables and code may scroll inside their own box; the page itself may not."""
    tab = visit[0]
    tab.set_viewport_size(PHONE)
    wide = tab.evaluate("""() => document.documentElement.scrollWidth <= 391 ? [] :
        ["page", ...[...document.querySelectorAll("article *")]
        .filter(node => node.getBoundingClientRect().right > 391 && !node.closest("pre, table, .cell_output"))
        .map(node => node.outerHTML.slice(0, 120)).slice(0, 5)]""")
    assert not wide


def test_no_serious_accessibility_violation(visit):
    """By axe-core's rules, colours in both themes, with every live figure on the page."""
    tab = visit[0]
    before = tab.evaluate("document.documentElement.dataset.theme")
    # Of the coloured words of code that are seen one of each kind is enough: they are most of a page, and of the time.
    tab.evaluate("""() => {
        const seen = new Set();
        for (const word of document.querySelectorAll(".highlight span[class]")) {
            if (!word.checkVisibility()) continue;
            const kind = word.className + getComputedStyle(word.closest("pre")).backgroundColor;
            seen.has(kind) ? word.replaceWith(...word.childNodes) : seen.add(kind);
        }
    }""")
    found = []
    for theme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        tab.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        tab.wait_for_timeout(400)  # colours fade over
        result = Axe().run(tab, options={"resultTypes": ["violations"], **rules})
        found += [
            f"{theme}: {rule['id']}: {node['target']} {node['html'][:120]}"
            for rule in result.response["violations"] if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"][:3]
        ]  # fmt: skip
    tab.evaluate("theme => { document.documentElement.dataset.theme = theme }", before)
    assert not found


def test_figures_keep_their_colours_where_the_system_forces_its_own(browser, address):
    colours = """() => [...document.querySelectorAll(":is(.th-live, .th-drawing, .th-whisker) *:not(button)")]
        .map(node => getComputedStyle(node)).map(style => `${style.backgroundColor} ${style.fill}`)"""
    with watched(browser, address) as (tab, _):
        tab.goto(f"{address}/notebooks/00_first_look.html")
        before = tab.evaluate(colours)
        tab.emulate_media(forced_colors="active")
        assert len(before) > 100 and tab.evaluate(colours) == before


@pytest.fixture(params=["server", "file"])
def root(request, address):
    """The book's address through a server, and as files on a disk or a stick."""
    return address if request.param == "server" else HTML.as_uri()


def test_search_finds_a_chapter(browser, root):
    with watched(browser, root) as (tab, trouble):
        tab.goto(f"{root}/search.html?q=inhibition")
        found = tab.locator("#search-results li a[href*='notebooks/03_inhibition_subspace.html']").first
        found.wait_for()
        tab.wait_for_load_state("networkidle")  # excerpts are read from the pages
        assert not trouble
        found.click()
        tab.wait_for_url("**/notebooks/03_inhibition_subspace.html*")


def test_an_excerpt_of_the_search_is_from_the_text(browser, address):
    with watched(browser, address) as (tab, trouble):
        tab.goto(f"{address}/search.html?q=weight+edit")
        excerpt = tab.locator("#search-results li:has(a[href*='notebooks/05_weight_edits.html']) p.context").first
        assert excerpt.text_content().startswith("05 · Weight edits Question. ")
        assert not trouble


def test_short_address_ends_on_the_page_and_keeps_the_section(browser, root):
    with watched(browser, root) as (tab, trouble):
        tab.goto(f"{root}/ch03.html#exercises")
        tab.wait_for_url("**/notebooks/03_inhibition_subspace.html#exercises")
        assert tab.locator("#exercises h2").is_visible()
        assert not trouble


def test_the_browser_itself_refuses_what_is_outside_the_book(browser, address):
    """By the page's content policy, so also for a reader whose network is not cut."""
    with watched(browser, address) as (tab, trouble):
        tab.goto(f"{address}/book/index.html", wait_until="load")
        assert not trouble
        refused = tab.evaluate("""async () => {
            const refused = [];
            document.addEventListener("securitypolicyviolation", event => refused.push(event.effectiveDirective));
            new Image().src = "https://example.org/a.png";
            document.head.append(Object.assign(document.createElement("script"), { src: "https://example.org/a.js" }));
            await fetch("https://example.org/a.json").catch(() => null);
            await new Promise(done => setTimeout(done, 200));
            return refused.sort();
        }""")
        assert refused == ["connect-src", "img-src", "script-src-elem"]
        assert not [line for line in trouble if line.startswith("asked for")]


def test_a_chapter_weighs_little_when_first_seen(browser, address):
    """All that is asked for with an empty cache, as it is sent: text compressed, pictures and fonts as they are."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab, asked = context.new_page(), set()
    tab.on("request", lambda request: asked.add(urlsplit(request.url).path.lstrip("/")))
    tab.goto(f"{address}/notebooks/01_ioi_heads.html", wait_until="networkidle")
    context.close()
    files = {name: (HTML / name).read_bytes() for name in asked}
    sizes = {
        name: len(data if name.endswith(("woff2", "woff", "png")) else gzip.compress(data, 6))
        for name, data in files.items()
    }
    assert sum(sizes.values()) <= 800_000, sorted(sizes.items(), key=lambda one: -one[1])[:8]
    assert not [name for name in asked if "circuitsvis" in name or "fa-" in name]


def test_a_guess_uncovers_the_answer_and_is_remembered(browser, address):
    with watched(browser, address) as (tab, trouble):
        tab.goto(f"{address}/notebooks/00_first_look.html", wait_until="load")
        boxes, covered = tab.locator(".th-predict"), tab.locator(".th-covered")
        assert boxes.count() == covered.count() == 2
        assert not covered.nth(0).is_visible()
        choice = boxes.nth(0).get_by_role("button").nth(1)
        choice.press("Enter")
        assert covered.nth(0).is_visible() and not covered.nth(1).is_visible()
        tab.reload()
        assert choice.get_attribute("aria-pressed") == "true" and covered.nth(0).is_visible()
        boxes.nth(1).get_by_role("button", name="Show without a guess").click()
        assert covered.nth(1).is_visible()
        assert not trouble


def test_a_head_says_what_it_does_where_it_is_pointed_at(browser, address):
    with watched(browser, address) as (tab, trouble):
        tab.goto(f"{address}/notebooks/03_inhibition_subspace.html", wait_until="load")
        chip, card = tab.locator(".th-head[tabindex]", has_text="20.0").first, tab.locator("#th-head-card")
        chip.focus()
        assert "S-inhibition" in card.inner_text() and "name movers’ queries away" in card.inner_text()
        assert "03" in card.get_by_role("link").all_inner_texts()
        tab.keyboard.press("Escape")
        assert not card.is_visible()
        tab.locator(".th-head").last.hover()
        assert card.is_visible()
        assert not trouble
