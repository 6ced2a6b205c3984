"""The look of the pages, made when they are written: claim cards, head chips, code buttons, pictures as files.

The notebooks know nothing of it: a claim is a printed line, a head is "20.0" in a sentence, and other readers see them
so. Heads are told from decimals by where they stand (see `chipped`), never by their digits alone.
"""

import base64
import hashlib
import html
import io
import json
import re
from pathlib import Path

import matplotlib
from docutils import nodes
from fontTools import subset
from fontTools.ttLib import TTFont
from ledger import touched
from matplotlib.figure import Figure
from myst_nb.sphinx_ import HideCodeCellNode
from PIL import Image
from wayfinding import definitions

from th_utils.models import registry
from th_utils.views import palette
from th_utils.views.diagrams import JOBS  # role -> its colour, as in the maps, and a letter

# --- what the theme brings too much of: 544 KB of icons as a script, 274 KB as fonts ---

ICONS = (
    "angle-left angle-right arrow-up bars chevron-down circle-half-stroke download expand file file-pdf lightbulb list"
    " magnifying-glass moon outdent rocket sun"
).split()
THEME_ICON = re.compile(r'--pst-icon-[a-z-]+:"(.)"')
FACES = {"fa-solid-900": ("Free", 900), "fa-brands-400": ("Brands", 400)}


def write_icons(theme: Path) -> str:
    """The theme's icon fonts again, cut to what the pages show: its own rules find these under the same name."""
    sheet = (theme / "styles" / "pydata-sphinx-theme.css").read_text(encoding="utf8")
    named = (re.search(rf'\.fa-{name}[:,][^{{}}]*{{content:"\\([0-9a-f]+)"', sheet)[1] for name in ICONS)
    used = {*map(ord, THEME_ICON.findall(sheet)), *(int(code, 16) for code in named)}
    rules = []
    for name, (family, weight) in FACES.items():
        font, buffer = TTFont(theme / "vendor" / "fontawesome" / "webfonts" / f"{name}.ttf"), io.BytesIO()
        cut = subset.Subsetter()
        cut.populate(unicodes=used)
        cut.subset(font)
        font.flavor = "woff"
        font.save(buffer)
        data = base64.b64encode(buffer.getvalue()).decode()
        rules.append(
            f'@font-face{{font-family:"Font Awesome 6 {family}";font-weight:{weight};'
            f"src:url(data:font/woff;base64,{data})}}\n"
        )
    return "".join(rules)


def write_card(path: Path) -> None:
    """The picture that a link to the book shows elsewhere: two heads and what one tells the other."""
    colour = {role: pair[0] for role, pair in palette.ROLES.items()}
    with matplotlib.rc_context(palette.STYLE):
        figure = Figure(figsize=(12, 6.3), facecolor=colour["paper"])
        axis = figure.add_axes((0, 0, 1, 1), xlim=(0, 12), ylim=(0, 6.3), aspect="equal")
        axis.axis("off")
        axis.plot([3, 9], [4, 4], color=colour["message"], linewidth=14, zorder=1)
        for x, role in ((2.6, "message"), (9.4, "mover")):
            axis.add_patch(matplotlib.patches.Circle((x, 4), 1, facecolor="white", zorder=2))
            axis.add_patch(matplotlib.patches.Wedge((x, 4), 1, 0, 180, color=colour[role], zorder=3))
            axis.add_patch(matplotlib.patches.Circle((x, 4), 1, fill=False, edgecolor=colour[role], lw=9, zorder=4))
        axis.add_patch(matplotlib.patches.Circle((6, 4), 0.8, color=colour["message"], zorder=2))
        axis.plot([6, 6.35], [4, 4.55], color="white", linewidth=9, solid_capstyle="round", zorder=3)
        axis.text(6, 1.75, "Talking Heads", size=54, weight="bold", color=colour["ink"], ha="center")
        axis.text(6, 0.95, "what attention heads tell each other", size=26, color=colour["other"], ha="center")
        figure.savefig(path, dpi=100)


def write_static(app, config) -> None:
    static = Path(app.confdir, config.html_extra_path[0], "_static")
    static.mkdir(parents=True, exist_ok=True)
    (static / "palette.css").write_text(palette.css(), encoding="utf8")
    import pydata_sphinx_theme

    theme = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
    (static / "icons.css").write_text(write_icons(theme), encoding="utf8")
    write_card(static / "card.png")


