"""Write what `benchmarks/results.json` holds: the page of benchmarks, its figure, what chapters say of their code."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import textwrap
from pathlib import Path

import _common as common
from _engine import FORMER
from _goals import textbook_ratio

PAGE = common.ROOT / "book" / "benchmarks.md"
PICTURE = common.ROOT / "book" / "images" / "benchmarks.png"
NO_BOOK = "Not measured here: `make test` in a fresh clone keeps the times, and `make bench` after it reads them.\n"
ALT = (
    "Four panels with logarithmic axes: seconds against heads, components, prompts and tokens; the slopes of the lines "
    "are the exponents in the legends."
)


def seconds(value: float) -> str:
    if value >= 7200:
        return f"{value / 3600:,.1f} hours"
    return f"{value:,.0f} s" if value >= 100 else f"{value:.2g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def span(found: dict) -> str:
    """A median with the smallest and largest of the repeats."""
    return f"{seconds(found['median'])} ({seconds(found['low'])} to {seconds(found['high'])})"


def times(found: dict) -> str:
    values = (found[name] for name in ("low", "median", "high"))
    low, middle, high = (f"{x:,.0f}" if x >= 100 else f"{x:.3g}" for x in values)
    return f"{middle} times ({low} to {high})"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def goals(results: dict) -> str:
    rows = [[one["what"], one["goal"], one["measured"], one["verdict"]] for one in results["goals"]]
    missed = [one for one in results["goals"] if one["verdict"] == "missed"]
    reasons = "".join(f"- {one['what']}, {one['measured']}: {one['why']}.\n" for one in missed)
    text = table(["what", "goal", "measured", ""], rows)
    return text + (f"\nWhat stands in the way of those that are missed:\n\n{reasons}" if missed else "")


def composition(r: dict) -> str:
    text = []
    for name, found in r.items():
        one, two, memory = found["one thread"], found["two threads"], found["memory"]
        layers, heads, d_model, d_head = found["size"]
        lens, book = one["lens"], one["textbook"]
        part = lens["size"][0]
        at = "" if part == layers else (
            f" Compared at {part} of {layers} layers: for all of them TransformerLens' way would need "
            f"{memory['lens, whole, by its formula'] / 1024:,.0f} GB."
        )  # fmt: skip
        rows = [
            ["SVD and scores of all components", "1", span(lens["fast"]), ""],
            ["TransformerLens, scores of whole heads", "1", span(lens["slow"]), times(lens["ratio"])],
            ["the same numbers as TransformerLens, `th.head_scores`", "1", span(lens["head scores"]), ""],
            ["SVD and scores of all components", "2", span(two["lens"]["fast"]), ""],
            ["TransformerLens, scores of whole heads", "2", span(two["lens"]["slow"]), times(two["lens"]["ratio"])],
        ]
        whole = [["textbook: dense matrices, one product per component and reader", seconds(book["seconds"]),
                  f"{textbook_ratio(found):,.0f} times"],
                 ["the same with one product per pair of heads", seconds(book["milder seconds"]),
                  f"{book['milder seconds'] / book['ours']['median']:,.0f} times"],
                 ["ours, SVD and scores", span(book["ours"]), ""]]  # fmt: skip
        share = [[mode, threads, span(side["ceiling"][mode]["fast"]), span(side["ceiling"][mode]["slow"]),
                  f"{side['ceiling'][mode]['ratio']['median']:.0%}"]
                 for threads, side in (("1", one), ("2", two)) for mode in "QKV"]  # fmt: skip
        columns = ["mode", "threads", "scores", "one square product", "share"]
        text.append(f"""### The size of {name}: {layers} layers of {heads} heads, {d_model} and {d_head} numbers

{times(lens["ratio"]).split(" (")[0].capitalize()} faster than TransformerLens with {d_head} times more numbers, and in
{memory["ours"]:,.0f} MB instead of {memory["lens"]:,.0f} MB of extra memory.{at}

