"""Measure everything: `python benchmarks/measure.py [PART ...]`, or `make bench`, which writes the page afterwards.

Every part runs in fresh processes and is written into `results.json` as soon as it is done, with the date, the commit
and how busy the machine was; parts that were not run now keep what they had.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from datetime import UTC, datetime

import _common as common

PARTS = {
    "composition": "_composition", "patching": "_patching", "engine": "_engine", "loading": "_loading",
    "sliders": "_sliders", "growth": "_growth", "book": "_book",
}  # fmt: skip
HOMES = PARTS | dict.fromkeys(("against_the_machine", "against_transformer_lens", "textbook", "memory"), "_composition")
HOMES |= dict.fromkeys(("path_patching", "interventions"), "_patching") | {"beside_transformer_lens": "_engine"}
HOMES |= dict.fromkeys(("with_kernel", "in_browser"), "_sliders")
HOMES |= dict.fromkeys(("import_time", "warm_load", "cold"), "_loading")
HOMES |= {"curve": "_growth", "forward": "_book"}


def function(name: str):
    return getattr(importlib.import_module(HOMES[name]), name)


def measured(part: str) -> dict:
    """One part's numbers with when, on what commit and beside what load they were taken."""
    before, start = os.getloadavg()[0], time.perf_counter()
    result = function(part)()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": common.commit(),
        "load before": round(before, 1),
        "load after": round(os.getloadavg()[0], 1),
        "seconds": round(time.perf_counter() - start),
        "result": result,
    }


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--only"]:
        print(json.dumps(function(arguments[1])(*json.loads(arguments[2]))))
        return
    unknown = set(arguments) - set(PARTS)
    if unknown:
        sys.exit(f"error: unknown parts {sorted(unknown)}; there are {', '.join(PARTS)}")
    from _book import NotTested
    from _goals import verdicts

    for part in arguments or PARTS:
        print(f"    {part} ...", flush=True)
        try:
            new = measured(part)
        except NotTested as reason:
            print(f"    {part} left out: {reason}; run make test in a fresh clone first", flush=True)
            continue
        kept = json.loads(common.RESULTS.read_text(encoding="utf8")) if common.RESULTS.is_file() else {"parts": {}}
        results = {"machine": common.machine(), "versions": common.versions(), "parts": kept["parts"] | {part: new}}
        results["goals"] = verdicts(results["parts"])
        common.RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf8")
        print(f"    {part}: {new['seconds']} s, load {new['load before']} to {new['load after']}", flush=True)
    for goal in json.loads(common.RESULTS.read_text(encoding="utf8"))["goals"]:
        print(f"    {goal['verdict']:8} {goal['what']}: {goal['measured']} (goal {goal['goal']})")


if __name__ == "__main__":
    main(sys.argv[1:])