# --- head chips ---

ID = r"(?<![\w.,\[\-−+×])(?:[12]?\d)\.[0-8](?:\.[1-6]?\d)?(?![\w.]*\d|[%\]]|\s*(?:points|nats?|bits|times|\[))"
LIST = rf"{ID}(?:(?:,| and|, and| or| →| alone,)[ \n]{ID})*"
# The words after which an id stands, and after no number does.
NOUN = (
    r"(?:[Hh]eads?|[Cc]omponents?|[Dd]ials?|movers?|suppressors?|inhibitors?|writers?|senders?|readers?|induction"
    r"|(?:quer(?:y|ies)|outputs?|keys?|values?|components?|edges?|contrast) of|[Tt]urning|[Ww]hat|[Ii]nto"
    r"|copier|speaker)"
)
NAMED = re.compile(rf"\b{NOUN}(?: heads?| are| is|:)? ({LIST})|({LIST})(?= → {ID})|(?<=→ )({LIST})")
WHOLE = re.compile(r"(?<![\w.,\-−+×])(?:[12]?\d)\.[0-8]\.[1-6]?\d(?![\w.]*\d|%)")  # no decimal has two points
COLUMN = re.compile(rf"\b(?:{NOUN}|[Mm]overs|[Ee]dges?|[Ww]riters?|[Ww]ho|[Ss]peakers?|[Rr]ole)\b")
DECIMAL = re.compile(r"(?<![\w.])\d+\.\d+(?:\.\d+)*")
ONE = re.compile(ID)
SEVERAL = re.compile(rf"(?<!layer )(?<!layers )(?<!between )(?<!from )({ID}(?:(?:,| and|, and)[ \n]{ID})+)")


def is_head(token: str) -> bool:
    layer, head, *part = map(int, token.split("."))
    return layer < 30 and head < 9 and all(k < 64 for k in part)


def roles_on(app, page: str) -> dict[str, str] | None:
    """Head -> role in the default model, on the pages that are about it; None where heads are those of other models."""
    return None if Path(page).name == "12_mystery_models" else app.th_roles


def places(text: str, roles: dict[str, str] | None, column: bool = False) -> list[tuple[int, int]]:
    """Where ids of heads and components stand in a text that a cell printed.

    A token like "20.0" is one after a word such as *head* (a list goes on), beside an arrow, in a list of nothing but
    heads of the circuit, in a column of the table that holds nothing else under such a word (`column`), or with three
    parts.
    """
    if roles is None:
        return []
    known = {head for head, role in roles.items() if JOBS[role][0] != "noticer" or role == "induction"}
    spans = [match.span(i) for match in NAMED.finditer(text) for i in (1, 2, 3) if match[i]]
    spans += [match.span() for match in SEVERAL.finditer(text) if known.issuperset(ONE.findall(match[0]))]
    found = {match.span() for match in WHOLE.finditer(text)}
    whole = [(0, len(text))] if column else spans
    found |= {match.span() for match in ONE.finditer(text) if any(a <= match.start() < b for a, b in whole)}
    return sorted(span for span in found if is_head(text[slice(*span)]))


def chip(token: str, roles: dict[str, str]) -> nodes.inline:
    role = roles.get(".".join(token.split(".")[:2]))
    return nodes.inline("", token, classes=["th-head", f"th-is-{JOBS[role][0] if role else 'other'}"])


def in_chips(text: str, roles: dict[str, str], column: bool = False) -> list[nodes.Node]:
    parts, done = [], 0
    for start, end in places(text, roles, column):
        parts += [nodes.Text(text[done:start]), chip(text[start:end], roles)]
        done = end
    return [*parts, nodes.Text(text[done:])]


def columns_of_heads(table: nodes.table) -> set[int]:
    """Ids of the entries of the columns that hold heads and nothing else that looks like a number."""
    found = set()
    rows = [list(row.findall(nodes.entry)) for row in table.findall(nodes.row)]
    for head, *column in zip(*rows, strict=False):
        tokens = [token for entry in column for token in DECIMAL.findall(entry.astext())]
        heads = [token for token in tokens if ONE.fullmatch(token) and is_head(token)]
        if tokens == heads and COLUMN.search(head.astext()):
            found |= set(map(id, column))
    return found


