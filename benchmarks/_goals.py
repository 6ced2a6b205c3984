"""The goals, what was measured for each, and where one is missed what stands in the way, in numbers of the profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

KERNEL = "with kernel"


@dataclass(frozen=True)
class Goal:
    """`value` takes a part's result to one number, which must be `least` or more, or `most` or less."""

    what: str
    part: str
    value: Callable[[dict], float]
    unit: str
    least: float | None = None
    most: float | None = None
    why: Callable[[dict], str] = lambda result: "not looked into, because it was met where this book was made"

    @property
    def bound(self) -> str:
        return f"≥ {self.least:,g}{self.unit}" if self.most is None else f"≤ {self.most:,g}{self.unit}"

    def met(self, value: float) -> bool:
        return value >= self.least if self.most is None else value <= self.most


def composition_goals(size: str) -> list[Goal]:
    def at(threads: str):
        return lambda r: min(r[size][threads]["ceiling"][mode]["ratio"]["median"] for mode in "QKV") * 100

    def ceiling(threads: str):
        def why(r: dict) -> str:
            found = r[size][threads]["ceiling"]
            whole, profile = found["Q"]["fast"]["median"], found["profile"]
            factors, products = profile["readers' thin factors"]["median"], profile["the products alone"]["median"]
            return (
                f"of {whole:.2f} s (mode Q) the products at the model's own shapes take {products:.2f} s, and one "
                f"square product of as many operations {found['Q']['slow']['median']:.2f} s; the readers' thin factors "
                f"(QR) take {factors:.2f} s, norms and copies the remaining {whole - factors - products:.2f} s"
            )

        return why

    leaner = f"{size}: leaner than TransformerLens' head-level scores (extra memory)"
    goals = [
        Goal(f"{size}: faster than TransformerLens' head-level scores, with d_head times more numbers", "composition",
             lambda r: r[size]["one thread"]["lens"]["ratio"]["median"], " times", least=10),
        Goal(leaner, "composition",
             lambda r: r[size]["memory"]["lens"] / r[size]["memory"]["ours"], " times", least=10),
        Goal(f"{size}: faster than the textbook's dense matrices", "composition",
             lambda r: textbook_ratio(r[size]), " times", least=1000),
    ]  # fmt: skip
    return goals + [
        Goal(f"{size}: share of the machine's matrix-product speed, {threads}", "composition", at(threads), "%",
             least=60, why=ceiling(threads))
        for threads in ("one thread", "two threads")
    ]  # fmt: skip


def textbook_ratio(size: dict) -> float:
    return size["one thread"]["textbook"]["seconds"] / size["one thread"]["textbook"]["ours"]["median"]


def dial_profile(r: dict) -> str:
    parts = r[KERNEL]["of it"]
    shares = ", ".join(f"{one['median'] * 1e3:.0f} ms {name}" for name, one in parts.items())
    return (
        f"one turn measures and draws: {shares}. The loss is that of several hundred tokens, which all pass through "
        "the layers from the edit on and are unembedded into the whole vocabulary"
    )


def memory_profile(r: dict) -> str:
    return (
        "what a loaded model alone takes, PyTorch and the libraries included, stands above; the rest are runs of many "
        "prompts, which later cells of a chapter look at again, in chapter 05 gradients, in 06 the changes of all "
        f"heads at once, in 08 the stream of four tasks. {_by_chapter(r, 'peak MB', ' MB')}"
    )


def time_profile(r: dict) -> str:
    found = r["forward"]
    return (
        f"the passes of the model run at {found['ratio']['median']:.0%} of the machine's matrix-product speed "
        f"({found['GFLOP'] / found['slow']['median']:,.0f} billion operations a second on one thread), two chapters at "
        "a time: only fewer prompts would be faster, at the price of wider intervals. "
        f"{_by_chapter(r, 'seconds', ' s')}"
    )


def _by_chapter(r: dict, what: str, unit: str) -> str:
    return "By chapter: " + ", ".join(f"{name[:2]} {one[what]:,.0f}{unit}" for name, one in r["chapters"].items())


def former(r: dict) -> str:
    return "the model's own forward masks, normalises and rotates for all positions; by case: " + ", ".join(
        f"{name} {one['ratio']['median']:.2f}" for name, one in r["former"].items()
    )


