"""Slides of every chapter, made from its executed notebook: one HTML file each, which needs no network.

A deck has 8 to 12 slides: the question, pictures, each with what the chapter reads from it or claims below it, one
question for the audience, the take-aways. Arrow keys turn the pages; the browser prints them to PDF.
"""

import base64
import html
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import build
from markdown_it import MarkdownIt

from th_utils.views import palette
from th_utils.views.live.attention_viewer import IN_BOOK

ROOT = Path(__file__).resolve().parents[1]
LEAST, MOST = 8, 12
FRAME = 3  # slides that every deck has: question, a question for the audience, take-aways
CHECK, TAKE = "Check yourself", "Take-aways"
DRAWING = re.compile(r"!\[[^\]]*\]\(\.\./book/drawings/(\w+\.svg)\)")
LONGEST = 420  # characters of a reading
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")


@dataclass
class Picture:
    """A slide in the making: a heading, a picture or none, readings and claims that follow it."""

    heading: tuple[str, str]  # of the section, and below it
    picture: str = ""
    drawn: bool = False
    named: bool = False
    readings: list[str] = field(default_factory=list)
    claims: list[tuple[str, str]] = field(default_factory=list)

    @property
    def worth(self) -> int:
        """A picture before words, one that is read from before one that is not, a measured one before a drawing."""
        return 4 * bool(self.picture) + 2 * bool(self.readings) + 2 * self.named + bool(self.claims) - self.drawn


# --- text ---


def plain(text: str) -> str:
    """Markdown without what a slide cannot follow: links become their words, a formula its letters."""
    text = re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:)[^)]*\)", r"\1", text)
    text = re.sub(r"\{\w+\}`([^`]*)`", r"\1", text)
    return re.sub(r"\$([^$\n]+)\$", lambda match: formula(match[1]), text)


def formula(text: str) -> str:
    for tex, sign in {r"\top": "⊤", r"\cdot": "·", r"\times": "×", r"\sigma": "σ", r"\to": "→"}.items():
        text = text.replace(tex, sign)
    text = re.sub(r"_(?:\{([^{}]*)\}|(\w))", r"<sub>\1\2</sub>", text)
    text = re.sub(r"\^(?:\{([^{}]*)\}|(\S))", r"<sup>\1\2</sup>", text)
    return f"<i>{text}</i>"


def rendered(text: str) -> str:
    return MARKDOWN.render(plain(text))


def shortened(text: str) -> str:
    """The first sentences of a reading, as many as a slide can hold."""
    kept = ""
    for sentence in re.split(r"(?<=[.?!])\s+(?=[A-Z“*])", " ".join(text.split())):
        if kept and len(kept) + len(sentence) > LONGEST:
            break
        kept += f" {sentence}" * bool(kept) or sentence
    return kept


def part(text: str, start: str) -> str:
    """What stands below the heading or bold word `start`, as far as the next one."""
    found = re.search(rf"^{re.escape(start)}\s+(.*?)(?=^#|^\*\*\w[^*]*\.\*\*|\Z)", text, re.M | re.S)
    return found[1].strip() if found else ""


# --- reading a chapter ---


def picture_of(output) -> tuple[str, bool] | None:
    """The picture of an output as HTML, alive where it can be, and whether it carries a name; None for no picture."""
    data = output.get("data", {})
    text = "".join(data.get("text/html", ""))
    if not ("image/png" in data or "th-drawing" in text or "th-live" in text):
        return None
    alt = "".join(data.get("text/plain", "")).removeprefix("Figure: ")
    text = text.replace(f'"source":"{IN_BOOK}"', '"source":null')  # a script beside the pages, not in the deck
    image = f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data.get("image/png", "").strip()}">'
    return text or image, "scrapbook" in output.get("metadata", {})


