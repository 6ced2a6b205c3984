"""The book needs no network: MathJax and circuitsvis lie beside the pages, and a policy forbids everything outside.

The policy holds whatever a figure or a library tries. Scripts and styles may stand in the page itself, because live
figures do; images may be data, because figures are.
"""

import shutil
from importlib import import_module
from importlib.resources import files
from pathlib import Path

POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "font-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}


def copy_scripts(app, config) -> None:
    """Copy from the wheels that ship them into the folder that Sphinx copies beside the pages."""
    static = Path(app.confdir, config.html_extra_path[0], "_static")
    source, target = Path(str(files("mathjax"))) / "static" / "mathjax", static / "mathjax"
    if not (target / "startup.js").is_file():
        shutil.rmtree(target, ignore_errors=True)
        for part in ("output/chtml/fonts", "input/tex/extensions"):
            shutil.copytree(source / "es5" / part, target / part)
        shutil.copy(source / "LICENSE", target)
        for name in ("core", "input/tex-base", "input/tex", "output/chtml", "a11y/assistive-mml", "startup"):
            script = target / f"{name}.js"
            script.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / "es5" / f"{name}.js", script)  # the last marks the copy as complete
    viewer = import_module("th_utils.views.live.attention_viewer")  # one script for all its figures
    (static.parent / viewer.IN_BOOK).write_text(viewer.bundle(), encoding="utf8")


def add_policy(app, pagename, templatename, context, doctree) -> None:
    rules = "; ".join(f"{name} {sources}" for name, sources in POLICY.items())
    context["metatags"] = f'<meta http-equiv="Content-Security-Policy" content="{rules}">' + context.get("metatags", "")


def setup(app) -> dict:
    app.connect("config-inited", copy_scripts, priority=100)  # before Sphinx looks whether the folder is there
    app.connect("html-page-context", add_policy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
