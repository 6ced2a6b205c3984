"""Draw the book's explanations: `python tools/drawings.py` writes book/drawings/*.svg.

A drawing explains a term and shows no result: it names no head of the model and no number. It is made of panels, which
stand side by side where there is room and below each other on a phone (_ext/drawings.py). Colours and glyphs are those
of the figures (th_utils/views/glyphs.py): variables of the page, with the colours of light paper where there is none.
"""

import html
import math
from collections.abc import Callable
from pathlib import Path

from th_utils.views.glyphs import box, head, path, token, words

FOLDER = Path(__file__).resolve().parent.parent / "book" / "drawings"
FONTS = "Source Sans 3,Noto Sans,DejaVu Sans,sans-serif"  # of the files; in a page it is the page's own
GAP = 20
DRAWINGS: dict[str, Callable] = {}
Panel = tuple[float, float, str]  # width, height, glyphs


def drawing(make: Callable[[], list[Panel]]) -> Callable[[], list[Panel]]:
    """Register a drawing under its function's name; the docstring is its alt text."""
    DRAWINGS[make.__name__] = make
    return make


def alt(name: str) -> str:
    return " ".join(DRAWINGS[name].__doc__.split())


def written(name: str) -> str:
    """Return the file of a drawing: its panels in a row, on paper."""
    panels = DRAWINGS[name]()
    width, height = sum(w for w, *_ in panels) + GAP * (len(panels) + 1), max(h for _, h, _ in panels) + 2 * GAP
    x, inside = GAP, []
    for w, h, parts in panels:
        place = f"x='{x:g}' y='{(height - h) / 2:g}' width='{w:g}' height='{h:g}' viewBox='0 0 {w:g} {h:g}'"
        inside.append(f"<svg {place}>{parts}</svg>")
        x += w + GAP
    size = f"width='{width:g}' height='{height:g}' viewBox='0 0 {width:g} {height:g}'"
    texts = f"<title>{name.replace('_', ' ').capitalize()}</title>\n<desc>{html.escape(alt(name))}</desc>"
    ground = box(0, 0, width, height, "paper", r=0, rim=0)
    lines = "\n".join(inside)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' font-family='{FONTS}' {size}>\n{texts}\n{ground}\n{lines}\n</svg>\n"
    )


# --- more glyphs ---


def arrow(
    x0: float, y0: float, x1: float, y1: float, role: str = "ink", width: float = 2.5, size: float = 9, **how
) -> str:
    """A straight arrow."""
    angle = math.atan2(y1 - y0, x1 - x0)
    stop = (x1 - 0.8 * size * math.cos(angle), y1 - 0.8 * size * math.sin(angle))
    return path(f"M{x0:g} {y0:g}L{stop[0]:.1f} {stop[1]:.1f}", role, width, **how) + tip(
        x1, y1, math.degrees(angle), role, size
    )


def tip(x: float, y: float, towards: float, role: str = "ink", size: float = 9) -> str:
    """The head of an arrow whose point is at (x, y); `towards` is its direction in degrees, 0 to the right."""
    back = [math.radians(towards + turn) for turn in (180 - 24, 180 + 24)]
    a, b = ((x + size * math.cos(one), y + size * math.sin(one)) for one in back)
    return path(f"M{x:g} {y:g}L{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}Z", role, 1, fill=role)


def disc(x: float, y: float, r: float, role: str, fill: str = "paper", rim: float = 2) -> str:
    return box(x - r, y - r, 2 * r, 2 * r, role, fill, r, rim)


def dial(x: float, y: float, turn: float, r: float = 26, role: str = "message") -> str:
    """A dial whose needle is turned from upright by an angle in degrees, clockwise."""
    marks = path("".join(ray(x, y, a, r + 4, r + 8) for a in range(0, 181, 45)), role, 1.5, opacity=0.7)
    needle = path(ray(x, y, 90 - turn, 0, r - 5), role, 3.5)
    return marks + disc(x, y, r, role, "raised", 3) + needle + disc(x, y, 3, role, role)


def ray(x: float, y: float, degrees: float, near: float, far: float) -> str:
    """A piece of a line away from (x, y), as the data of a path; 0 degrees to the right, 90 upwards."""
    a = math.radians(degrees)
    (x0, y0), (x1, y1) = ((x + r * math.cos(a), y - r * math.sin(a)) for r in (near, far))
    return f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"


