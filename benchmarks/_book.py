"""The book itself: times and memory of the last `make test` in this folder, and a second build with nothing changed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import _common as common

REPORTS = common.ROOT / "_build" / "reports"
FORWARD = 64  # prompts


class NotTested(RuntimeError):
    """There is no complete `make test` to read."""


def suites(folder: Path) -> dict[str, dict]:
    """For each report of pytest: its cases by name, as (seconds, peak MB or None)."""
    found = {}
    for path in sorted(folder.glob("*.xml")):
        cases = {}
        for case in ElementTree.parse(path).iter("testcase"):
            peaks = [float(one.get("value")) for one in case.iter("property") if one.get("name") == "peak MB"]
            cases[f"{case.get('classname')}::{case.get('name')}"] = (float(case.get("time")), max(peaks, default=None))
        found[path.stem] = cases
    return found


def last_test(folder: Path, names: list[str]) -> dict:
    """Stages, chapters and the number of tests of the last `make test`.

    Raises `NotTested` when there was none, it failed, or it took executed chapters from its cache.
    """
    path = folder / "test.json"
    told = json.loads(path.read_text(encoding="utf8")) if path.is_file() else None
    if told is None or told["failures"]:
        raise NotTested(f"no passed make test in {folder}")
    read = suites(folder)
    (executed,) = [name for name in told["stages"] if name.startswith("notebooks on ") and "tiny" not in name]
    model = executed.removeprefix("notebooks on ")
    cases = {Path(name.split("::")[1]).stem: case for name, case in read.get(f"notebooks-{model}", {}).items()}
    if missing := sorted(set(names) - set(cases)):
        raise NotTested(f"chapters taken from the cache, not executed: {missing}")
    chapters = {name: {"seconds": cases[name][0], "peak MB": cases[name][1]} for name in names}
    return {
        "stages": {name: round(seconds, 1) for name, seconds in told["stages"].items()}, "model": model,
        "executing": executed, "chapters": chapters, "tests": {name: len(cases) for name, cases in read.items()},
    }  # fmt: skip


def forward(name: str | None = None, repeats: int = 3) -> dict:
    """Passes of the model in turn with one square product of as many operations (those with its weights alone)."""
    import torch

    import th_utils as th
    from th_utils.tasks import ioi

    torch.set_grad_enabled(False)
    model = th.load_model(name)
    prompts = ioi.generate(model, FORWARD, seed=0)
    weights = 0
    for layer, block in enumerate(model.blocks):
        weights += sum(th.parts.head_matrix(model, layer, name).numel() for name in th.parts.MATRICES)
        weights += sum(p.numel() for p in block.mlp.original_component.parameters() if p.ndim == 2)
    operations = 2.0 * weights * prompts.tokens.numel()
    side = round((operations / 2) ** (1 / 3))
    a, b, out = (torch.randn(side, side) for _ in range(3))
    found = common.pairs(lambda: torch.mm(a, b, out=out), lambda: th.run(model, prompts), repeats)
    return found | {"GFLOP": round(operations / 1e9, 1), "prompts": FORWARD, "tokens": prompts.tokens.shape[1]}


def again() -> float:
    """Seconds of a build with nothing changed since the last; what starts `.venv` is not in it."""
    command = [sys.executable, str(common.ROOT / "tools" / "build.py"), "book"]
    subprocess.run(command, cwd=common.ROOT, check=True, capture_output=True)  # pages as this state has them
    start = time.perf_counter()
    subprocess.run(command, cwd=common.ROOT, check=True, capture_output=True)
    return round(time.perf_counter() - start, 1)


def book() -> dict:
    names = sorted(path.stem for path in (common.ROOT / "notebooks").glob("*.ipynb"))
    return last_test(REPORTS, names) | {"again": again(), "forward": common.apart("forward")}