{table([f"one mode, {part} layers", "threads", "time", "ours is faster by"], rows)}
{table([f"one mode, all {layers} layers, one thread", "time", "ours is faster by"], whole)}
The first two rows are extrapolated from {book["sample"]["one component, one reader"]["n"]} pairs and
{book["sample"]["SVD of a head"]["n"]} singular value decompositions. For all layers ours takes
{memory["ours, whole"]:,.0f} MB of extra memory.

{table(columns, share)}
Scores alone, without the SVD, against the machine: each mode needs {one["ceiling"]["GFLOP"]:,.0f} billion operations,
and one square product of matrices {one["ceiling"]["side"]:,} wide has as many, in the same precision (float32).
""")
    return "\n".join(text)


def patching(r: dict) -> str:
    paths, ends = r["paths"], r["interventions"]
    rows = [[tokens, span(one["slow"]), span(one["fast"]), times(one["ratio"])]
            for tokens, one in ends["by tokens"].items()]  # fmt: skip
    return f"""**{times(paths["ratio"]).split(" (")[0].capitalize()} faster** than one hooked forward pass per sender:
all {paths["senders"]} senders into the query of head {paths["receiver"]}, for {paths["prompts"]} prompts of
{paths["tokens"]} tokens, take {span(paths["ours"])}; one pass takes {span(paths["one pass"])}, and the loop over all
senders is extrapolated from {paths["one pass"]["n"]} of them. Both give the same attention, to
{paths["largest difference"]:.0e}. A pass of the loop could stop at the receiver's layer, but often a second pass
follows it; the ratio grows with the number of senders, because ours computes what they share once.

One component of head {ends["head"]} set to zero at the last token (END), {ends["prompts"]} prompts:

{table(["tokens", "whole hooked pass", "last token alone", "faster by"], rows)}
The clean run that the last token is computed from is not counted: it is made once for all interventions. Interventions
at earlier positions need whole passes.
"""


def engine(r: dict) -> str:
    former = [[name, span(one["then"]), span(one["now"]), times(one["ratio"])] for name, one in r["former"].items()]
    lens = [[name, span(one["slow"]), span(one["fast"]), times(one["ratio"])] for name, one in r["lens"].items()]
    return f"""The passes call the model's own forward, through TransformerLens.

{table(["64 prompts, one thread", "TransformerLens", "`th_utils`", "faster by"], lens)}
Commit `{FORMER}` was the last in which `th_utils` computed blocks by equations of its own, right for one kind of block.

{table(["64 prompts, one thread", "equations of its own", "the model's forward", "now slower by"], former)}"""


def sliders(r: dict) -> str:
    kernel, browser = r["with kernel"], r["in browser"]
    rows = [["a channel turned, four prompts", span(kernel["channel"])]]
    rows += [["chapter 05's dial, all of it", seconds(kernel["dial"])]]
    rows += [[f"– of it: {name}", span(one)] for name, one in kernel["of it"].items()]
    page = (
        "No browser was found for the figures on the pages."
        if browser is None
        else f"""\
On a page, without a kernel, one step of the playground takes **{browser["median ms"]:.2g} ms** of script and layout (95
of 100 steps under {browser["95% ms"]:.2g} ms; {browser["tokens"]} tokens, listening heads: {browser["heads"]}; headless
Chromium). Stepped as fast as the screen takes it, a frame lasts {browser["frame ms"]["median"]:.1f} ms (at most
{browser["frame ms"]["high"]:.1f} ms)."""
    )
    return f"""{page}

