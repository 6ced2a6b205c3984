"""What the executed chapters hold, where other pages can list it: figures, exercises, claims, and heads by name.

Nothing here is typed: all of it is read from the chapters and their outputs, so on another model the pages change.
What is a head and which role it has, `look` says.
"""

import html
import re
from pathlib import Path

from docutils import nodes
from look import CLAIM, columns_of_heads, job, places, roles_on
from PIL import Image
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole
from wayfinding import CHAPTERS, GLOSSARY

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "book" / "lab.json"
EXERCISE = re.compile(r"Exercise (\d+) \((\w+), (\d+) min(, open)?\)")
FIGURE = "Figure: "
DRAWING = re.compile(r"<svg viewBox=.*?</svg>", re.S)
VERSIONS = " · torch "  # the line of a set-up cell, full of dots
OTHER = "Gemma"  # whose heads are no part of the list
WIDTH = 320  # of a thumbnail, in pixels
warn = logging.getLogger(__name__).warning


# --- reading the chapters ---


def shown(bundle) -> str:
    """The plain text of an output that can be shown in several ways."""
    ways = {way.get("mime_type"): way for way in bundle.children}
    return next((ways[name].astext() for name in ("text/plain", "text/markdown") if name in ways), "")


def figure(bundle) -> tuple[str, str] | None:
    """What a picture shows, in words, and its file, or the SVG element of a drawing."""
    text, image = shown(bundle), next(bundle.findall(nodes.image), None)
    drawn = [image["uri"]] if image is not None else DRAWING.findall(bundle.astext())
    return (text.removeprefix(FIGURE), drawn[0]) if drawn and text.startswith(FIGURE) else None


def heads_in(block, roles: dict[str, str], columns: set[int]) -> list[str]:
    """Heads that a paragraph, a title, a cell of a table or a printed line names."""
    text, top, cell = block.astext(), "", block.parent
    if isinstance(cell, nodes.entry):
        head = cell.parent.parent.parent.next_node(nodes.thead)
        top = head[0][cell.parent.index(cell)].astext() if head else ""
    if OTHER in text or OTHER in top:
        return []
    return [text[start:end] for start, end in places(text, roles, id(cell) in columns)]


def blocks(doctree):
    """Everything that is read as text, with the id of its section or cell; no code."""
    for block in doctree.findall(lambda node: isinstance(node, nodes.paragraph | nodes.title | nodes.literal_block)):
        anchor, node = "", block
        while node := node.parent:
            if node.get("nb_element") == "cell_code_source" or node.get("mime_type") in ("text/plain", "text/html"):
                break
            anchor = anchor or next(iter(node.get("ids", [])), "")
        else:
            if VERSIONS not in block.astext():
                yield anchor, block


def collect(app, doctree) -> None:
    name = app.env.docname
    app.env.metadata[name].pop("found", None)
    if not name.startswith(CHAPTERS):
        return
    found = {"figures": [], "claims": [], "exercises": [], "heads": {}}
    number, cells = 0, doctree.findall(lambda node: getattr(node, "attributes", {}).get("nb_element") == "cell_code")
    for number, cell in enumerate(cells, start=1):
        outputs = [one for one in cell.findall(nodes.container) if one.get("nb_element") == "mime_bundle"]
        code = [one for one in cell.children if one.get("nb_element") == "cell_code_source"]
        printed = [one for one in cell.findall(nodes.literal_block) if one.parent not in (*code, cell)]
        text = "\n".join([*(one.astext() for one in printed), *map(shown, outputs)])
        figures, claims = list(filter(None, map(figure, outputs))), CLAIM.findall(text)
        if figures or claims:
            anchor = f"cell-{number}"
            cell["ids"].insert(0, anchor)
            above = cell.parent.next_node(nodes.title)
            title = above.astext() if above is not None else ""
            found["figures"] += [(anchor, title, *one) for one in figures]
            found["claims"] += [(anchor, claim, value, mark == "✓") for mark, claim, value in claims]
    for title in doctree.findall(nodes.title):
        if match := EXERCISE.match(title.astext()):
            text = title.parent.next_node(nodes.paragraph).astext().replace("\n", " ")
            text = re.split(r"(?<=[.?:]) ", re.sub(r"^★[^.]*\. ", "", text))[0]
            found["exercises"].append((title.parent["ids"][0], *match.groups(), text))
    columns = set().union(*map(columns_of_heads, doctree.findall(nodes.table)))
    for anchor, block in blocks(doctree):
        for head in heads_in(block, roles_on(app, name), columns):
            found["heads"].setdefault(head, anchor)
    app.env.metadata[name]["found"] = found


# --- making nodes ---


def link(app, page: str, target: str, anchor: str, *inside, **attributes) -> nodes.reference:
    address = app.builder.get_relative_uri(page, target) + f"#{anchor}" * bool(anchor)
    inside = [nodes.Text(one) if isinstance(one, str) else one for one in inside]
    return nodes.reference("", "", *inside, internal=True, refuri=address, **attributes)


