"""A headless Chromium for the tests that need a browser; where none is installed they are skipped, in CI they fail."""

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
    if os.environ.get("TH_BROWSER") == "no":  # set by `make check`
        pytest.skip("make check opens no browser")
    try:
        with browser.headless() as tab:
            yield tab
    except browser.NoBrowser as missing:
        pytest.fail(str(missing)) if os.environ.get("CI") else pytest.skip(str(missing))
