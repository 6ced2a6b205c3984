"""The pages of stored reports, written from the JSON that chapter 10 reads before Sphinx looks for them."""

import json
from importlib import import_module
from importlib.resources import files
from pathlib import Path


def write_pages(app, config) -> None:
    write, page = import_module("th_utils.report.run").write, import_module("th_utils.report.page").page
    for stored in files("th_utils.report").joinpath("data").iterdir():
        report = page(json.loads(stored.read_text(encoding="utf8")))
        write(Path(app.confdir, "book", "reports", stored.name).with_suffix(".html"), report)


def setup(app) -> dict:
    app.connect("config-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
