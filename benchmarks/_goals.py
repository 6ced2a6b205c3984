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
        f"one turn measures and draws: {shares}. Loss and divergence each unembed every token into the whole "
        "vocabulary, the divergence twice, for the unedited model at every turn again"
    )


def chapter_profile(r: dict) -> str:
    above = ", ".join(f"{name} {one['peak MB']:.0f} MB" for name, one in r.items() if one["peak MB"] > 1536)
    return f"above it: {above}; a loaded model alone takes about 1,100 MB, PyTorch and the libraries included"


GOALS = [
    *composition_goals("GPT-2 small"),
    *composition_goals("the default model"),
    Goal("all senders into one query, against one hooked forward pass per sender", "patching",
         lambda r: r["paths"]["ratio"]["median"], " times", least=200),
    Goal("interventions at END, against whole hooked passes of 60 tokens", "patching",
         lambda r: r["interventions"]["by tokens"]["60"]["ratio"]["median"], " times", least=20),
    Goal("slider of a channel, with a kernel", "sliders",
         lambda r: r[KERNEL]["channel"]["median"] * 1e3, " ms", most=100,
         why=lambda r: "four prompts through the layers after the channel, one token each"),
    Goal("slider of chapter 05's dial of edits, with a kernel", "sliders", lambda r: r[KERNEL]["dial"] * 1e3, " ms",
         most=100, why=dial_profile),
    Goal("slider of the playground in the browser, 95 of 100 steps", "sliders",
         lambda r: r["in browser"]["95% ms"], " ms", most=16, why=lambda r: "script and layout of one drawing"),
    Goal("warm load of the default model, after imports", "loading", lambda r: r["warm"]["seconds"]["median"], " s",
         most=2, why=lambda r: f"reading the weights takes {r['warm']['of it, reading']['median']:.2f} s, the rest is "
         "folding the norms and, for the most part, TransformerLens' bridge, which copies its components for every "
         "layer and scans all modules for hooks"),
    Goal("import of `th_utils` and its maths, beyond PyTorch", "loading", lambda r: r["beyond torch"]["median"], " s",
         most=0.3, why=lambda r: "jaxtyping and the modules of the maths"),
    Goal("memory of a chapter, the largest", "chapters", lambda r: max(one["peak MB"] for one in r.values()), " MB",
         most=1536, why=chapter_profile),
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
