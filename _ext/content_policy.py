"""Every page tells the browser to load nothing from outside the book, whatever a figure or a library tries.

Scripts and styles may stand in the page itself, because live figures do; images may be data, because figures are.
"""

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


def add_policy(app, pagename, templatename, context, doctree) -> None:
    rules = "; ".join(f"{name} {sources}" for name, sources in POLICY.items())
    context["metatags"] = f'<meta http-equiv="Content-Security-Policy" content="{rules}">' + context.get("metatags", "")


def setup(app) -> dict:
    app.connect("html-page-context", add_policy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
