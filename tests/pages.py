"""Figures on a page in a headless Chromium: skipped only where none is installed, and never in CI."""

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import browser  # noqa: E402
from browser import served  # noqa: E402

__all__ = ["EVIL", "data", "headless", "html", "opened", "press", "served", "settle"]
EVIL = "</script ><script>window.harm = 1</script><!--<script <b>&amp;"


@contextmanager
def headless():
    """A browser, which playwright drives."""
    try:
        with browser.headless() as chromium:
            yield chromium
    except browser.NoBrowser as missing:
        pytest.fail(str(missing)) if os.environ.get("CI") else pytest.skip(str(missing))


@contextmanager
def opened(chromium, *views, width: int = 700, dark: bool = False, **options):
    """A page of figures with the network cut; fails on leaving if anything was fetched, logged or raised."""
    trouble: list[str] = []
    context = chromium.new_context(viewport={"width": width, "height": 800}, **options)
    context.route("**/*", lambda route: (trouble.append(route.request.url), route.abort()))
    tab = context.new_page()
    tab.on("console", lambda entry: trouble.append(f"console: {entry.text}"))
    tab.on("pageerror", lambda error: trouble.append(f"script: {error}"))
    style = "background: #121212; color: #ddd" if dark else ""
    body = f'<body style="{style}">{"".join(map(html, views))}</body>'
    tab.set_content(f'<!doctype html><html lang="en"><meta charset="utf8">{body}</html>')
    yield tab
    context.close()
    assert not trouble, trouble


def html(view) -> str:
    return view._repr_mimebundle_()["text/html"]


def data(view) -> dict:
    """What a live figure ships to its page."""
    return json.loads(BeautifulSoup(html(view), "html.parser").find("script", type="application/json").string)


def settle(tab) -> None:
    """Wait for the drawing, which waits for the next frame."""
    tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def press(control, *keys: str) -> None:
    """Press keys on a control and wait for the drawing."""
    for key in keys:
        control.press(key)
    settle(control.page)