def line(*inside) -> nodes.paragraph:
    paragraph = nodes.paragraph()
    for i, one in enumerate(inside):
        paragraph += nodes.Text(one) if isinstance(one, str) else one
        paragraph += nodes.Text(" ") if i + 1 < len(inside) else []
    return paragraph


def table(head: list[str], rows: list[list], widths: list[int]) -> nodes.table:
    """A table; a cell is a text, a paragraph or several."""
    whole, group, top, body = nodes.table(), nodes.tgroup(cols=len(head)), nodes.thead(), nodes.tbody()
    group += [nodes.colspec(colwidth=width) for width in widths]
    for parent, cells in ((top, head), *((body, row) for row in rows)):
        made = nodes.row()
        for cell in cells:
            inside = [line(cell)] if isinstance(cell, str) else cell if isinstance(cell, list) else [cell]
            made += nodes.entry("", *inside)
        parent += made
    group += [top, body]
    whole += group
    return whole


def section(title: str, name: str, *inside) -> nodes.section:
    return nodes.section("", nodes.title("", title), *inside, ids=[name], names=[name])


# --- the pages ---


class listing(nodes.General, nodes.Element):
    """The place of a list that is made when all chapters are read."""


class number(nodes.Inline, nodes.Element):
    """The place of something that a chapter holds: the value of a claim, a figure, its minutes."""


def chapters(env) -> dict[str, dict]:
    pages = {page: about["found"] for page, about in env.metadata.items() if "found" in about}
    return dict(sorted(pages.items(), key=lambda item: (item[0].count("/"), item[0])))


def short(env, page: str) -> str:
    """The number of a chapter, or the title of a page behind the chapters."""
    title = env.titles[page].astext()
    return title.split(" · ")[0] if " · " in title else title


def heads_page(app, page: str) -> list[nodes.Node]:
    read, known = chapters(app.env), app.th_roles
    every = {head for found in read.values() for head in found["heads"]}
    groups: dict[str, list[str]] = {role: [] for role in dict.fromkeys(known.values())} | {"": []}
    for name in sorted(every, key=lambda name: [int(part) for part in name.split(".")]):
        groups[known.get(".".join(name.split(".")[:2]), "")].append(name)
    made, entries = [], []
    for role, names in groups.items():
        rows = []
        for name in names:
            pages = [(at, found["heads"][name]) for at, found in read.items() if name in found["heads"]]
            if not role and len(pages) == 1:  # of another model, or in passing
                continue
            where = [link(app, page, at, anchor, short(app.env, at)) for at, anchor in pages]
            where = [one for pair in zip(where, [nodes.Text("·")] * len(where), strict=True) for one in pair][:-1]
            alone = re.compile(rf"(?<![\d.]){re.escape(name)}(?![\d.])")
            claims = [(at, *one) for at, found in read.items() for one in found["claims"] if alone.search(one[1])]
            claims = [link(app, page, at, anchor, claim) for at, anchor, claim, *_ in claims]
            chip = nodes.inline("", name, classes=["th-id"], ids=[f"head-{name.replace('.', '-')}"])
            entries.append(("single", name, f"head-{name.replace('.', '-')}", "main", None))  # the search leads there
            rows.append([nodes.paragraph("", "", chip), [line(*where), *map(line, claims)]])
        if not rows:
            continue
        if role:
            anchor, does = job(app.env, role)
            about = line(does, link(app, page, GLOSSARY, anchor, "Glossary"))
        else:
            about = line("Named on more than one page, without one of the roles above.")
        title = f"{role[0].upper()}{role[1:]}" if role else "Others"
        name = "role-" + (role.lower().replace(" ", "-") or "other")
        made.append(section(title, name, about, table(["head", "where"], rows, [15, 85])))
    return [addnodes.index(entries=entries), *made]


def figures_page(app, page: str) -> list[nodes.Node]:
    made = []
    for at, found in chapters(app.env).items():
        tiles = []
        for anchor, title, alt, uri in found["figures"]:
            to = link(app, page, at, anchor, thumbnail(app, uri, alt), nodes.inline("", title))
            tiles.append(nodes.container("", line(to), classes=["th-tile"]))
        if tiles:
            title = app.env.titles[at].astext()
            name = "figures-" + at.removeprefix(CHAPTERS).replace("/", "-").replace("_", "-")
            made.append(section(title, name, nodes.container("", *tiles, classes=["th-tiles"])))
    return made


