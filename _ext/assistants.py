"""`llms.txt`, the map of the book, and `llms-full.txt`, the names of the module and its traps, for assistants.

The map comes from the contents and from how each page begins, the names from the code. A page of the book holds the
second text too, with links.
"""

import inspect
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

from api import ROOT, modules
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective
from toc import contents

PAGE = "book/assistants"
QUESTION = "Question. "
SENTENCE = re.compile(r"(?<=[.?!:])\s+(?=[A-Z“*\"])")
LONGEST = 240  # characters of a description
PLACES = ("models", "weights", "tasks", "runs", "channels", "notebook", "stats", "views")  # the order of imports


# --- names ---


def first_words(thing) -> str:
    """The first paragraph of a docstring, as far as its first full stop."""
    paragraph = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", paragraph)[0]


def signature(thing) -> str:
    """The arguments with their defaults, without their types."""
    plain = [one.replace(annotation=one.empty) for one in inspect.signature(thing).parameters.values()]
    return re.sub(r"^\(self(, )?", "(", str(inspect.Signature(plain)))


def own(thing: ModuleType) -> list[str]:
    """What one uses from a module: all that it defines, or for a package all that it gathers."""
    gathers = hasattr(thing, "__path__")
    return [
        name
        for name, one in vars(thing).items()
        if not name.startswith("_") and callable(one) and getattr(one, "__module__", "").startswith(ROOT)
        if gathers or one.__module__ == thing.__name__
    ]


def entries(name: str, thing) -> list[tuple[str, str]]:
    """(how one writes it, what it does): a name, what a module holds, and the methods of a class."""
    if isinstance(thing, ModuleType):
        parts = [(one, getattr(thing, one)) for one in own(thing)]
        below = [import_module(one) for one in modules(thing.__name__)] if name == "tasks" else []
        parts += [(one.__name__.rsplit(".", 1)[-1], one) for one in below if one.__name__ != f"{ROOT}.tasks.prompts"]
        return [entry for one, part in parts for entry in entries(f"{name}.{one}", part)]
    if not inspect.isclass(thing):
        return [(f"th.{name}{signature(thing)}", first_words(thing))]
    if issubclass(thing, Exception):
        return [(f"th.{name}", first_words(thing))]
    methods = [
        (f"th.{name}.{one}" + ("" if isinstance(part, property) else signature(part)), first_words(part))
        for one, part in vars(thing).items()
        if not one.startswith("_") and (inspect.isfunction(part) or isinstance(part, property))
    ]
    return [(f"th.{name}{signature(thing)}", first_words(thing)), *methods]


def names() -> dict[str, list[tuple[str, str]]]:
    """Every public name by the part of the module that holds it."""
    helpers = import_module(ROOT)
    found = {place: [] for place in PLACES}
    for name in helpers.__all__:
        thing = getattr(helpers, name)
        module = thing.__name__ if isinstance(thing, ModuleType) else thing.__module__
        known = {written for written, _ in found[module.split(".")[1]]}
        new = [entry for entry in entries(name, thing) if entry[0].replace(f"{name}.", "", 1) not in known]
        found[module.split(".")[1]] += new
    return found


def names_as_text() -> str:
    return "\n\n".join(
        f"**{place}**\n\n" + "\n".join(f"- `{written}`" + f": {does}" * bool(does) for written, does in found)
        for place, found in names().items()
    )


class Names(SphinxDirective):
    """`{names}`: the public names, one a line."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(Path(__file__)))
        made = nodes.container(classes=["th-names"])
        self.state.nested_parse(StringList(names_as_text().splitlines(), "names"), 0, made)
        return [made]


# --- the two texts ---


def full(page: str) -> str:
    """The page as plain Markdown: what only Sphinx knows is written out."""
    text = re.sub(r"```\{names\}\n```", lambda _: names_as_text(), page)
    text = re.sub(r"```\{code-block\} python", "```python", text)
    text = re.sub(r'<a href="\.\./([^"]+)">([^<]+)</a>', r"[\2](\1)", text)
    text = re.sub(r"\{th\}`([\w.]+)`", r"`th.\1`", text)
    return re.sub(r"\]\((?!https?:)(?:\.\./)?([^)]+?)\.(?:md|ipynb)((?:#[^)]*)?)\)", _address, text)


def _address(match: re.Match) -> str:
    return f"]({match[1] if '/' in match[1] else 'book/' + match[1]}.html{match[2]})"


def description(doctree) -> str:
    """How a page begins: the question of a chapter, the first sentences of any other page, not too many."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if isinstance(paragraph.parent, nodes.section) and text:
            said, kept = SENTENCE.split(text.removeprefix(QUESTION)), ""
            asked = [i for i, one in enumerate(said) if one.endswith("?")]
            if text.startswith(QUESTION) and asked:  # as far as the question, or the question alone
                whole = " ".join(said[: asked[0] + 1])
                return whole if len(whole) <= LONGEST else said[asked[0]]
            while said and (not kept or len(kept) + len(said[0]) < LONGEST):
                kept = f"{kept} {said.pop(0)}".strip()
            return kept
    return ""


def index(env) -> str:
    """The map: what the book is, then every page in the order of the contents."""
    (_, [root]), *parts = contents(Path(env.srcdir))
    lines = [f"# {env.config.html_title}", "", f"> {description(env.get_doctree(root))}", ""]
    lines += ["- [Names of the module, and traps](llms-full.txt)", f"- [The front page]({root}.html)"]
    for caption, pages in parts:
        lines += ["", f"## {caption}", ""]
        for page in pages:
            about = description(env.get_doctree(page))
            lines.append(f"- [{env.titles[page].astext()}]({page}.html)" + f": {about}" * bool(about))
    return "\n".join(lines) + "\n"


def write(app, error) -> None:
    if error or app.builder.name != "html":
        return
    if PAGE not in app.env.found_docs:  # the first pages of a build
        return
    page = Path(app.srcdir, f"{PAGE}.md").read_text(encoding="utf8")
    Path(app.outdir, "llms.txt").write_text(index(app.env), encoding="utf8")
    Path(app.outdir, "llms-full.txt").write_text(full(page), encoding="utf8")


def setup(app) -> dict:
    app.add_directive("names", Names)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
