"""Make the report: plan, measure section by section, keep what is done, write the page.

`report.json` holds `schema` (1), `made` (UTC), `model` (name, sizes), `key` (what the numbers depend on: checksum of
the code, fingerprint of the model, settings), `versions`, `plan` (estimated minutes and GB), `peak_gb`, and `sections`:
name -> what `measure` returned, with `seconds`, or `{"refused": why}` where a measurement was refused. A higher schema
means that a field changed its meaning or went away. Sections of the same key are kept when a report is made again.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
import time
import timeit
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from tqdm import tqdm

import th_utils as th

from ..models import parts, state
from ..models.hub import ModelNotFound
from ..models.registry import find_card
from ..tasks import ioi
from .compare import comparison
from .measure import QUICK, Settings, circuit, components, task
from .page import page
from .steer import channel, lists

SCHEMA = 1
LIBRARIES = ("torch", "transformer-lens", "transformers", "numpy", "scipy")
# Name -> what measures it, and its cost: tokens through the whole model, and last tokens through half of it.
SECTIONS = {
    "task": (task, lambda s: (36 * s.prompts, 0)),
    "circuit": (circuit, lambda s: (18 * s.prompts * (7 + s.circuits), 0)),
    "components": (components, lambda s: (0, 0)),
    "channel": (channel, lambda s: (36 * s.prompts, s.prompts * (12 + 8 * s.directions))),
    "lists": (lists, lambda s: (s.lists * sum(12 + 7 * n for n in (*s.lengths, s.steered, s.steered)),
                                s.lists * 32 * (1 + s.directions))),
}  # fmt: skip


def main(arguments: Sequence[str]) -> int | str:
    """Run the command; return what the process should exit with: 0, or a message, which is status 1."""
    parser = argparse.ArgumentParser("python -m th_utils report", description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="a known name or a model directory; else TH_MODEL or the default")
    parser.add_argument("--out", type=Path, help="folder for report.json and report.html (default: report-<model>)")
    parser.add_argument("--quick", action="store_true", help="few prompts: wide intervals, a first look")
    parser.add_argument("--anyway", action="store_true", help="go on where the model cannot do the task")
    parser.add_argument("--compare", nargs=2, type=Path, metavar="JSON", help="put two reports side by side instead")
    given = parser.parse_args(arguments)
    try:
        if given.compare:
            first, second = map(read, given.compare)
            target = (given.out or Path()) / "comparison.html"
            write(target, comparison(first, second))
        else:
            target = report(given.model, given.out, QUICK if given.quick else None, given.anyway)
    except (ModelNotFound, ValueError, OSError) as error:
        return f"error: {type(error).__name__}: {error}"
    sys.stdout.write(f"{target}\n")
    return 0


def report(
    name: str | Path | None, out: Path | None = None, settings: Settings | None = None, anyway: bool = False
) -> Path:  # fmt: skip
    """Measure a model and write `report.json` and `report.html` into `out`; return the page's path.

    After every section the JSON is written anew, whole or not at all. A model that cannot do IOI gets a page that says
    so, unless `anyway`. Raises as `th.load_model`, and `ValueError` for a JSON file there that is no report.
    """
    card, settings = find_card(name), settings or Settings()
    out = Path(f"report-{card.name}") if out is None else out
    out.mkdir(parents=True, exist_ok=True)
    path = out / "report.json"
    before = read(path) if path.exists() else {}
    with torch.no_grad():
        model = th.load_model(name)
        key = {"code": code_version(), "fingerprint": state.fingerprint(model), "settings": asdict(settings)}
        key = json.loads(json.dumps(key))  # as it is read back: lists, no tuples
        sections = before["sections"] if before.get("key") == key else {}
        left = [one for one in SECTIONS if one not in sections]
        shape = parts.shape(model)._asdict()
        found = {
            "schema": SCHEMA, "made": now(), "model": {"name": card.name, **shape}, "key": key,
            "versions": {"th-utils": th.__version__, "python": platform.python_version()}
            | {library: version(library) for library in LIBRARIES},
            "plan": plan(model, settings) if left else before["plan"], "peak_gb": before.get("peak_gb"),
            "sections": sections,
        }  # fmt: skip
        announce(found, left, out)
        for one in tqdm(left, desc="sections", disable=not left):
            if one != "task" and not sections["task"]["able"] and not anyway:
                break
            start = time.perf_counter()
            try:
                sections[one] = SECTIONS[one][0](model, settings, sections)
            except ValueError as error:  # a refusal is a result: the page gives it in place of the numbers
                if one == "task":
                    raise
                sections[one] = {"refused": str(error)}
            sections[one]["seconds"] = round(time.perf_counter() - start, 1)
            found |= {"made": now(), "peak_gb": max(peak_gb(), before.get("peak_gb") or 0)}
            sections[one] = json.loads(json.dumps(sections[one], allow_nan=False))
            write(path, json.dumps(found, indent=1, allow_nan=False))
    write(out / "report.html", page(found))
    return out / "report.html"


def plan(model, settings: Settings) -> dict:
    """Estimate minutes and memory: one batch of prompts and one of last tokens are timed, the rest is counted.

    Memory: the weights twice (the model's and the copies by head), four times what a run of all positions keeps (two
    runs, and what is made from them), and 0.7 GB for Python and the libraries.
    """
    prompts = ioi.generate(model, 16, settings.seed)
    base = th.run(model, prompts)  # the first run tries the model too
    many = base.select([*range(16)] * 4)

    def seconds(measured: Callable) -> float:  # the best of three: the first one is slow, and others use the machine
        return min(timeit.repeat(measured, number=1, repeat=3))

    token = seconds(lambda: th.run(model, prompts)) / prompts.tokens.numel()
    last = seconds(lambda: th.rerun_last(model, many, start=base.n_layers // 2)) / len(many)
    costs = {one: cost(settings) for one, (_, cost) in SECTIONS.items()}
    minutes = {one: (tokens * token + lasts * last) / 60 for one, (tokens, lasts) in costs.items()}
    size, seq = parts.shape(model), prompts.tokens.shape[1]
    weights = sum(p.numel() for p in model.parameters())
    record = size.layers * settings.prompts * seq * (3 * size.d_model + size.heads * seq)
    return {"minutes": minutes, "gb": (4 * (2 * weights + 4 * record) / 1e9) + 0.7}


def announce(found: dict, left: Sequence[str], out: Path) -> None:
    """Say on stdout what will be done, how long it may take and what is there already."""
    minutes, model = found["plan"]["minutes"], found["model"]
    lines = [f"{model['name']}: {model['layers']} layers of {model['heads']} heads, report in {out}/"]
    lines += [f"  {name:12} " + (f"about {minutes[name]:.1f} min" if name in left else "there already")
              for name in SECTIONS]  # fmt: skip
    lines.append(f"about {sum(minutes[name] for name in left):.1f} min and {found['plan']['gb']:.1f} GB in all: the "
                 "time of one batch × the number of batches; SVDs and intervals are not counted")  # fmt: skip
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def read(path: Path) -> dict:
    """Read a report; `ValueError` for a file that is none, or one of another schema."""
    try:
        found = json.loads(path.read_text(encoding="utf8"))
        schema, *_ = found["schema"], found["key"], found["sections"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no report of th_utils: expected report.json; move it away") from error
    if schema != SCHEMA:
        raise ValueError(f"{path} has schema {schema}, this version reads {SCHEMA}: make that report anew")
    return found


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_text(text, encoding="utf8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def code_version() -> str:
    """Compute a checksum of the code that the numbers depend on: th_utils without what draws and stored reports."""
    home = Path(th.__file__).parent
    drawn = {home / "report" / f"{name}.py" for name in ("page", "draw", "compare", "run")}
    drawn |= {*(home / "views").rglob("*"), *(home / "report" / "data").rglob("*")}
    files = sorted(path for kind in ("py", "json") for path in home.rglob(f"*.{kind}") if path not in drawn)
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def peak_gb() -> float:
    """Return the process' peak memory; 0 where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 2)