def thumbnail(app, uri: str, alt: str) -> nodes.raw:
    """A small copy of a picture of a chapter, beside the pages; a drawing is small as it is."""
    if uri.startswith("<svg"):
        drawing = re.sub(r"min-width:[^;]*;", "", uri, count=1)
        return nodes.raw("", f'<span role="img" aria-label="{html.escape(alt)}">{drawing}</span>', format="html")
    source = app.srcdir / uri.lstrip("/")
    target = app.outdir / "_images" / "small" / f"{source.stem}.webp"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(source) as image:
            image.convert("RGB").resize((WIDTH, round(WIDTH * image.height / image.width))).save(target, quality=70)
    with Image.open(target) as image:
        size = f'width="{image.width}" height="{image.height}" loading="lazy"'
    text = f'<img {size} alt="{html.escape(alt)}" src="../_images/small/{target.name}">'
    return nodes.raw("", text, format="html")


def exercises_page(app, page: str) -> list[nodes.Node]:
    made = []
    for at, found in chapters(app.env).items():
        rows = [
            [line(link(app, page, at, anchor, number)), kind, f"{minutes} min", "open" if is_open else "checked", text]
            for anchor, number, kind, minutes, is_open, text in found["exercises"]
        ]
        if rows:
            name = "exercises-" + at.removeprefix(CHAPTERS).replace("_", "-")
            whole = table(["level", "kind", "time", "answer", "task"], rows, [8, 14, 10, 12, 56])
            made.append(section(app.env.titles[at].astext(), name, whole))
    return made


PAGES = {"heads": heads_page, "figures": figures_page, "exercises": exercises_page}


class Listing(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        for path in (STORED, Path(__file__)):
            self.env.note_dependency(str(path))
        return [listing(kind=self.arguments[0])]


class Claimed(SphinxRole):
    """`{claim}` with `chapter::beginning of the claim`: its value, linked to where it is measured."""

    def run(self) -> tuple[list[nodes.Node], list]:
        chapter, _, text = self.text.partition("::")
        return [number(chapter=CHAPTERS + chapter, text=text, line=self.lineno)], []


class Cell(SphinxRole):
    """`{cell}` with `words <chapter::beginning of the claim>`: the words, linked to the cell that shows it."""

    def run(self) -> tuple[list[nodes.Node], list]:
        words, _, target = self.text.removesuffix(">").rpartition(" <")
        chapter, _, text = target.partition("::")
        return [number(chapter=CHAPTERS + chapter, text=text, line=self.lineno, words=words)], []


class Picture(SphinxRole):
    """`{picture}` with `chapter::heading`: the first figure under that heading, small."""

    def run(self) -> tuple[list[nodes.Node], list]:
        chapter, _, heading = self.text.partition("::")
        return [number(chapter=CHAPTERS + chapter, text=heading, line=self.lineno, picture=True)], []


class Minutes(SphinxRole):
    """`{minutes}` with a chapter: how long it takes, by the chapter itself."""

    def run(self) -> tuple[list[nodes.Node], list]:
        return [number(chapter=CHAPTERS + self.text, text="", line=self.lineno)], []


def value(app, page: str, place) -> nodes.Node:
    if place["chapter"] not in app.env.found_docs:  # the first pages of a build stand before the rest is computed
        return nodes.inline("", "…")
    about = app.env.metadata.get(place["chapter"], {})
    if not place["text"]:
        return nodes.inline("", f"{about.get('minutes', '–')} min", classes=["th-minutes"])
    if place.get("picture"):
        figures = [one for one in about.get("found", {"figures": []})["figures"] if one[1] == place["text"]]
        if figures:
            return nodes.inline("", "", thumbnail(app, figures[0][3], figures[0][2]), classes=["th-key"])
        warn("no figure under the heading %r", place["text"], location=(page, place["line"]))
        return nodes.inline()
    claims = [one for one in about.get("found", {"claims": []})["claims"] if one[1].startswith(place["text"])]
    if place.get("words") and len(claims) == 1:
        return link(app, page, place["chapter"], claims[0][0], place["words"], reftitle=claims[0][1])
    if len(claims) != 1 or not claims[0][2]:
        warn("%d claims with a value start with %r", len(claims), place["text"], location=(page, place["line"]))
        return nodes.inline()
    anchor, text, stated, holds = claims[0]
    inside = nodes.inline("", stated if holds else f"not on this model: {stated}", classes=["th-number"])
    return link(app, page, place["chapter"], anchor, inside, reftitle=f"How we know: {text}")


def fill(app, doctree, page) -> None:
    for place in list(doctree.findall(number)):
        place.replace_self(value(app, page, place))
    for place in list(doctree.findall(listing)):
        place.replace_self(PAGES[place["kind"]](app, page))


def setup(app) -> dict:
    app.add_node(listing)
    app.add_node(number)
    app.add_directive("listing", Listing)
    app.add_role("claim", Claimed())
    app.add_role("cell", Cell())
    app.add_role("minutes", Minutes())
    app.add_role("picture", Picture())
    app.connect("doctree-read", collect)
    app.connect("doctree-resolved", fill, priority=400)  # before terms are linked
    return {"env_version": 3, "parallel_read_safe": True, "parallel_write_safe": True}
