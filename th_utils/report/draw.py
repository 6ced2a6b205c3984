"""Draw the report's figures and tables as HTML that needs no other file: SVG whose ink follows the page's theme."""

import html
import io
import re
from collections.abc import Mapping, Sequence
from zlib import crc32

import matplotlib
from matplotlib.figure import Figure

from ..stats import Estimate
from ..views.palette import COLOURS, GREY, MARKERS, STYLE

INK = "#010203"  # stands for the page's own text colour
COLOUR_KEYS = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
THEME = STYLE | dict.fromkeys(COLOUR_KEYS, INK) | {"svg.fonttype": "none", "svg.hashsalt": "report"}
CSS = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881 }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.6rem; border-top: 1px solid var(--line); padding-top: 1.2rem }
.verdict { font-size: 1.1rem; background: var(--soft); padding: .7rem 1rem; border-left: 4px solid #0072B2 }
.how, figcaption, footer { font-size: .88rem; opacity: .85 }
figure { margin: 1.2rem 0 } svg { max-width: 100%; height: auto }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem; margin: .8rem 0 }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
"""


def safe(text: str) -> str:
    """Return a text as HTML, with true minus signs and its line breaks."""
    return html.escape(re.sub(r"(?<![\w.])-(?=\d)", "−", text)).replace("\n", "<br>")


def shell(title: str, body: str) -> str:
    """Return a whole page; `title` is text, `body` HTML."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head += f"<title>{html.escape(title)}</title><style>{CSS}</style>"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def note(text: str, kind: str = "how") -> str:
    """Return a paragraph in small print, or a "verdict", which stands out."""
    return f'<p class="{kind}">{safe(text)}</p>'


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table of texts, numbers (three decimals) and estimates."""
    lines = [("th", columns), *(("td", row) for row in rows)]
    cells = ("".join(f"<{kind}>{safe(written(x))}</{kind}>" for x in row) for kind, row in lines)
    return f'<div class="scroll"><table>{"".join(f"<tr>{row}</tr>" for row in cells)}</table></div>'


def written(value: object) -> str:
    """Write an estimate as `0.71 [0.66, 0.76]`, a head or component by its label, other numbers with three decimals."""
    if isinstance(value, Mapping):
        return str(estimate(value)) if "low" in value else f"{value['value']:z.2f}"
    if isinstance(value, list | tuple):
        return ".".join(map(str, value))
    return f"{value:z.3f}" if isinstance(value, float) else str(value)


def estimate(found: Mapping) -> Estimate:
    """Return an estimate from its JSON."""
    return Estimate(found["value"], found["low"], found["high"])


def dots(rows: Mapping[str, object], title: str, unit: str, marks: Mapping[str, float] | None = None) -> str:
    """Draw one row per name: an estimate with its interval, or a list of numbers (a control) in grey."""
    with matplotlib.rc_context(THEME):
        figure = Figure(figsize=(7.5, 1.1 + 0.36 * len(rows)), layout="constrained")
        axis = figure.subplots()
        for y, value in enumerate(rows.values()):
            if isinstance(value, Mapping):
                axis.plot([value["low"], value["high"]], [y, y], color=COLOURS[0], lw=2)
                axis.plot(value["value"], y, "o", color=COLOURS[0], ms=6)
            else:
                axis.plot(value, [y] * len(value), "o", color=GREY, ms=4, alpha=0.6, mew=0)
        for (name, x), style in zip((marks or {}).items(), ("--", ":", "-."), strict=False):
            axis.axvline(x, color=GREY, ls=style, lw=1, label=name)
        axis.set(yticks=range(len(rows)), yticklabels=list(rows), xlabel=unit, ylim=(len(rows) - 0.4, -0.6))
        if marks:
            axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    told = (f"{name}: {spread(x) if isinstance(x, list) else written(x)}" for name, x in rows.items())
    return picture(figure, title, f"{title}. {unit}. {'; '.join(told)}.")


def curves(panels: Mapping[str, Mapping[str, Mapping]], title: str, xlabel: str, ylabels: Sequence[str]) -> str:
    """Draw panels of curves, each name -> {x: estimate or number}; names with "random" or "chance" are controls."""
    with matplotlib.rc_context(THEME):
        figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, (panel, series), ylabel in zip(axes, panels.items(), ylabels, strict=True):
            for i, (name, line) in enumerate(series.items()):
                control = name.startswith(("random", "chance"))
                style = {"color": GREY if control else COLOURS[i % 6], "ls": "--" if control else "-"}
                found = (estimate(v) if isinstance(v, Mapping) else Estimate.of(v) for v in line.values())
                y, low, high = zip(*found, strict=True)
                axis.plot(list(line), y, marker=MARKERS[i % 7], ms=5, lw=1.6, label=name, **style)
                axis.vlines(list(line), low, high, color=style["color"], lw=1.4)
            axis.axhline(0, color=INK, lw=0.6)
            axis.set(title=panel, xlabel=xlabel, ylabel=ylabel)
            axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.18), ncols=2)
    told = (f"{panel}, {name}: " + ", ".join(f"{written(v)} at {x}" for x, v in line.items())
            for panel, series in panels.items() for name, line in series.items())  # fmt: skip
    return picture(figure, title, f"{title}. Against {xlabel}. {'; '.join(told)}.")


def spread(values: Sequence[float]) -> str:
    """Tell the range of a list of numbers."""
    return f"{len(values)} from {min(values):.2f} to {max(values):.2f}" if values else "none"


def picture(figure, title: str, alt: str) -> str:
    """Return a figure as inline SVG with an alternative text; its ids are made its own, its ink the page's."""
    buffer = io.StringIO()
    with matplotlib.rc_context(THEME):
        figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight")
    found = buffer.getvalue()
    found = re.sub(r"<metadata>.*?</metadata>|\sxmlns(:\w+)?=\"[^\"]*\"", "", found[found.index("<svg") :], flags=re.S)
    mine = f"f{crc32(alt.encode()):08x}-"
    found = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{mine}", found).replace(INK, "currentColor")
    found = found.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"', 1)
    return f"<figure>{found}<figcaption>{html.escape(title)}</figcaption></figure>"
