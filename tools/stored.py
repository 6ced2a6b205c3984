"""Keep a report for chapter 10: `python tools/stored.py MODEL report-MODEL/report.json`.

The chapter runs on the model, and the sections that it alone measures (`signals`, `english`) go into the file beside
the report's own, in `th_utils/report/data`, rounded to five digits; the book's build makes a page of it. Make the
report first, with the command that is kept in the file.
"""

import json
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from th_utils.models.registry import MODELS

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = ROOT / "notebooks" / "10_generalise.ipynb"
OWN = ("signals", "english")


def measured(model: str, path: Path) -> dict:
    """What the chapter measures on a model, with the heads and directions of the report in place of its own short one.

    Cells that need the stored file may fail where it is not there yet.
    """
    notebook = nbformat.read(CHAPTER, as_version=4)
    (short,) = [cell for cell in notebook.cells if "in SECTIONS.items()" in cell.source]
    short.source = f"found = json.load(open({str(path.resolve())!r}))['sections']; mine = {{'sections': found}}"
    ask = "print(json.dumps({'signals': signals, 'english': ordinary}))"
    notebook.cells.append(nbformat.v4.new_code_cell(ask))
    os.environ |= {"TH_MODEL": model, "TH_STATIC": "1"}
    NotebookClient(notebook, timeout=3600, kernel_name="python3", allow_errors=True).execute()
    return json.loads("".join(one.text for one in notebook.cells[-1].outputs if one.get("name") == "stdout"))


def rounded(value):
    """Five significant digits, everywhere."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


def main(model: str, path: str) -> None:
    report = json.loads(Path(path).read_text(encoding="utf8"))
    report["sections"] |= measured(model, Path(path))
    card = MODELS[model]
    report["command"] = f"{f'TH_ACCEPT={card.licence} ' if card.terms else ''}python -m th_utils report {model}"
    target = ROOT / "th_utils" / "report" / "data" / f"{model}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(rounded(report), ensure_ascii=False) + "\n", encoding="utf8")
    print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