def cross(x: float, y: float, r: float, role: str, width: float = 2) -> str:
    return path("".join(ray(x, y, a, -r, r) for a in (45, -45)), role, width)


def rail(x: float, low: float, high: float, role: str = "ink", width: float = 4, opacity: float = 0.45) -> str:
    return path(f"M{x:g} {low:g}V{high:g}", role, width, opacity=opacity)


def says(
    x: float, y: float, *lines: str, role: str = "ink", size: float = 14, anchor: str = "middle", bold=False
) -> str:
    """Several lines of text."""
    return "".join(words(x, y + 1.3 * size * i, line, role, size, anchor, bold) for i, line in enumerate(lines))


def matrix(x: float, y: float, letter: str, role: str) -> str:
    """The name of a weight matrix: W with an index."""
    return words(x, y, "W", role, 15, "end", True) + words(x + 1, y + 4, letter, role, 11.5, "start", True)


# --- 00: first look ---


@drawing
def residual_stream() -> list[Panel]:
    """The residual stream of one token as a bundle of stripes that grows upwards. It starts with the stripe of the
    embedding. An attention head, an MLP and a later head each add one stripe; every stripe runs on to the top, where
    the unembedding reads the sum."""
    writers = [("embedding", "other", 316), ("a head adds", "noticer", 250), ("an MLP adds", "ink", 186),
               ("a later head adds", "mover", 122)]  # fmt: skip
    parts = says(150, 22, "the unembedding reads the sum", size=14.5, bold=True)
    parts += arrow(150, 62, 150, 34)
    parts += path("M116 70H184", "ink", 1.5) + path("M116 70V76M184 70V76", "ink", 1.5)
    for i, (name, role, y) in enumerate(writers):
        x = 124 + 17.5 * i
        parts += path(f"M{x:g} {y:g}V78", role, 13, opacity=0.75)
        if i:
            parts += path(f"M216 {y:g}H{x + 2:g}", role, 2.5) + tip(x + 7, y, 180, role, 8)
            parts += head(230, y, role, 13) if role != "ink" else box(218, y - 12, 24, 24, "ink", "raised", 3, 2.5)
            parts += says(252, y + 5, name, role=role, size=14.5, anchor="start", bold=True)
    parts += token(124, 340, "word") + says(164, 345, "its embedding starts the sum", role="other", anchor="start")
    parts += path("M84 316V84", "other", 1.5) + tip(84, 80, -90, "other", 8)
    parts += says(78, 196, "layers", role="other", anchor="end")
    return [(404, 362, parts)]


@drawing
def head_opened() -> list[Panel]:
    """A head opened. Left, where to look: the reading token's stream passes a narrow door and becomes the query, the
    stream of an earlier token passes another and becomes the key; where the two agree, the head looks. Right, what to
    carry over: the earlier token's stream passes a narrow door and becomes the value, passes a second door, and is
    added to the reading token's stream."""

    def door(x, y, direction, role, name):
        """A wide stream that narrows to what passes the door."""
        far, near = x - 30 * direction, x + 30 * direction
        funnel = f"M{far} {y - 22}L{x} {y - 5}L{near} {y - 5}V{y + 5}L{x} {y + 5}L{far} {y + 22}Z"
        return path(funnel, role, 1.6, fill="raised") + matrix(x - 4 * direction, y - 28, name, role)

    def ground():
        streams = rail(44, 216, 48, "other", 16, 0.3) + rail(276, 216, 48, "other", 16, 0.3)
        return streams + token(44, 236, "earlier", "other") + token(276, 236, "reading", "ink")

    query = ground() + says(160, 20, "where to look", role="mover", size=15, bold=True)
    query += door(86, 150, 1, "mover", "K") + door(234, 150, -1, "mover", "Q")
    query += path("M116 150H144M204 150H176", "mover", 2.5) + disc(160, 150, 16, "mover", "paper", 2.5)
    query += words(160, 155, "·", "mover", 22, bold=True)
    query += says(126, 182, "key", role="mover") + says(196, 182, "query", role="mover")
    query += arrow(160, 132, 160, 96, "mover") + says(160, 84, "how well they agree", role="ink")
    value = ground() + says(160, 20, "what to carry over", role="mover", size=15, bold=True)
    value += door(86, 118, 1, "mover", "V") + path("M116 118H204", "mover", 3)
    value += path("M204 113V123L234 140V96Z", "mover", 1.6, fill="raised") + matrix(220, 88, "O", "mover")
    value += arrow(236, 118, 268, 118, "mover", 3) + says(160, 140, "value", role="mover")
    value += disc(276, 118, 10, "ink", "paper", 2) + path("M270 118H282M276 112V124", "ink", 2)
    value += says(160, 182, "added to the stream", role="ink")
    return [(320, 256, query), (320, 256, value)]