def collect(notebook) -> list[Picture]:
    """Everything between the question and the questions for readers that could become a slide, in order."""
    found, heading = [], ("In one picture", "")
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if match := re.match(r"(###?) (?:\d+\. )?(?:★ )?(?:Box: )?(.+)", line):
                    heading = (match[2], "") if match[1] == "##" else (heading[0], match[2])
                    if CHECK in heading:
                        return found
                elif match := DRAWING.search(line):
                    svg = (ROOT / "book" / "drawings" / match[1]).read_text(encoding="utf8")
                    found.append(Picture(heading, svg[svg.index("<svg") :], drawn=True))
        for output in cell.get("outputs", ()):
            text = "".join(output.get("data", {}).get("text/markdown", ""))
            if picture := picture_of(output):
                found.append(Picture(heading, picture[0], named=picture[1]))
            elif text and "scrapbook" in output.get("metadata", {}):
                last(found, heading).readings.append(text)
            elif output.output_type == "stream":
                claims = re.findall(r"^([✓–]) (.+)$", output.text, re.M)
                claims = [one for one in claims if "of the scale)" not in one[1]]
                if claims:
                    last(found, heading).claims += claims
    return found


def last(found: list[Picture], heading: tuple[str, str]) -> Picture:
    """The slide that words below this heading belong to: that of the last picture there, or one of their own."""
    if not found or found[-1].heading != heading:
        found.append(Picture(heading))
    return found[-1]


def chosen(found: list[Picture]) -> list[Picture]:
    """As many as a deck holds, the ones with the least to see left out."""
    best = sorted(range(len(found)), key=lambda i: (-found[i].worth, i))
    seen = [i for i in best if found[i].picture]
    words = [i for i in best if not found[i].picture]
    wanted = max(LEAST - FRAME, min(len(seen), MOST - FRAME))
    return [found[i] for i in sorted((seen + words)[:wanted])]


# --- writing a deck ---


def slide(one: Picture) -> str:
    readings = "".join(rendered(shortened(text)) for text in one.readings[:1])
    claims = "".join(
        f"<li{' class=not' * (mark == '–')}>{html.escape(text)}</li>"
        for mark, text in one.claims[: 2 if one.picture else 6]
    )
    said = readings if readings and one.picture else readings + (f"<ul>{claims}</ul>" if claims else "")
    picture = f'<div class="picture">{one.picture}</div>' if one.picture else ""
    title, below = map(html.escape, one.heading)
    return f"<h2>{title}{f' <small>{below}</small>' * bool(below)}</h2>{picture}<div class=said>{said}</div>"


def slides(notebook) -> list[str]:
    """The inside of every slide; `ValueError` for a chapter without its fixed parts or with too little to show."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    title = re.match(r"# (.+)", texts[0])[1]
    question = part(texts[0], "**Question.**").split("\n\n")[0]
    whole = "\n\n".join(texts)
    asked = part(whole, "**Question 1.**").split("<details>", 1)
    answers = "<details>" + asked[1] if asked[1:] else ""
    takes = part(whole, f"## {TAKE}")
    content = chosen(collect(notebook))
    if not (question and answers and takes) or len(content) < LEAST - FRAME:
        raise ValueError(f"{title}: too little for a deck of {LEAST} slides")
    return [
        f"<h1>{html.escape(title)}</h1>{f'<div>{rendered(shortened(question))}</div>'}",
        *map(slide, content),
        f"<h2>Your turn</h2>{rendered(asked[0])}<div>{answers}</div>",
        f"<h2>{TAKE}</h2>{rendered(takes)}",
    ]


def deck(notebook) -> str:
    made = slides(notebook)
    title = html.escape(re.match(r"# (.+)", notebook.cells[0].source)[1])
    foot = "<footer><span>Talking Heads · {}</span><span>{} / {}</span></footer>"
    body = "\n".join(f"<section>{one}{foot.format(title, i, len(made))}</section>" for i, one in enumerate(made, 1))
    font = base64.b64encode((ROOT / "_static" / "fonts" / "inter.woff2").read_bytes()).decode()
    text = (ROOT / "tools" / "deck.html").read_text(encoding="utf8")
    for name, value in {"TITLE": title, "FONT": font, "PALETTE": palette.css(), "SLIDES": body}.items():
        text = text.replace(f"__{name}__", value)
    return text


def main() -> int | str:
    folder = build.BUILD / "slides"
    try:
        chapters = {path: one for path, one in build.executed(build.model_name()).items() if "deeper" not in path.parts}
    except build.Failed as failure:
        return f"error: {failure}"
    folder.mkdir(parents=True, exist_ok=True)
    for path, notebook in chapters.items():
        target = folder / f"{path.stem}.html"
        target.write_text(deck(notebook), encoding="utf8")
        print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
