"""Properties of the rendered pages, read from the HTML."""

import functools
import json
import posixpath
import re
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup
from rendered import HTML, ROOT, toc_pages

sys.path.insert(0, str(ROOT / "_ext"))
import look  # noqa: E402

EXTERNAL = re.compile(r"^\s*(https?:)?//", re.IGNORECASE)
CSS_EXTERNAL = re.compile(r"""(url\(\s*['"]?|@import\s+['"])(https?:)?//""", re.IGNORECASE)
LOADING_RELS = {"stylesheet", "preload", "prefetch", "icon", "preconnect", "dns-prefetch", "modulepreload"}
MAIN = re.compile(r"notebooks/\d\d_")  # chapters; those in notebooks/deeper stand behind them
PROGRESS = re.compile(r"\d%\|| it/s[\],]|s/it[\],]|\r")


def loaded(soup: BeautifulSoup) -> list[str]:
    """Every address that a browser fetches by itself when it opens the page."""
    tags = soup.select("[src], [srcset], [poster], object[data]")
    found = [tag[name] for tag in tags for name in ("src", "srcset", "poster", "data") if tag.get(name)]
    return found + [tag["href"] for tag in soup.select("link[href]") if LOADING_RELS & set(tag.get("rel", []))]


def test_nothing_is_loaded_from_outside(soup):
    assert not [address for address in loaded(soup) if EXTERNAL.match(address)]
    styles = [tag.get_text() for tag in soup.find_all("style")]
    styles += [tag["style"] for tag in soup.find_all(style=True)]
    assert not [style for style in styles if CSS_EXTERNAL.search(style)]


def test_the_content_policy_stands_before_everything_that_loads():
    for path in (*(HTML / f"{page}.html" for page in toc_pages()), HTML / "search.html"):
        head = path.read_text(encoding="utf8").split("</head>")[0]
        policy = head.index('<meta http-equiv="Content-Security-Policy" content="default-src \'self\';')
        assert policy < min(head.index(tag) for tag in ("<script", "<link", "<style") if tag in head), path.name


def test_style_sheets_load_nothing_from_outside():
    sheets = [path.read_text(encoding="utf8") for path in HTML.rglob("*.css")]
    assert sheets and not any(map(CSS_EXTERNAL.search, sheets))


def test_chapters_were_executed_without_errors_and_progress_bars(page, soup):
    outputs = soup.select(".cell_output")
    assert outputs or not (ROOT / f"{page}.ipynb").is_file()
    assert not soup.select(".cell_output .traceback, .cell_output .stderr")
    for text in (output.get_text() for output in outputs):
        assert "Traceback (most recent call last)" not in text and not PROGRESS.search(text), text[:200]


def test_images_carry_alt_text(soup):
    for image in soup.find_all("img"):
        assert image.has_attr("alt"), f"no alt attribute: {str(image)[:200]}"
    for image in soup.select(".cell_output img, figure img"):
        alt = image["alt"].strip()
        assert len(alt.split()) >= 5, f"alt text {alt!r} says too little: {str(image)[:120]}"
        assert not re.search(r"\.(png|svg|jpe?g|gif|webp)$|^[0-9a-f]{16,}", alt), f"a file name: {alt!r}"


def test_ids_are_unique(soup):
    counts = Counter(tag["id"] for tag in soup.find_all(id=True))
    assert not [name for name, count in counts.items() if count > 1]


@functools.cache
def places(path: Path) -> set[str]:
    """Everything in a page that a link can end at."""
    soup = BeautifulSoup(path.read_text(encoding="utf8"), "html.parser")
    return {tag[key] for key in ("id", "name") for tag in soup.find_all(attrs={key: True})}


def test_local_links_lead_somewhere(page, soup):
    broken = []
    addresses = loaded(soup) + [tag["href"] for tag in soup.find_all("a", href=True)]
    for address in addresses:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path)))
        path = HTML / target if parts.path else HTML / f"{page}.html"
        if not path.exists():
            broken.append(address)
        elif parts.fragment and path.suffix == ".html" and not parts.fragment.startswith("prompt="):  # of the lab
            if unquote(parts.fragment) not in places(path):
                broken.append(address)
    assert not broken