{table(["one step with a kernel", "time"], rows)}
What this does not show: the painting on the screen, the way of a step from the browser to a kernel and back, and slower
devices.
"""


def loading(r: dict) -> str:
    cold = r["cold"]
    rows = [
        ["import PyTorch", span(r["imports"]["torch"])],
        ["import `th_utils` and its maths after that", span(r["beyond torch"])],
        ["load the default model, after imports", span(r["warm"]["seconds"])],
        ["the same from the downloaded wheel, imports, check and conversion included",
         "left out: the wheel was not on the machine" if cold is None else seconds(cold["seconds"])],
    ]  # fmt: skip
    memory = [["libraries imported", f"{r['warm']['MB before']['median']:,.0f} MB"],
              ["while the default model is loaded, at most", f"{r['warm']['peak MB']['median']:,.0f} MB"],
              ["after that", f"{r['warm']['MB after']['median']:,.0f} MB"]]  # fmt: skip
    memory += [] if cold is None else [["while it is converted, once", f"{cold['peak MB']:,.0f} MB"]]
    return f"""{table(["step", "time"], rows)}
{table(["memory of the process", ""], memory)}
The download itself is not timed: it depends on your line.
"""


def book(r: dict) -> str:
    found, tests = r["forward"], r["tests"]
    chapters = [[f"`{name}`", seconds(one["seconds"]), f"{one['peak MB']:,.0f} MB"]
                for name, one in r["chapters"].items()]  # fmt: skip
    stages = [[name, seconds(spent)] for name, spent in r["stages"].items()]
    return f"""{table(["chapter, executed on " + r["model"], "time", "peak memory"], chapters)}
Two chapters at a time, on one thread each. The model's own passes ({found["prompts"]} prompts of {found["tokens"]}
tokens) run at **{found["ratio"]["median"]:.0%}** of the machine's matrix-product speed: {found["GFLOP"]:,.0f} billion
operations take {span(found["fast"])}, and one square product of as many takes {span(found["slow"])}.

{table(["stage of `make test`, everything executed", "time"], stages)}
{sum(tests.values()):,} tests and executed chapters in all, in {seconds(sum(r["stages"].values()))}; installing is not
counted. With nothing changed the book is built again in {seconds(r["again"])}.
"""


def growth(r: dict) -> str:
    rows = [[over, name, f"{one['exponent']:.2f}", f"{min(found['x']):,} to {max(found['x']):,}"]
            for over, found in r.items() for name, one in found["lines"].items()]  # fmt: skip
    return f"""```{{figure}} images/benchmarks.png
:alt: {ALT}

{title(r)}
```

{table(["number of", "time of", "exponent", "range"], rows)}
The exponent is the slope of a straight line through the logarithms of medians of three calls. Fixed costs make it
smaller at the left end than further right, so do not extrapolate far.
"""


def title(r: dict) -> str:
    def of(over: str) -> str:
        return " and ".join(f"{one['exponent']:.1f}" for one in r[over]["lines"].values())

    return f"Time grows with exponent {of('heads')} in heads, {of('components')} in components, " \
           f"{of('prompts')} in prompts, {of('tokens')} in tokens"  # fmt: skip


def digest(results: dict) -> str:
    """What the figure shows, in 16 letters, kept inside the PNG: tells whether it was drawn from these numbers."""
    return hashlib.sha256(json.dumps(results["parts"]["growth"]["result"]).encode()).hexdigest()[:16]


def draw(results: dict):
    from th_utils.views import COLOURS, MARKERS, finish, new

    r = results["parts"]["growth"]["result"]
    figure, axes = new(11.0, 3.4, len(r))
    for axis, (over, found) in zip(axes, r.items(), strict=True):
        for i, (name, one) in enumerate(found["lines"].items()):
            axis.loglog(found["x"], one["seconds"], color=COLOURS[i], marker=MARKERS[i], ms=4, lw=1.6,
                        label=f"{name}: {one['exponent']:.2f}")  # fmt: skip
        axis.set_xticks(found["x"], [str(x) for x in found["x"]])
        axis.minorticks_off()
        axis.set(xlabel=over)
        axis.legend(fontsize=8, title="exponent", title_fontsize=8, frameon=False)
    axes[0].set_ylabel("seconds")
    return finish(figure, title(r), ALT, colours=64)


def save_picture(results: dict, path: Path) -> None:
    from PIL import Image, PngImagePlugin

    note = PngImagePlugin.PngInfo()
    note.add_text("results", digest(results))
    Image.open(io.BytesIO(draw(results).png)).save(path, pnginfo=note, optimize=True)


def page(results: dict) -> str:
    parts = {name: one["result"] for name, one in results["parts"].items()}
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    versions = ", ".join(f"{name} {value}" for name, value in results["versions"].items())
    runs = [[name, one["date"], f"`{one['commit']}`", f"{one['load before']} to {one['load after']}",
             f"{one['seconds']} s"] for name, one in results["parts"].items()]  # fmt: skip
    return f"""# Benchmarks

