"""The look of the pages: the palette that figures have too, as style-sheet variables."""

from pathlib import Path

from th_utils.views import palette


def write_palette(app, config) -> None:
    target = Path(app.confdir, config.html_extra_path[0], "_static", "palette.css")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(palette.css(), encoding="utf8")


def setup(app) -> dict:
    app.connect("config-inited", write_palette, priority=100)  # before Sphinx looks whether the folder is there
    app.add_css_file("palette.css", priority=400)  # before the book's own, which uses it
    return {"parallel_read_safe": True, "parallel_write_safe": True}
