"""Finding one's way: glossary terms linked where a page first uses them, minutes beside "next", a line at the foot.

All leave the sources alone: a term is a plain word in the notebook, and Colab shows it as one.
"""

import re
import zlib
from importlib import import_module
from itertools import groupby
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.i18n import format_date

GLOSSARY = "book/glossary"
UNLINKED = (GLOSSARY, "book/concept_test")  # a meaning may be the answer
CHAPTERS = "notebooks/"
COST = re.compile(r"Cost\.\s+About (\d+) minutes")
# Where a link would be wrong or in the way. Outputs of cells are left out too: their words follow the model, and links
# would come and go with it.
NOT_PROSE = (
    *(nodes.reference, addnodes.pending_xref, nodes.literal, nodes.math, nodes.raw),
    *(nodes.thead, nodes.caption, nodes.citation),
)
TEX = {r"\top": "ᵀ", r"\sigma": "σ", r"\|": "‖", r"\,": "", "{": "", "}": ""}


def definitions(env) -> dict[str, tuple[str, str]]:
    """Id and meaning, as plain text, of every term (and of every other name its entry gives)."""
    found = {}
    if GLOSSARY not in env.found_docs:  # the first pages of a build
        return found
    for item in env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        meaning = next(item.findall(nodes.definition))[0].astext().replace("\n", " ")
        for tex, plain in TEX.items():
            meaning = meaning.replace(tex, plain)
        for term in item.findall(nodes.term):
            found[term.astext()] = term["ids"][0], meaning
    return found


def pattern(terms) -> re.Pattern:
    """Whole words, the longest term first, a capital allowed at the start, plural s, any white space between words."""
    ways = []
    for term in sorted(terms, key=len, reverse=True):
        start = f"[{term[0].upper()}{term[0].lower()}]"
        ways.append(start + r"\s+".join(map(re.escape, term[1:].split(" "))))
    return re.compile(rf"(?<![\w-])({'|'.join(ways)})s?(?![\w-])")


def join_lines(doctree) -> None:
    """MyST leaves a line break as a text of its own; a term may go over it."""
    for element in list(doctree.findall(nodes.TextElement)):
        runs = groupby(list(element.children), key=lambda child: type(child) is nodes.Text)
        element[:] = [one for plain, run in runs for one in ([nodes.Text("".join(run))] if plain else run)]


def is_prose(text: nodes.Text) -> bool:
    above, node = [], text
    while node := node.parent:
        above.append(node)
    return any(isinstance(node, nodes.paragraph) for node in above) and not any(
        isinstance(node, NOT_PROSE) or {"cell", "cell_output"} & {*node.get("classes", ())} for node in above
    )


def link_terms(app, doctree, docname) -> None:
    if docname in UNLINKED or not (terms := definitions(app.env)):
        return
    address = app.builder.get_relative_uri(docname, GLOSSARY)
    by_name = {re.sub(r"\s+", " ", term).lower(): term for term in terms}
    unseen = pattern(terms)
    join_lines(doctree)
    for text in list(doctree.findall(nodes.Text)):
        if not terms or not is_prose(text):
            continue
        parts, done = [], 0
        for match in unseen.finditer(text):
            term = by_name[re.sub(r"\s+", " ", match[1]).lower()]
            part_of_title = isinstance(text.parent, nodes.emphasis) and match[0] != text
            if term not in terms or part_of_title:
                continue
            name, meaning = terms.pop(term)
            link = nodes.reference("", match[0], internal=True, refuri=f"{address}#{name}", reftitle=meaning)
            link["classes"].append("th-term")
            parts += [nodes.Text(text[done : match.start()]), link]
            done = match.end()
        if parts:
            text.parent.replace(text, [*parts, nodes.Text(text[done:])])


def note_minutes(app, doctree) -> None:
    """Keep the minutes that a chapter's "Cost" states, where every other page can see them."""
    app.env.metadata[app.env.docname].pop("minutes", None)
    app.wayfinding_changed = True
    costs = filter(None, (COST.match(one.astext()) for one in doctree.findall(nodes.paragraph)))
    if found := next(costs, None):
        app.env.metadata[app.env.docname]["minutes"] = int(found[1])
    elif app.env.docname.startswith(CHAPTERS):
        warn = logging.getLogger(__name__).warning
        warn("no paragraph 'Cost. About N minutes ...' in this chapter", location=app.env.docname)


def show_minutes(app, pagename, templatename, context, doctree) -> None:
    _, before, after = app.builder.relations.get(pagename, (None, None, None))
    for name, page in (("prev_minutes", before), ("next_minutes", after)):
        context[name] = page and app.env.metadata[page].get("minutes")


def show_build(app, pagename, templatename, context, doctree) -> None:
    """For the line at the foot of a page: when it was built, and on which model."""
    card = import_module("th_utils.models.registry").find_card()
    context |= {"built_on": format_date("%d %B %Y", language="en").lstrip("0"), "built_with": card.name}


def write_all(app, env):
    """Pages show each other's minutes and the glossary's sentences: when one was read, all are written.

    So they are when a style sheet or script has changed, which Sphinx otherwise leaves until some page does.
    """
    pairs = [(path, app.outdir / "_static" / path.name) for path in (app.srcdir / "_static").glob("*.*s")]
    stale = any(not copy.is_file() or path.read_bytes() != copy.read_bytes() for path, copy in pairs)
    return env.found_docs if stale or getattr(app, "wayfinding_changed", False) else []


def setup(app) -> dict:
    app.connect("doctree-read", note_minutes)
    app.connect("env-updated", write_all)
    app.connect("doctree-resolved", link_terms)
    app.connect("html-page-context", show_minutes)
    app.connect("html-page-context", show_build)
    # A changed extension re-reads every page.
    version = zlib.crc32(Path(__file__).read_bytes())
    return {"env_version": version, "parallel_read_safe": True, "parallel_write_safe": True}