@drawing
def control_prompts() -> list[Panel]:
    """Three kinds of prompts. ABBA: Anna, James, James again; the answer is Anna. BABA: James, Anna, James again; the
    answer is Anna too, though the names stand in the other order. ABC: Anna, James, and a third name, Mary; nobody is
    repeated and there is no right answer."""

    def prompt(title, names, note, answer):
        parts = says(105, 20, title, size=16, bold=True)
        spots = (42, 105, 168)
        for i, (x, (name, role)) in enumerate(zip(spots, names, strict=True)):
            parts += token(x, 112, name, role, double=i == 2 and role == "s", size=13)
        same = [x for x, (_, role) in zip(spots, names, strict=True) if role == "s"]
        if len(same) == 2:
            a, b = same
            parts += path(f"M{b} 93C{b} 50 {a} 50 {a} 90", "noticer", 3) + tip(a, 95, 90, "noticer", 9)
            parts += says((a + b) / 2, 54, "again", role="noticer", bold=True)
        else:
            parts += says(105, 66, "nobody twice", role="other")
        parts += says(105, 158, *note, role="other", size=13.5)
        parts += says(78, 212, "answer:", anchor="end") + (
            token(124, 208, answer, "io") if answer else says(90, 213, "none", anchor="start", bold=True)
        )
        return 210, 230, parts

    io, s = ("Anna", "io"), ("James", "s")
    return [prompt("ABBA", (io, s, s), ("the right name", "comes first"), "Anna"),
            prompt("BABA", (s, io, s), ("the right name", "comes second"), "Anna"),
            prompt("ABC", [(name, "ink") for name in ("Anna", "James", "Mary")],
                   ("the control: no", "repetition to use"), "")]  # fmt: skip


# --- 01: the heads ---


@drawing
def attribution_balance() -> list[Panel]:
    """Direct logit attribution, a balance. Each head puts its weight into the pan of the right name or into that
    of the other name. The beam tips towards the right name; the tilt is the logit difference, the sum of all."""
    tilt = 14
    left, right = (70, 92 + tilt), (270, 92 - tilt)
    parts = path("M170 92L150 210H190Z", "other", 2, fill="raised") + path("M130 210H210", "other", 3)
    parts += path(f"M{left[0]} {left[1]}L{right[0]} {right[1]}", "ink", 5) + disc(170, 92, 7, "ink", "paper", 3)
    for (x, y), role, name in ((left, "io", "right name"), (right, "s", "other name")):
        parts += path(f"M{x} {y}L{x - 44} {y + 66}M{x} {y}L{x + 44} {y + 66}", "other", 1.5)
        parts += path(f"M{x - 52} {y + 66}H{x + 52}A52 22 0 0 1 {x - 52} {y + 66}Z", role, 2.2, fill="raised")
        parts += says(x, y + 110, name, role=role, size=15, bold=True)
    y = left[1] + 66
    parts += head(42, y - 15, "mover", 14) + head(76, y - 19, "mover", 18) + head(104, y - 9, "mover", 8)
    parts += head(262, right[1] + 66 - 14, "suppressor", 13) + head(288, right[1] + 66 - 9, "suppressor", 8)
    parts += path("M170 44A48 48 0 0 0 125 68", "ink", 2) + tip(121, 73, 120, "ink", 8)
    parts += says(170, 24, "the tilt is the logit difference", size=14.5, bold=True)
    return [(340, 234, parts)]