# --- numbers ---

MINUS = re.compile(r"(?<![\w.\-])-(?=\d)")
INTERVAL = re.compile(r"(\d%?) \[([+−]?[\d.,]+%?), ([+−]?[\d.,]+%?)\]")


def set_numbers(text: str) -> str:
    """True minus signs, and no line break inside `x [low, high]`."""
    return INTERVAL.sub("\\1\u00a0[\\2,\u00a0\\3]", MINUS.sub("−", text))


# --- claim cards ---

CLAIM = re.compile(r"^(?P<mark>✓|– not on this model:) (?P<text>.*?)(?: \((?P<value>[^()]*)\))?$", re.MULTILINE)
ESTIMATE = re.compile(r"(?<![\w.])([+−]?\d+(?:\.\d+)?)\s\[([+−]?\d+(?:\.\d+)?),\s([+−]?\d+(?:\.\d+)?)\]")


def whisker(value: str) -> str:
    """The first intervals of a value, drawn on one scale that holds zero, which a tick marks."""
    rows = [tuple(float(x.replace("−", "-")) for x in one) for one in ESTIMATE.findall(value)][:3]
    if not rows:
        return ""
    low, high = min(0, *(row[1] for row in rows)), max(0, *(row[2] for row in rows))
    scale = 124 / (high - low or 1)
    place = [[round(8 + (x - low) * scale, 1) for x in row] for row in rows]
    zero, height = round(8 - low * scale, 1), 14 * len(rows)
    below = height + 9
    marks = "".join(
        f'<path class="th-range" d="M{a} {y}H{b}M{a} {y - 4}v8M{b} {y - 4}v8"/><circle cx="{x}" cy="{y}" r="3.2"/>'
        for (x, a, b), y in zip(place, range(7, height, 14), strict=True)
    )
    return (
        f'<svg class="th-whisker" viewBox="0 0 140 {below}" width="140" height="{below}" aria-hidden="true">'
        f'<path class="th-zero" d="M{zero} 0V{height}"/>{marks}'
        f'<ellipse cx="{zero}" cy="{height + 5}" rx="2" ry="3"/></svg>'  # a nought, which no text repeats
    )


def raw(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


def card(match: re.Match, roles: dict[str, str], fresh: dict[str, dict], to_root: str) -> nodes.container:
    """A claim as a card; its first line, read in one go, is the line that was printed."""
    held, value = match["mark"] == "✓", set_numbers(match["value"] or "")
    line = nodes.paragraph("", "", raw(f'<span class="th-mark">{match["mark"]}</span> '))
    line += nodes.inline("", "", *in_chips(match["text"], roles), classes=["th-said"])
    if value:
        line += raw(' <span class="th-value"><span class="th-paren">(</span>')
        line.extend(in_chips(value, roles))
        line += raw(f'<span class="th-paren">)</span>{whisker(value)}</span>')
    said = nodes.container("", line, classes=["th-claim", "th-held" if held else "th-elsewhere"])
    tried = fresh.get(match["text"]) if held else None
    if tried and touched(tried):
        outcome = "held" if tried["holds"] else "failed"
        text = html.escape(set_numbers(f"{outcome} on fresh words{tried['value'] and ': '}{tried['value']}"))
        link = raw(f'<a class="th-{outcome}" href="{to_root}book/ledger.html">{text}</a>')
        said += nodes.paragraph("", "", link, classes=["th-fresh"])
    return said


def cards(block: nodes.literal_block, *given) -> list[nodes.Node]:
    """The lines of a printed block, claims among them as cards."""
    parts, plain = [], []

    def end_plain():
        if any(line.strip() for line in plain):
            rest = block.copy()
            rest.rawsource = "\n".join(plain)
            rest += nodes.Text(rest.rawsource)
            parts.append(rest)
        plain.clear()

    for line in block.astext().splitlines():
        if match := CLAIM.match(line):
            end_plain()
            parts.append(card(match, *given))
        else:
            plain.append(line)
    end_plain()
    return parts


# --- code buttons ---

TITLE = re.compile(r"# @title (.*)\n(?:# @title .*\n|\n)*")
OF_THIS = {"Figure": "figure", "Table": "table", "Reading": "sentence", "Claim": "claim"}


def name_fold(fold: HideCodeCellNode, cell: nodes.container) -> None:
    """A button says what it holds: the line that titles the cell in Colab, which then leaves the code."""
    code = next(fold.findall(nodes.literal_block), None)
    found = TITLE.match(code.astext()) if code is not None else None
    title = found[1] if found else "Code"
    if found:
        code.rawsource = code.astext()[found.end() :]
        code[:] = [nodes.Text(code.rawsource)]
    title = f"Code of this {OF_THIS[title]}" if title in OF_THIS else title
    kind = "solution" if "tag_solution" in cell["classes"] else "code"
    if title.startswith("Set-up"):
        title, kind = title.split(",")[0], "setup"
    fold["prompt_show"] = title
    fold["classes"].append(f"th-{kind}")


def visit_fold(self, node) -> None:
    self.body.append(f'<details class="hide th-fold {" ".join(node["classes"])}">\n<summary>')
    self.body.append(f"<span>{html.escape(node['prompt_show'])}</span></summary>\n")


def depart_fold(self, node) -> None:
    self.body.append("</details>\n")


# --- pictures ---

PICTURE = re.compile(r'<img width="(\d+)" style="[^"]*" (alt="[^"]*") src="data:image/png;base64,([^"]+)">')
STILL = re.compile(r'<img [^>]*src="data:image/svg[^"]*"/><style>[^<]*</style>')  # of a drawing, where SVG is taken out


def keep_pictures(text: str, folder: Path, to_root: str) -> str:
    """Pictures of a figure as files, which load when they come near and keep their place until then; drawings once."""

    def kept(match: re.Match) -> str:
        data = base64.b64decode(match[3])
        name = f"figure-{hashlib.sha256(data).hexdigest()[:20]}.png"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / name).is_file():
            (folder / name).write_bytes(data)
        width, height = Image.open(io.BytesIO(data)).size
        shown = int(match[1])  # of the page's pixels: the file has more
        size = f'width="{shown}" height="{round(shown * height / width)}" loading="lazy" decoding="async"'
        return f'<img class="th-picture" {match[2]} {size} src="{to_root}_images/{name}">'

    return PICTURE.sub(kept, STILL.sub("", text))


