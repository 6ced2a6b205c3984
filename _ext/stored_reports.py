"""The pages of stored reports, written from the JSON that chapter 10 reads before Sphinx looks for them."""

import json
from importlib import import_module
from importlib.resources import files
from pathlib import Path


def page(stored) -> str:
    """The page of one stored report, without the sections that only the chapter measures, which took no stated time."""
    report = json.loads(stored.read_text(encoding="utf8"))
    report["sections"] = {name: found for name, found in report["sections"].items() if "seconds" in found}
    return import_module("th_utils.report.page").page(report)


def write_pages(app, config) -> None:
    write = import_module("th_utils.report.run").write
    for stored in files("th_utils.report").joinpath("data").iterdir():
        write(Path(app.confdir, "book", "reports", stored.name).with_suffix(".html"), page(stored))


def setup(app) -> dict:
    app.connect("config-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
