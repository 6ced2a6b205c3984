"""A headless Chromium for the tests that need a browser, skipped only where none is installed (and never in CI)."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import browser  # noqa: E402
from browser import served  # noqa: E402

__all__ = ["headless", "served"]


@contextmanager
def headless():
    try:
        with browser.headless() as tab:
            yield tab
    except browser.NoBrowser as missing:
        pytest.fail(str(missing)) if os.environ.get("CI") else pytest.skip(str(missing))
