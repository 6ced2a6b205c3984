"""What all benchmarks share: pairs of timings, peak memory, work in a fresh process, and what machine this is."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
SHORTEST = 0.05  # seconds: calls faster than this are repeated until they have taken as long together


def once(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    times, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < SHORTEST or not times:
        call()
        times += 1
    return spent / times


def pairs(slow: Callable[[], object], fast: Callable[[], object], repeats: int) -> dict:
    """Both timed in turn, A B A B …, so that a busy machine slows both sides; ratios are taken within pairs."""
    fast()  # warm up the cheaper side; the other is long enough not to care
    times = [(once(slow), once(fast)) for _ in range(repeats)]
    return {
        "slow": summary([a for a, _ in times]),
        "fast": summary([b for _, b in times]),
        "ratio": summary([a / b for a, b in times]),
    }


def summary(values: list[float]) -> dict:
    """Median, smallest and largest, to four digits."""
    low, middle, high = (float(f"{x:.4g}") for x in (min(values), statistics.median(values), max(values)))
    return {"median": middle, "low": low, "high": high, "n": len(values)}


def timed(call: Callable[[], object], repeats: int = 3) -> dict:
    call()
    return summary([once(call) for _ in range(repeats)])


def reset_peak() -> None:
    """Let the peak count from now on (Linux); elsewhere it counts from the start of the process."""
    marks = Path("/proc/self/clear_refs")
    if marks.is_file():
        marks.write_text("5")


def peak_mb() -> float:
    """The most memory this process has held, in MB (2²⁰ bytes). tracemalloc would not see PyTorch's.

    On Linux not from `getrusage`: what that says starts at the size of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def extra_mb(call: Callable[[], object]) -> float:
    """Peak memory of a call above what was held before: only right for the first large thing a process does."""
    reset_peak()
    before = peak_mb()
    kept = call()  # what it returns counts too
    del kept
    return round(peak_mb() - before, 1)


def available_mb() -> float:
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").is_file() else []
    found = [int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable")]
    return found[0] if found else 8192.0


def apart(part: str, *arguments: object, threads: int = 1) -> object:
    """What a function returns in a process of its own: `measure.py` runs it and prints the result as JSON."""
    env = os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, str(ROOT / "benchmarks" / "measure.py"), "--only", part, json.dumps(arguments)]
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    if result.returncode:
        said = (result.stderr.strip() or result.stdout.strip()).splitlines() or ["no message"]
        raise RuntimeError(f"benchmark {part}{arguments} failed: {said[-1]}")
    return json.loads(result.stdout.splitlines()[-1])


def machine() -> dict:
    cpu = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")] \
        if cpu.is_file() else []  # fmt: skip
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory, GB": round(memory),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict:
    packages = ("torch", "transformer-lens", "transformers", "numpy")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def commit() -> str:
    """The commit of the code that was measured, with a + where `th_utils` has changes that are not in it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "th_utils")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")
