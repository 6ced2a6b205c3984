"""The notebooks with their outputs, and copies for students: what the branch `rendered` holds besides the sources.

GitHub runs no script in an output, so figures are pictures here; a kernel brings them to life.
"""

import re
import shutil
import sys
from pathlib import Path

import build
import nbformat
import student

DRAWING = re.compile(r"<svg.*</svg>", re.S)


def still(data: dict) -> dict:
    """An output without its script: the picture alone, a drawing as an image of its own."""
    if "image/png" in data:
        return {kind: value for kind, value in data.items() if kind != "text/html"}
    page = "".join(data.get("text/html", ""))
    if "th-drawing" in page and (found := DRAWING.search(page)):
        image = found[0].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        return {"image/svg+xml": image} | {kind: value for kind, value in data.items() if kind != "text/html"}
    return data


def without_scripts(notebook):
    for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
        if "data" in output:
            output.data = nbformat.from_dict(still(output.data))
    return notebook


def write(chapters: dict[Path, nbformat.NotebookNode], folder: Path) -> None:
    """The notebooks at their paths, and the main ones once more in `student`, without outputs and solutions."""
    shutil.rmtree(folder, ignore_errors=True)
    for path, notebook in chapters.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(without_scripts(notebook), target)
    main = sorted(build.ROOT / path for path in chapters if "deeper" not in path.parts)
    for path in student.write(main, folder / "student"):
        text = path.read_text(encoding="utf8")
        path.write_text(text.replace("](deeper/", "](../notebooks/deeper/"), encoding="utf8")


def main() -> int | str:
    try:
        write(build.executed(build.model_name()), build.BUILD / "rendered")
    except build.Failed as failure:
        return f"error: {failure}"
    print(build.BUILD / "rendered")
    return 0


if __name__ == "__main__":
    sys.exit(main())
