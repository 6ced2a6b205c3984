"""The pages of the helper module: every module of a package, under the names that one writes after `th`."""

from importlib import import_module
from operator import attrgetter
from pkgutil import iter_modules

from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

ROOT = "th_utils"


def modules(package: str) -> list[str]:
    """The public modules of a package, or the module itself; packages within it have pages of their own."""
    path = getattr(import_module(package), "__path__", None)
    found = [f"{package}.{one.name}" for one in iter_modules(path) if not one.ispkg] if path else [package]
    return [name for name in found if not name.rsplit(".", 1)[-1].startswith("_")]


class Package(SphinxDirective):
    """A section for each module of the packages named."""

    required_arguments, final_argument_whitespace = 1, True

    def run(self) -> list[nodes.Node]:
        made = []
        for name in (name for package in self.arguments[0].split() for name in modules(package)):
            self.env.note_dependency(import_module(name).__file__)
            title = nodes.title("", "", nodes.literal("", short(name)))
            part = nodes.section("", title, ids=[f"module-{name.replace('.', '-').replace('_', '-')}"], names=[name])
            text = f"```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```"
            self.state.nested_parse(StringList(text.splitlines(), "api"), 0, part)
            made.append(part)
        return made


def short(name: str) -> str:
    return name.replace(ROOT, "th", 1)


def public(module: str, name: str) -> str | None:
    """What one writes for a name of a module: `th.run` for `th_utils.runs.run.run`, where `th` has it."""
    first, *rest = name.split(".")
    helpers = import_module(ROOT)
    if first in helpers.__all__ and getattr(getattr(helpers, first), "__module__", None) == module:
        return ".".join(["th", first, *rest])
    return None


def shorten(app, doctree) -> None:
    for signature in doctree.findall(addnodes.desc_signature):
        module, name = signature.get("module"), signature.get("fullname")
        for place in signature.findall(addnodes.desc_addname):
            if module and module.startswith(ROOT):
                known = public(module, name)
                prefix = known.removesuffix(name.rsplit(".", 1)[-1]) if known else short(module) + "."
                place[:] = [nodes.Text(prefix)]


class Short(SphinxRole):
    """`{th}` with a name: the name as one writes it, linked to its entry; a warning where `th` lacks it."""

    def run(self) -> tuple[list[nodes.Node], list]:
        try:
            found = attrgetter(self.text)(import_module(ROOT))
        except AttributeError:
            logging.getLogger(__name__).warning("there is no th.%s", self.text, location=self.get_location())
            return [nodes.literal("", self.text)], []
        target = f"{found.__module__}.{found.__qualname__}" if hasattr(found, "__qualname__") else found.__name__
        place = addnodes.pending_xref("", nodes.literal("", f"th.{self.text}"), refdomain="py", reftype="obj")
        place.attributes |= {"reftarget": target, "refexplicit": True, "refwarn": True, "refdoc": self.env.docname}
        return [place], []


def setup(app) -> dict:
    app.add_directive("package", Package)
    app.add_role("th", Short())
    app.connect("doctree-read", shorten)
    return {"env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