@drawing
def path_patching() -> list[Panel]:
    """Path patching. Two runs side by side: the prompt, and paler the corrupted prompt. In the prompt's run a sender
    head writes and a receiver head reads. The one wire between them is cut, and the receiver's end is plugged into
    the sender of the corrupted run. All other wires stay as they were."""
    parts = rail(96, 236, 40) + rail(268, 236, 40, "other", 4, 0.35)
    parts += token(96, 256, "prompt") + token(268, 256, "corrupted", "other")
    parts += path("M96 200C40 190 40 112 84 106", "ink", 1.5, dashed=False, opacity=0.5) + says(
        34, 152, "other", "wires", role="other", size=13
    )
    parts += head(96, 200, "message", 15) + head(96, 92, "mover", 15) + head(268, 200, "other", 15)
    parts += says(118, 205, "sender", role="message", anchor="start", bold=True)
    parts += says(118, 88, "receiver", role="mover", anchor="start", bold=True)
    parts += path("M96 184V166", "message", 5) + path("M89 168L103 162", "message", 2.5)
    parts += path("M268 184C268 132 200 134 150 136C116 137 96 140 96 118", "other", 4)
    parts += box(88, 112, 16, 20, "other", "raised", 4, 2.5) + path("M92 111V105M100 111V105", "other", 2.5)
    parts += says(196, 124, "plugged in", role="other", size=13.5) + says(
        112, 170, "cut", role="message", size=13.5, anchor="start"
    )
    parts += arrow(96, 74, 96, 44, "mover", 2.5) + says(112, 50, "does it still look there?", size=13.5, anchor="start")
    return [(340, 278, parts)]


@drawing
def keep_and_knock_out() -> list[Panel]:
    """Three boards of heads. Keep: the heads of the circuit work, all others are switched to their mean. Knock out: the
    circuit is switched to its mean, all others work. Random circuit: as many heads in every row as the circuit has,
    drawn at random, are kept."""
    circuit = dict.fromkeys([(1, 4), (2, 3)], "noticer") | dict.fromkeys([(4, 2), (0, 2)], "message")
    circuit |= dict.fromkeys([(2, 1), (3, 1), (4, 0)], "mover")
    drawn = {(3, 4), (0, 3), (1, 2), (3, 2), (0, 1), (4, 1), (2, 0)}

    def board(title, note, works):
        parts = says(95, 20, title, size=15.5, bold=True)
        for column in range(5):
            for row in range(5):
                x, y, role = 27 + 34 * column, 52 + 32 * row, works(column, row)
                parts += (
                    head(x, y, role, 11)
                    if role
                    else disc(x, y, 10, "line", "paper", 1.5) + path(f"M{x - 4} {y}H{x + 4}", "line", 2)
                )
        return 190, 236, parts + says(95, 222, note, role="other", size=13.5)

    return [board("keep", "the circuit alone", lambda *at: circuit.get(at)),
            board("knock out", "all but the circuit", lambda *at: None if at in circuit else "other"),
            board("random circuit", "as many, by chance", lambda *at: "other" if at in drawn else None)]  # fmt: skip


@drawing
def self_repair() -> list[Panel]:
    """Self-repair as two lamps that light one answer. Left: one lamp burns bright, the other is dim. Right: the bright
    lamp is out, the other has become brighter, and the answer is lit nearly as well as before."""

    def lamp(x, y, glow):
        if not glow:
            return disc(x, y, 16, "line") + cross(x, y, 11, "against", 2.5)
        return path("".join(ray(x, y, a, 24, 24 + glow) for a in range(0, 360, 45)), "mover", 2.5) + head(
            x, y, "mover", 16
        )

    def scene(title, glows, lit):
        parts = says(150, 20, title, size=15, bold=True)
        for x, glow in zip((84, 216), glows, strict=True):
            parts += lamp(x, 84, glow)
        parts += box(60, 152, 180, 16, "line", "raised", 4, 1.5) + box(60, 152, lit, 16, "io", "io", 4, 1.5)
        return 300, 200, parts + says(150, 192, "the answer", role="io", bold=True)

    return [scene("both at work", (16, 6), 150), scene("one silenced: the other steps in", (0, 13), 126)]


# --- 02: composition ---