def test_page_is_light(page, soup):
    """What a reader loads for this page alone: what lies in _static, and the index of the search, is loaded once."""
    here = posixpath.dirname(page)
    paths = {unquote(urlsplit(one).path) for one in loaded(soup) if not one.startswith("data:")}
    names = {posixpath.normpath(posixpath.join(here, path)) for path in paths} - {"searchindex.js"}
    own = [HTML / f"{page}.html", *(HTML / name for name in names if not name.startswith("_static/"))]
    assert sum(path.stat().st_size for path in own) <= 2_000_000, own


def redirects() -> dict[str, str]:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))
    return config["sphinx"]["config"]["redirects"]


def test_every_chapter_has_a_short_address():
    chapters = {page: f"ch{posixpath.basename(page)[:2]}" for page in toc_pages() if MAIN.match(page)}
    assert chapters
    for page, short in chapters.items():
        assert redirects().get(short) == f"{page}.html"


def test_redirects_are_relative_and_lead_to_pages():
    for source, target in redirects().items():
        parts = urlsplit(target)
        assert not parts.scheme and not parts.netloc and not parts.path.startswith("/"), target
        assert (HTML / posixpath.dirname(source) / parts.path).is_file(), target
        assert source not in toc_pages(), f"{source} is a page and would be overwritten"
        assert f'"{target}"' in (HTML / f"{source}.html").read_text(encoding="utf8")


def minutes(soup: BeautifulSoup) -> str | None:
    """What a chapter says itself, in the paragraph that starts with its cost."""
    texts = (" ".join(paragraph.get_text().split()) for paragraph in soup.select("article p"))
    return next((match[1] for match in map(re.compile(r"Cost\. About (\d+) minutes").match, texts) if match), None)


def test_cards_of_the_chapters_are_all_there_with_their_minutes_and_a_picture(soups):
    cards = soups["book/index"].select(".th-chapters .sd-card")
    said = {card.a["href"].removeprefix("../")[:-5]: card.select_one(".th-minutes").text for card in cards}
    chapters = {page: f"{minutes(soup)} min" for page, soup in soups.items() if MAIN.match(page)}
    assert said == chapters and "None min" not in said.values()
    pictures = [card.select_one(".th-key img, .th-key [role=img] > svg") for card in cards]
    assert all(pictures) and len({str(one) for one in pictures}) == len(cards)
    for one in (one for one in pictures if one.name == "img"):
        assert (HTML / "book" / one["src"]).stat().st_size < 20_000


def test_numbers_of_the_front_pages_are_claims_of_the_chapters(soups):
    golden = json.loads((ROOT / "tests" / "book" / "golden.json").read_text(encoding="utf8"))
    for page, least in (("book/index", 5), ("book/what_we_found", 10)):
        links = soups[page].select("a:has(> .th-number)")
        assert len(links) >= least
        for link in links:
            target = posixpath.normpath(posixpath.join("book", link["href"])).split("#")[0].removesuffix(".html")
            claim = link["title"].removeprefix("How we know: ")
            assert golden[target][claim].split(": ")[-1] == link.text
        prose = [text for text in soups[page].select("article :is(p, li)") if not text.find_parent("details")]
        assert not [
            text for text in prose if re.search(r"\d\.\d\d", text.text) and not text.select(".th-number, .th-key")
        ]


def test_lists_hold_everything_of_the_chapters(soups):
    chapters = {page: soup for page, soup in soups.items() if page.startswith("notebooks/")}
    pictures = sum(len(soup.select(".cell_output img[alt]")) for soup in chapters.values())
    assert len(soups["book/figures"].select(".th-tile img")) == pictures > 50
    main = [page for page in chapters if MAIN.match(page)]
    assert len(soups["book/exercises"].select("article tbody tr")) == 4 * len(main)
    named = {tag.text for tag in soups["book/heads"].select(".th-id")}
    assert {"20.0", "20.0.0", "23.3"} <= named


def test_titles_are_the_same_in_the_sidebar_and_on_the_page(page, soup):
    current = soup.select_one(".bd-links a.current.reference, .bd-links li.current > a")
    if MAIN.match(page):
        assert current.get_text(strip=True) == soup.h1.find(string=True).strip() and " · " in current.text