How fast and how lean `th_utils` is against what you would use instead, measured side by side, with the goals, met or
missed. Made from `benchmarks/results.json` by `benchmarks/report.py`; `make bench` measures again.

{goals(results)}
## Composition scores

Compared with TransformerLens' `all_composition_scores` on the same matrices, which gives one number per pair of heads;
with the formula as a textbook writes it, in dense matrices; and with the fastest matrix product of the machine. Random
weights, because the time does not depend on the values.

{composition(parts["composition"])}
What this does not show: other libraries, other machines, a graphics card. TransformerLens' way scores pairs that cannot
compose too (it masks them afterwards), which is about half of its work. A share above 100% means that the one large
product was the slower. Two threads wait for each other where other work is going on, so their numbers need a quiet
machine more than the rest: see the load at the end of this page.

## Path patching and interventions

{patching(parts["patching"])}
## Runs, re-runs and patching: the engine

{engine(parts["engine"])}
## Sliders

{sliders(parts["sliders"])}
## Loading and memory

{loading(parts["loading"])}
## The book

{book(parts["book"]) if "book" in parts else NO_BOOK}
## How the time grows

{growth(parts["growth"])}
## How it was measured

{machine}; {versions}. Every part in fresh processes, on one thread where nothing else is said. Two ways are timed in
turn (A, B, A, B …) and ratios taken within pairs, so that a busy machine slows both sides; times are medians, with the
smallest and the largest in brackets. Extra memory is the peak of a process above what it held before the call. The load
is the number of processes that wanted to run, mean over a minute, before and after; above the threads in use here other
work was going on, which makes seconds too long; ratios on one thread change little.

{table(["part", "when", "commit", "load", "took"], runs)}"""


COST = re.compile(r"(\*\*Cost\.\*\* [^;]*); .*?(?=\n\n)", re.S)


def stated(opening: str, chapter: dict) -> str:
    """A chapter's opening with the minutes and the memory of its code as they were measured."""
    minutes, memory = max(1, round(chapter["seconds"] / 60)), math.ceil(chapter["peak MB"] / 102.4) / 10
    code = f"the code takes {minutes} minute{'s' * (minutes > 1)} of one CPU core and {memory:.1f} GB of memory."
    return COST.sub(lambda match: textwrap.fill(f"{match[1]}; {code}", 88), opening)


def state(chapters: dict) -> None:
    """Write it into the notebooks."""
    for name, chapter in chapters.items():
        path = common.ROOT / "notebooks" / f"{name}.ipynb"
        notebook = json.loads(path.read_text(encoding="utf8"))
        opening = notebook["cells"][0]
        opening["source"] = stated("".join(opening["source"]), chapter).splitlines(keepends=True)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf8")


def main() -> None:
    results = json.loads(common.RESULTS.read_text(encoding="utf8"))
    PAGE.write_text(page(results), encoding="utf8")
    save_picture(results, PICTURE)
    if "book" in results["parts"]:
        state(results["parts"]["book"]["result"]["chapters"])
    print(f"    {PAGE}")


if __name__ == "__main__":
    main()
