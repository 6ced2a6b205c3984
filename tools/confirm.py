"""Try the claims of the chapters elsewhere, once: `python tools/confirm.py COLUMN [CHAPTER …]`.

A column of `book/ledger.json` is one of

- `fresh`: the default model, with the names, templates, nouns, wordings and passages of `tools/fresh` in place of the
  book's, and other seeds. No development run uses them. A claim is tried once, and one that fails is published as it
  failed: what stands in the ledger already is left as it is.
- `rounded`: the default model with its matrices rounded to four bits once more, on another grid.
- the name of another model, such as `gemma3-270m`.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import build
import nbformat
from nbclient import NotebookClient

from th_utils.models.hub import read_folder
from th_utils.models.loading import model_folder
from th_utils.models.registry import DEFAULT, MODELS

ROOT = Path(__file__).resolve().parents[1]
LEDGER = ROOT / "book" / "ledger.json"
# Runs before a chapter: other seeds, and claims that are noted in place of raised.
BEFORE = """
import json, os
import numpy as np
from th_utils import notebook, stats

_seeded, _share, _bootstrap, _n = np.random.default_rng, stats.share, stats.bootstrap, {}
if SHIFT:
    np.random.default_rng = lambda seed=None: _seeded(seed + SHIFT if isinstance(seed, int) else seed)

def _counted(function, sample):
    def counted(*arguments, **named):
        found = function(*arguments, **named)
        _n[found] = int(np.size(stats.array(arguments[sample])))
        return found
    return counted

stats.share, stats.bootstrap = _counted(_share, 0), _counted(_bootstrap, 1)

def _claim(model, text, holds, value=None):
    shown = f"{value:.4g}" if isinstance(value, float) else str(value or "")
    n = _n.get(value) if isinstance(value, stats.Estimate) else None
    print("CLAIM " + json.dumps({"text": text, "holds": notebook._true(holds), "value": shown, "n": n}))

notebook.claim, notebook.DEFAULT = _claim, ""  # readings that do not hold say so, as on another model
"""


def put_fresh_words(folder: Path) -> None:
    """Let the tasks of a copy of `th_utils` say other things."""
    for path in (ROOT / "tools" / "fresh").glob("*.json"):
        target = folder / "th_utils" / "tasks" / "data" / path.name
        kept, fresh = (json.loads(one.read_text(encoding="utf8")) for one in (target, path))
        for name, value in fresh.items():  # of a relation only the wording is another, the facts are what they are
            kept[name] = kept[name] | value if path.name == "facts.json" else value
        target.write_text(json.dumps(kept), encoding="utf8")


def outcomes(path: Path, folder: Path, model: str, shift: int = 0) -> tuple[list[dict], list[str]]:
    """What became of each claim, and what could not be run."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(f"SHIFT = {shift}\n{BEFORE}"))
    end = next((i for i, cell in enumerate(notebook.cells) if cell.source.startswith("## Exercises")), None)
    notebook.cells = notebook.cells[:end]
    os.environ |= build.run_environment(model) | {"PYTHONPATH": str(folder)}
    NotebookClient(notebook, timeout=3600, kernel_name="python3", allow_errors=True,
                   resources={"metadata": {"path": str(folder)}}).execute()  # fmt: skip
    found, failed = [], []
    for cell in notebook.cells[1:]:
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                failed.append(f"{output.ename}: {output.evalue}".splitlines()[0][:200])
            lines = output.text.splitlines() if output.get("name") == "stdout" else ()
            found += [json.loads(line.removeprefix("CLAIM ")) for line in lines if line.startswith("CLAIM ")]
    return found, failed


def thresholds(path: Path) -> dict[str, dict]:
    """By the text of a claim: the condition as it stands in the code, and when its line was last written.

    A text that names what was found, as an f-string, is left out.
    """
    said, found = path.read_text(encoding="utf8").splitlines(), {}
    blamed = subprocess.run(["git", "blame", "--line-porcelain", path], cwd=ROOT, capture_output=True, text=True,
                            check=True).stdout.splitlines()  # fmt: skip
    commits = [line[:7] for line in blamed if re.match(r"[0-9a-f]{40} ", line)]
    times = [int(line.split()[1]) for line in blamed if line.startswith("committer-time ")]
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code" or "th.claim(" not in cell.source:
            continue
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "th.claim":
                text, condition = node.args[1], ast.unparse(node.args[2])
                head = ast.get_source_segment(cell.source, node).splitlines()[0]
                at = next(i for i, line in enumerate(said) if json.dumps(head, ensure_ascii=False)[1:-1] in line)
                if not isinstance(text, ast.Constant):
                    continue
                found[text.value] = {"condition": condition, "commit": commits[at],
                              "date": f"{datetime.fromtimestamp(times[at], UTC):%Y-%m-%d}"}  # fmt: skip
    return found


def rounded_again(folder: Path) -> str:
    """Write the default model with every matrix of its blocks rounded to 15 steps in groups of 32 weights."""
    hf_model, tokenizer = read_folder(model_folder(MODELS[DEFAULT]))
    for name, weight in hf_model.named_parameters():
        if ".layers." in name and weight.ndim == 2:
            groups = weight.data.view(-1, 32)
            step = groups.abs().amax(1, keepdim=True).clamp_min(1e-12) / 7
            weight.data = (groups / step).round().mul(step).view_as(weight)
    for part in (hf_model, tokenizer):
        part.save_pretrained(folder / "model")
    return str(folder / "model")


def main(column: str, *chapters: str) -> None:
    ledger = json.loads(LEDGER.read_text(encoding="utf8")) if LEDGER.is_file() else {}
    every = [one for column in ledger.values() for chapter in column.values() for one in chapter["claims"]]
    # There are no words or weights of ours in them.
    untouched = {one["text"]: {"untouched": True} for one in every if one.get("untouched")}
    kept, shift = ledger.setdefault(column, {}), 7919 if column == "fresh" else 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "th_utils", folder / "th_utils", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "notebooks", folder / "notebooks")  # a page may read a stored result beside it
        if column == "fresh":
            put_fresh_words(folder)
        model = rounded_again(folder) if column == "rounded" else DEFAULT if column == "fresh" else column
        for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
            known = {one["text"]: one for one in kept.get(path.stem, {}).get("claims", ())}
            set_when = thresholds(path)
            if (chapters and not path.stem.startswith(chapters)) or (known and {*set_when} <= known.keys()):
                continue
            found, failed = outcomes(path, folder, model, shift)
            day = f"{datetime.now(UTC):%Y-%m-%d}"
            new = [one | set_when.get(one["text"], {}) | {"tried": day} | untouched.get(one["text"], {})
                   for one in found if one["text"] not in known]  # fmt: skip
            kept[path.stem] = {"commit": build.commit(), "claims": [*known.values(), *new], "not run": failed}
            LEDGER.write_text(json.dumps(ledger, indent=1, ensure_ascii=False) + "\n", encoding="utf8")
            held = sum(one["holds"] for one in new)
            print(f"{column}, {path.stem}: {held} of {len(new)} hold; not run: {failed}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