@drawing
def composition_angle() -> list[Panel]:
    """Three times a writer's arrow and the line of a reader's ear. Along the ear, the message is heard in full. At an
    angle, only its shadow on the ear is heard. At a right angle nothing is heard, however loud it is."""

    def ear(title, angle, note):
        x, y, length = 100, 128, 88
        parts = says(100, 20, title, size=15, bold=True)
        parts += path(f"M{x - 84} {y}H{x + 90}", "mover", 2, dashed=True) + says(
            x + 84, y + 22, "ear", role="mover", anchor="end", bold=True
        )
        a = math.radians(angle)
        end = (x - 44 * math.cos(a) + length * math.cos(a), y - length * math.sin(a))
        start = (x - 44 * math.cos(a), y)
        if angle:
            parts += path(f"M{end[0]:.1f} {end[1]:.1f}V{y}", "other", 1.5, dashed=True)
        if 0 < angle < 90:
            parts += path(f"M{start[0]:.1f} {y}H{end[0]:.1f}", "mover", 7, opacity=0.8)
            parts += path(
                f"M{start[0] + 30:.1f} {y}A30 30 0 0 0 {start[0] + 30 * math.cos(a):.1f} {y - 30 * math.sin(a):.1f}",
                "ink",
                1.5,
            )
        if not angle:
            parts += path(f"M{start[0]:.1f} {y}H{end[0] - 8:.1f}", "mover", 9, opacity=0.35)
        parts += arrow(*start, *end, "message", 4, 12) + disc(*start, 3.5, "message", "message")
        return 200, 190, parts + says(100, 180, note, role="other", size=13.5)

    return [ear("along", 0, "heard in full"), ear("at an angle", 50, "heard in part"), ear("across", 90, "not heard")]


@drawing
def loud_and_quiet() -> list[Panel]:
    """One head writes in two directions: a long arrow, its loud component, and a short one across it, its quiet
    component. The ear of a later head is turned along the quiet arrow. The head as a whole scores low with this ear,
    the quiet component alone scores high."""
    parts = path("M60 202L226 36", "mover", 2, dashed=True) + says(
        204, 84, "its ear", role="mover", anchor="start", bold=True
    )
    parts += arrow(96, 166, 290, 228, "other", 7, 18) + says(150, 228, "loud component", role="other", bold=True)
    parts += arrow(96, 166, 148, 114, "message", 5, 14) + says(
        140, 150, "quiet component", role="message", anchor="start", bold=True
    )
    parts += head(96, 166, "message", 17) + says(72, 160, "a head", role="message", anchor="end", bold=True)
    parts += head(236, 26, "mover", 17) + says(260, 31, "a later head", role="mover", anchor="start", bold=True)
    return [(376, 250, parts)]


# --- 03: the channel ---


@drawing
def dial_settings() -> list[Panel]:
    """Four things to do with a channel's dial. Zero: the needle is turned to the middle. Scale: it is turned further
    the way it points. Set: it is turned to a value that we choose. Swap: it takes the position that it has in another
    prompt. A dashed needle shows where it stood before."""
    before = -35

    def turned(title, after, note):
        x, y = 77, 96
        pale = path(ray(x, y, 90 - before, 0, 31), "other", 3, dashed=True)
        parts = says(x, 20, title, size=15.5, bold=True) + dial(x, y, after, 36)
        return 154, 190, parts + pale + says(x, 164, *note, role="other", size=13.5)

    return [turned("zero", 0, ("to the middle", "(dashed: before)")),
            turned("scale", -72, ("further, the", "same way")), turned("set", 62, ("to a value", "we choose")),
            turned("swap", 35, ("to where another", "prompt has it"))]  # fmt: skip


@drawing
def heard_and_unheard() -> list[Panel]:
    """An arrow, the change that we write, above the line of what a reader can hear. Its shadow on the line is the part
    in the row space, which is heard. The rest stands across the line, in the null space, and is not heard."""
    parts = path("M30 200H350", "mover", 2, dashed=True) + says(
        350, 190, "its ear", role="mover", anchor="end", bold=True
    )
    parts += path("M70 200H228", "mover", 9, opacity=0.8) + path("M240 60V192", "other", 2, dashed=True)
    parts += path("M230 200V190H240", "other", 1.5) + tip(240, 200, 0, "mover", 15)
    parts += arrow(70, 200, 240, 56, "message", 4.5, 14) + disc(70, 200, 4, "message", "message")
    parts += says(134, 112, "the change", role="message", anchor="end", bold=True)
    parts += says(155, 228, "heard: row space", role="mover", bold=True)
    parts += says(252, 112, "unheard:", "null space", role="other", anchor="start", bold=True)
    return [(360, 240, parts)]


# --- 04: the laundry list ---


