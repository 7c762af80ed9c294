"""Find a browser for the tests: Chromium of the system, which Playwright drives."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
REQUIRED = bool(os.environ.get("TLNLP_REQUIRE_BROWSER"))
# Chromium refuses its sandbox to root, as which containers run tests; the pages are our own, on a loopback address.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


def program() -> str | None:
    """Return the path of the browser; None if the machine has none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


def require() -> str:
    """Return the path of the browser; without one, skip the test, or fail it if TLNLP_REQUIRE_BROWSER is set."""
    if (found := program()) is not None:
        return found
    message = "no Chromium on this machine: install it (apt-get install chromium), or run `make tools` as root"
    if REQUIRED:
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def running() -> Iterator[Browser]:
    """Run the browser; it looks up no names and fetches nothing by itself."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require(), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()
