"""Say at the head of a page whose outputs are kept in `book/stored` when they were computed, and with which code."""

import os
from pathlib import Path

import nbformat
from docutils import nodes

from th_utils.models.registry import DEFAULT


def code(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def say_when(app, doctree) -> None:
    source = Path(app.env.doc2path(app.env.docname))
    kept = Path(app.confdir, "book", "stored", source.name)
    if source.suffix != ".ipynb" or not kept.is_file() or os.environ.get("TH_MODEL", DEFAULT) != DEFAULT:
        return  # on another model the build runs every page itself
    app.env.note_dependency(str(kept))
    stored = nbformat.read(kept, as_version=4)
    if code(stored) != code(nbformat.read(source, as_version=4)):  # then the build ran the page itself
        return
    when = stored.metadata["stored"]
    text = f"The numbers of this page are kept, to save minutes: computed on {when['day']} with the code of commit "
    title = next(doctree.findall(nodes.title))
    said = nodes.paragraph("", text)
    said += [nodes.literal("", when["commit"]), nodes.Text("; "), nodes.literal("", "make deeper")]
    said += nodes.Text(" computes them anew.")
    title.parent.insert(title.parent.index(title) + 1, nodes.note("", said))


def setup(app) -> dict:
    app.connect("doctree-read", say_when)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