@drawing
def laundry_list() -> list[Panel]:
    """A list of five items: shirt, towel, sock, scarf, glove. All but the scarf were named again and have a tick.
    The answer is the one without a tick. Beside it two ways to find it: push the ticked items down, or tell the
    reader the place of the item that is left."""
    items = (("shirt", 1), ("towel", 1), ("sock", 1), ("scarf", 0), ("glove", 1))
    parts = box(20, 30, 180, 214, "line", "raised", 8, 1.5) + says(110, 20, "the list", size=15, bold=True)
    for i, (item, ticked) in enumerate(items):
        y = 60 + 40 * i
        role = "s" if ticked else "io"
        parts += box(42, y - 12, 22, 22, role, "paper", 4, 2)
        parts += path(f"M47 {y - 1}L52 {y + 4}L60 {y - 7}", role, 3) if ticked else ""
        parts += words(80, y + 5, item, role, 16, "start", not ticked)
    parts += arrow(238, 180, 186, 180, "io", 3) + says(
        246, 185, "the answer", role="io", anchor="start", bold=True, size=13.5
    )
    push = says(130, 20, "two ways to find it", size=15, bold=True)
    push += head(34, 86, "suppressor", 15) + says(
        62, 80, "push down what", "has a tick", role="suppressor", anchor="start", bold=True
    )
    push += head(34, 176, "mover", 15) + dial(34, 226, 30, 13) + path("M34 192V208", "message", 5)
    push += says(
        62,
        186,
        "tell the reader the place",
        "of the one that is left",
        role="message",
        anchor="start",
        bold=True,
        size=13.5,
    )
    return [(336, 252, parts), (270, 252, push)]


@drawing
def selectable_points() -> list[Panel]:
    """Places as points that a reader can select by turning an arrow; the farthest point along the arrow wins. On a line
    only the two ends can win. On a circle every point can. A point inside the others never wins, whatever the
    direction. A shaded sector shows the directions in which one point wins."""

    def scene(title, points, lost, note, sector=None):
        parts = says(95, 20, title, size=15, bold=True)
        if sector:
            edges = [ray(95, 110, a, 0, 82) for a in sector]
            arc = edges[0] + "A82 82 0 0 1 " + edges[1].split("L")[1] + "Z"
            parts += path(arc, "message", 0.5, opacity=0.4, fill="raised")
            x, y = map(float, ray(95, 110, sum(sector) / 2, 0, 80).split("L")[1].split())
            parts += arrow(95, 110, x, y, "message", 3.5, 11)
        for i, (x, y) in enumerate(points):
            role, fill = ("other", "paper") if i in lost else ("ink", "ink")
            parts += disc(x, y, 8, role, fill, 2.5) + (cross(x, y, 4, "other", 1.5) if i in lost else "")
        return 190, 226, parts + says(95, 216, note, role="other", size=13.5)

    ring = [
        (95 + 56 * math.cos(math.radians(a)), 110 - 56 * math.sin(math.radians(a))) for a in (18, 90, 162, 234, 306)
    ]
    ring = [(round(x, 1), round(y, 1)) for x, y in ring]
    on_line = [(35 + 30 * i, 140 - 15 * i) for i in range(5)]
    hull = [ring[0], ring[1], ring[2], ring[3], ring[4], (81, 118)]
    line = scene("on a line", on_line, {1, 2, 3}, "only the ends can win")
    line = (*line[:2], path("M20 147.5L170 72.5", "line", 2) + line[2])
    return [
        line,
        scene("on a circle", ring, (), "each can win", (54, -18)),
        scene("one inside", hull, {5}, "it never wins"),
    ]


# --- 05: the edit ---


@drawing
def weight_edit() -> list[Panel]:
    """A weight edit as a mixer desk. Each head's component has a slider. Most stand in the middle, as trained; two are
    pushed up, so that they speak louder, and one is pulled down. The desk then stays as it is for every prompt."""
    parts = box(10, 34, 320, 190, "line", "raised", 10, 1.5) + says(
        170, 20, "louder or quieter, for every prompt", size=15, bold=True
    )
    parts += path("M26 118H314", "line", 1.5, dashed=True)
    for i, (level, role) in enumerate(
        ((0, "other"), (40, "message"), (0, "other"), (0, "other"), (-34, "suppressor"), (26, "mover"), (0, "other"))
    ):
        x = 46 + 41.5 * i
        parts += rail(x, 178, 58, "other", 4, 0.35)
        if level:
            parts += path(f"M{x:g} 118V{118 - level}", role, 6, opacity=0.6)
        parts += box(x - 13, 118 - level - 8, 26, 16, role, "paper", 4, 2.5) + path(
            f"M{x - 7:g} {118 - level}H{x + 7:g}", role, 2
        )
        parts += head(x, 202, role, 10)
    return [(340, 232, parts)]