def from_nothing(r: dict) -> float:
    return r["stages"][r["executing"]] + r["stages"]["book"]


GOALS = [
    *composition_goals("GPT-2 small"),
    *composition_goals("the default model"),
    Goal("all senders into one query, against one hooked forward pass per sender", "patching",
         lambda r: r["paths"]["ratio"]["median"], " times", least=200),
    Goal("interventions at END, against whole hooked passes of 60 tokens", "patching",
         lambda r: r["interventions"]["by tokens"]["60"]["ratio"]["median"], " times", least=20),
    Goal("runs and END re-runs, against `th_utils` with equations of its own: the slowest", "engine",
         lambda r: max(one["ratio"]["median"] for name, one in r["former"].items() if "all senders" not in name),
         " times", most=1.2, why=former),
    Goal("patching of all senders, against the same: the slowest", "engine",
         lambda r: max(one["ratio"]["median"] for name, one in r["former"].items() if "all senders" in name),
         " times", most=3, why=former),
    Goal("slider of a channel, with a kernel", "sliders",
         lambda r: r[KERNEL]["channel"]["median"] * 1e3, " ms", most=100,
         why=lambda r: "four prompts through the layers after the channel, one token each"),
    Goal("slider of chapter 05's dial of edits, with a kernel", "sliders", lambda r: r[KERNEL]["dial"] * 1e3, " ms",
         most=100, why=dial_profile),
    Goal("slider of the playground in the browser, 95 of 100 steps", "sliders",
         lambda r: r["in browser"]["95% ms"], " ms", most=16, why=lambda r: "script and layout of one drawing"),
    Goal("warm load of the default model, after imports", "loading", lambda r: r["warm"]["seconds"]["median"], " s",
         most=1.5, why=lambda r: f"reading the weights takes {r['warm']['of it, reading']['median']:.2f} s, the rest "
         "is folding the norms and, for the most part, TransformerLens' bridge, which copies its components for every "
         "layer and scans all modules for hooks"),
    Goal("memory of a kernel with the model loaded", "loading", lambda r: r["warm"]["MB after"]["median"], " MB",
         most=1200, why=lambda r: f"PyTorch and the libraries alone take {r['warm']['MB before']['median']:,.0f} MB"),
    Goal("import of `th_utils` and its maths, beyond PyTorch", "loading", lambda r: r["beyond torch"]["median"], " s",
         most=0.3, why=lambda r: "transformers, for its caches, and pandas, which loading a model needs as well"),
    Goal("the book from nothing: chapters executed, pages built", "book", from_nothing, " s", most=1200,
         why=time_profile),
    Goal("all that CI does after installing: every test, chapters on four models, pages", "book",
         lambda r: sum(r["stages"].values()), " s", most=1800,
         why=lambda r: "of it " + ", ".join(f"{seconds:,.0f} s {name}" for name, seconds in r["stages"].items())),
    Goal("the book again, nothing changed", "book", lambda r: r["again"], " s", most=30,
         why=lambda r: "Sphinx reads the pages that are not up to date and starts with all its extensions"),
    Goal("memory of a chapter, the largest", "book", lambda r: max(one["peak MB"] for one in r["chapters"].values()),
         " MB", most=2500, why=memory_profile),
]  # fmt: skip


def verdicts(parts: dict) -> list[dict]:
    """Every goal with its number and verdict; "not measured" where the part was not run or could not be."""
    found = []
    for goal in GOALS:
        result = parts.get(goal.part, {}).get("result")
        try:
            value = goal.value(result or {})
        except (KeyError, TypeError, ValueError):  # the part was not run, or had to be left out on this machine
            found.append({"what": goal.what, "goal": goal.bound, "measured": "–", "verdict": "not measured",
                          "why": f"run benchmarks/measure.py {goal.part}"})  # fmt: skip
            continue
        met = goal.met(value)
        shown = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        found.append({"what": goal.what, "goal": goal.bound, "measured": shown + goal.unit,
                      "verdict": "met" if met else "missed", "why": "" if met else goal.why(result)})  # fmt: skip
    return found