# --- "Predict first" ---

ASK = "Predict first."


def cover_answers(doctree) -> None:
    """Where a question offers choices, a list right behind it, what follows it waits for a guess (predict.js)."""
    for asked in list(doctree.findall(nodes.paragraph)):
        choices = asked.next_node(descend=False, siblings=True)
        if not asked.astext().startswith(ASK) or not isinstance(choices, nodes.bullet_list):
            continue
        block, at = asked.parent, asked.parent.index(choices)
        after = []
        for node in block[at + 1 :]:
            if "cell" not in node.get("classes", ()):
                break
            after.append(node)
        box = nodes.container("", asked.deepcopy(), choices.deepcopy(), classes=["th-predict"])
        covered = nodes.container("", *(node.deepcopy() for node in after), classes=["th-covered"])
        block[at - 1 : at + 1 + len(after)] = [box, covered]


# --- every page ---

KEPT = "lab.json", "ledger.json"
SHORT = 18  # characters of a table's entry that stay on one line, such as "20.0 → 23.0"


def look_over(app, doctree, docname) -> None:
    roles, to_root = roles_on(app, docname), "../" * docname.count("/")
    fresh = {one["text"]: one for one in app.th_fresh.get(Path(docname).name, {}).get("claims", ())}
    for cell in doctree.findall(nodes.container):
        for fold in cell.children:
            if isinstance(fold, HideCodeCellNode):
                name_fold(fold, cell)
    for node in doctree.findall(nodes.raw):
        if "data:image/" in node.astext():
            node[:] = [nodes.Text(keep_pictures(node.astext(), Path(app.outdir, "_images"), to_root))]
    outputs = [one for one in doctree.findall(nodes.container) if one.get("nb_element") == "cell_code_output"]
    outputs += doctree.findall(lambda node: "pasted-text" in getattr(node, "attributes", {}).get("classes", ()))
    for output in outputs:
        for block in list(output.findall(nodes.literal_block)):
            if "stream" in block["classes"] and any(map(CLAIM.match, block.astext().splitlines())):
                block.parent.replace(block, cards(block, roles, fresh, to_root))
        for entry in output.findall(nodes.entry):
            if len(entry.astext()) <= SHORT:
                entry["classes"].append("th-short")
        in_column = set().union(*map(columns_of_heads, output.findall(nodes.table)))
        for text in list(output.findall(nodes.Text)):
            above, node = [], text
            while node := node.parent:
                above.append(node)
            apart = (nodes.raw, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.reference)
            if any(isinstance(one, apart) or "th-claim" in one.get("classes", ()) for one in above):
                continue
            column = not in_column.isdisjoint(map(id, above))
            text.parent.replace(text, in_chips(set_numbers(text.astext()), roles, column))
    cover_answers(doctree)


