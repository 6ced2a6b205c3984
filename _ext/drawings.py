"""Put the drawings of book/drawings into the pages themselves: so they follow the theme, and their panels find room.

In Markdown they are pictures like all others, so JupyterLab and GitHub show the files, in the colours of light paper.
"""

import html
import re
from pathlib import Path

from docutils import nodes
from sphinx.transforms import SphinxTransform

ROW = "display:flex;flex-wrap:wrap;justify-content:center;align-items:center;gap:12px 20px;margin:24px auto"


def inlined(file: str, alt: str) -> str:
    """Return the panels of a drawing as a row that breaks where it must."""
    panels = re.findall(r"<svg x=.*?</svg>", file, re.S)
    if not panels:
        raise ValueError("a drawing without panels: tools/drawings.py writes them")
    sized = re.sub(
        r"<svg x='[^']*' y='[^']*' width='([^']*)' height='[^']*'",
        r"<svg style='width:\1px;max-width:100%'",
        "".join(panels),
    )
    return f'<span class="th-drawing" role="img" aria-label="{html.escape(alt)}" style="{ROW}">{sized}</span>'


class Inline(SphinxTransform):
    default_priority = 200

    def apply(self, **_) -> None:
        for image in list(self.document.findall(nodes.image)):
            if re.search(r"(^|/)drawings/\w+\.svg$", image["uri"]):
                path = Path(self.env.doc2path(self.env.docname)).parent / image["uri"]
                self.env.note_dependency(str(path))
                image.replace_self(nodes.raw("", inlined(path.read_text(encoding="utf8"), image["alt"]), format="html"))


def setup(app) -> dict:
    app.add_transform(Inline)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