def test_the_search_index_holds_heads_and_text_of_outputs():
    index = (HTML / "searchindex.js").read_text(encoding="utf8")
    assert '"20.0.0"' in index and index.count("head-20-0-0") and "notebooks/03_inhibition_subspace" in index


def test_next_and_previous_say_how_long_they_take(page, soup, soups):
    links = soup.select(".prev-next-area a")
    assert links
    for link in links:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link["href"])).removesuffix(".html")
        shown = link.select_one(".prev-next-minutes")
        cost = minutes(soups[target])
        assert (shown and shown.text) == (cost and f"about {cost} min")


def test_glossary_terms_are_linked_once_and_only_in_prose(page, soup, soups):
    links = soup.select("a.th-term")
    terms = [urlsplit(link["href"]).fragment for link in links]
    assert len(terms) == len(set(terms))
    if page.startswith("notebooks/"):
        assert terms
    for link in links:
        meaning = soups["book/glossary"].find(id=urlsplit(link["href"]).fragment).find_next("dd").get_text()
        assert link["title"].split()[-1] == meaning.split()[-1]
        assert link.find_parent("article")
        assert not link.find_parent(["h1", "h2", "h3", "h4", "th", "code", "pre", "figcaption", "summary"])
        assert not link.find_parent(class_="cell_output")


def test_claims_are_cards_and_none_is_left_as_a_printed_line(page, soup):
    assert not [block for block in soup.select(".cell_output pre") if block.get_text().startswith("✓ ")]
    cards = soup.select(".th-claim")
    assert cards or not MAIN.match(page)
    for card in cards:
        value = card.select_one(".th-value")
        assert bool(value and re.search(r"\d\s\[[^\]]*\]", value.get_text())) == bool(card.select("svg.th-whisker"))


def test_chips_are_heads_and_not_numbers(page, soup):
    """Nothing beside a chip makes it a number: no interval, unit, sign or further digit."""
    chips = soup.select(".th-head")
    assert chips or not MAIN.match(page) or page.endswith("07_list_sorting"), "07 is about a model of its own"
    for chip in chips:
        assert chip.find_parent(class_=["cell_output", "pasted-text"]) and not chip.find_parent(["pre", "code", "a"])
        layer, head, *part = map(int, chip.get_text().split("."))
        assert layer < 30 and head < 9 and all(k < 64 for k in part)
        before, after = (str(one or "") for one in (chip.previous_sibling, chip.next_sibling))
        assert not re.search(r"[\d.\[×+−-]$|\blayers? $", before), before + chip.get_text()
        assert not re.match(r"[\d%\]]|\.\d|\s(\[|points|bits)", after), chip.get_text() + after


def test_code_buttons_say_what_they_hold(soup):
    for fold in soup.select("details.hide"):
        label = fold.summary.get_text().strip()
        assert label and "code cell" not in label and "@title" not in fold.get_text()
        assert ("th-solution" in fold["class"]) == bool(fold.find_parent(class_="tag_solution"))


def test_figures_are_files_that_load_when_they_come_near(soup):
    assert not soup.select("img[src^=data]")
    for image in soup.select("img.th-picture"):
        assert image["loading"] == "lazy" and int(image["width"]) > 100 < int(image["height"])


def test_a_link_to_the_page_shows_its_question(page, soup):
    described = soup.select_one("meta[name=description]")["content"]
    assert 30 < len(described) <= 202 and soup.select_one("meta[property='og:description']")["content"] == described
    asked = next((p for p in soup.select("article p") if p.get_text().startswith("Question.")), None)
    assert asked is None or " ".join(asked.get_text().split())[10:].startswith(described.removesuffix(" …"))
    card = soup.select_one("meta[property='og:image']")["content"]
    assert (HTML / posixpath.dirname(page) / card).is_file()


def test_every_icon_of_the_theme_is_in_the_small_font():
    """The theme's own 544 KB script and 274 KB of fonts are not loaded (_ext/look.py has the list)."""
    icon = re.compile(r"\bfa[sb]? (?:[\w-]+ )*?fa-(?!lg|fw|solid|brands)([\w-]+)")
    used = {name for path in HTML.rglob("*.html") for name in icon.findall(path.read_text(encoding="utf8"))}
    assert used <= {*look.ICONS, "github"}, used