def describe(app, pagename, templatename, context, doctree) -> None:
    """What a link to the page shows elsewhere: its question, or else its first paragraph."""
    if doctree is None:
        return
    texts = [" ".join(one.astext().split()) for one in doctree.findall(nodes.paragraph)]
    asked = (text.removeprefix("Question. ") for text in texts if text.startswith("Question. "))
    said = next(asked, next((text for text in texts if len(text) > 40), app.config.project))
    short = said if len(said) <= 200 else said[:199].rsplit(" ", 1)[0] + " …"
    root = app.config.html_baseurl or "../" * pagename.count("/")
    tags = {"og:title": context.get("title", ""), "og:description": short, "og:type": "article"}
    tags |= {"og:site_name": app.config.project, "og:image": f"{root}_static/card.png"}
    plain = re.sub(r"<[^>]+>", "", tags["og:title"])
    tags["og:title"] = html.unescape(plain)
    lines = [f'<meta property="{name}" content="{html.escape(value)}">' for name, value in tags.items()]
    lines += [f'<meta name="description" content="{html.escape(short)}">']
    lines += ['<meta name="twitter:card" content="summary_large_image">']
    context["metatags"] = context.get("metatags", "") + "".join(lines)


def job(env, role: str) -> tuple[str, str]:
    """The entry of the glossary for a role: its id and what it says."""
    terms = definitions(env)
    return terms.get(role) or terms[f"{role} head"] if terms else ("", "")


def finish(app, error) -> None:
    """What chips say, with the pages that have them; and nothing in place of the icons' script and fonts."""
    if error or app.builder.name != "html":
        return
    out, pages = Path(app.outdir), {}
    for page in app.env.found_docs:
        text = (out / f"{page}.html").read_text(encoding="utf8") if (out / f"{page}.html").is_file() else ""
        for token in set(re.findall(r'class="th-head [^"]*">([\d.]+)<', text)):
            pages.setdefault(token, []).append(page)
    titles = {page: title.astext() for page, title in app.env.titles.items() if page.startswith("notebooks/")}
    said = {}
    for token, found in pages.items():
        role = app.th_roles.get(".".join(token.split(".")[:2]), "")
        chapters = sorted(page for page in found if re.match(r"notebooks/(deeper/)?\d", page))
        main = [page for page in chapters if "deeper" not in page]
        said[token] = [role, job(app.env, role)[1] if role else "", main or chapters]
    data = json.dumps({"titles": titles, "heads": said}, ensure_ascii=False, separators=(",", ":"))
    (out / "_static" / "heads.js").write_text(f"window.thHeads={data};\n", encoding="utf8")
    (out / "_static" / "scripts" / "fontawesome.js").write_text("// icons.css has what the pages show\n")


def read_kept(app) -> None:
    """Roles are those that `tools/lab.py` measured on the default model: on another one no head has any."""
    lab, ledger = (json.loads(Path(app.srcdir, "book", name).read_text(encoding="utf8")) for name in KEPT)
    known = registry.find_card().name == registry.DEFAULT
    app.th_roles, app.th_fresh = lab["roles"] if known else {}, ledger["fresh"]


def setup(app) -> dict:
    app.add_node(HideCodeCellNode, override=True, html=(visit_fold, depart_fold))
    app.connect("config-inited", write_static, priority=100)  # before Sphinx looks whether the folder is there
    app.connect("builder-inited", read_kept)
    app.connect("doctree-resolved", look_over, priority=900)  # after glossary terms have their links
    app.connect("html-page-context", describe)
    app.connect("build-finished", finish)
    app.add_css_file("palette.css", priority=400)  # before the book's own, which uses it
    app.add_css_file("icons.css", priority=400)
    app.add_js_file("heads.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