# --- 08: attend first ---


@drawing
def noise_freeze_deaf() -> list[Panel]:
    """Three ways to damage what the last token can read, each as four tokens whose streams rise through the layers.
    Noise: from one layer on, the earlier tokens' streams are random. Freeze: from there on, the last token reads them
    as they were at that layer. Deaf: from there on, the last token reads nothing from them."""

    def strips(title, above, note, arcs):
        parts = says(100, 20, title, size=15.5, bold=True)
        parts += path("M6 112H194", "line", 1.5, dashed=True)
        for i in range(4):
            x, last = 26 + 48 * i, i == 3
            parts += rail(x, 190, 116, "ink", 5, 0.6)
            parts += rail(x, 112, 40, "ink", 5, 0.6) if last else above(x)
            parts += token(x, 210, "END" if last else "·", "ink", size=12)
            if not last and arcs:
                role = "line" if arcs == "off" else "mover"
                parts += path(f"M{x} 72C{x + 20} 88 150 88 166 72", role, 2, dashed=arcs == "off")
        parts += path(
            "M26 150C60 164 140 164 166 150M74 150C100 160 140 160 166 150M122 150C136 156 150 156 166 150", "mover", 2
        )
        parts += head(170, 146, "mover", 8) + (
            head(170, 68, "mover", 8) if arcs != "off" else disc(170, 68, 8, "line", "paper", 2)
        )
        return 200, 262, parts + says(100, 248, note, role="other", size=13.5)

    def noise(x):
        steps = "".join(f"L{x + (7 if i % 2 else -7) * (1 if i % 3 else 0.5):g} {112 - 6 * i}" for i in range(1, 12))
        return path(f"M{x} 112{steps}L{x} 40", "against", 2)

    def frozen(x):
        return rail(x, 112, 40, "other", 5, 0.35) + "".join(
            path(f"M{x - 6} {y}H{x + 6}", "other", 2) for y in (104, 88, 56, 44)
        )

    return [strips("noise", noise, "their notes are ruined", "on"),
            strips("freeze", frozen, "their notes stay as they were", "on"),
            strips("deaf", lambda x: rail(x, 112, 40, "ink", 5, 0.6), "their notes are not read", "off")]  # fmt: skip


# --- 09: switches ---


@drawing
def and_or_switches() -> list[Panel]:
    """Two circuits with two switches and a lamp. And: the switches stand one after the other, and opening either
    puts the lamp out. Or: they stand side by side; opening one changes nothing, so each alone seems not to matter."""

    def switch(x, y, closed):
        blade = f"M{x} {y}H{x + 44}" if closed else f"M{x} {y}L{x + 38} {y - 22}"
        return path(blade, "ink", 4) + disc(x, y, 4.5, "ink", "paper", 2) + disc(x + 44, y, 4.5, "ink", "paper", 2)

    def lamp(x, y, lit):
        role = "ink" if lit else "other"
        glow = path("".join(ray(x, y, a, 23, 31) for a in range(0, 360, 45)), role, 2.5) if lit else ""
        return glow + disc(x, y, 17, role, rim=3) + cross(x, y, 17, role)

    both = says(150, 20, "and", size=16, bold=True) + path("M10 96H38M82 96H126M170 96H223", "ink", 2.5)
    both += switch(38, 96, True) + switch(126, 96, False) + lamp(240, 96, False)
    both += says(150, 178, "one open: the lamp is out", role="other")
    either = says(150, 20, "or", size=16, bold=True) + path(
        "M10 96H50M50 96V66H78M50 96V126H78M122 66H150V126H122M150 96H223", "ink", 2.5
    )
    either += switch(78, 66, False) + switch(78, 126, True) + lamp(240, 96, True)
    either += says(150, 178, "one open: the lamp still burns", role="other")
    return [(300, 190, both), (300, 190, either)]


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.svg"):
        old.unlink()
    for name in DRAWINGS:
        (FOLDER / f"{name}.svg").write_text(written(name), encoding="utf8")


if __name__ == "__main__":
    main()
