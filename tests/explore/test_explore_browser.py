"""The pages in a real browser: what it runs and loads, the keyboard, a phone, both colour schemes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import browser
import pytest
from explore_kit import FIRST, SECOND, row
from nights_kit import publish
from serve_kit import served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHECKS = Path(__file__).with_name("page_checks.js").read_text(encoding="utf-8")
PATHS = [
    "label",
    "night",
    "changes",
    "groups?column=shop",
    "documents",
    "documents?words=nothing",
    "document?id=d010",
    "model",
    "nowhere",
]
ATTACK = "\"'><img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.running() as running:
        yield running


@pytest.fixture(scope="module")
def address(warehouse: Path) -> Iterator[str]:
    browser.require()
    with served(warehouse, "--set", f"registry={warehouse / 'registry'}") as (url, _):
        yield url


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page that fails the test at its end if an error came up, or if it asked for anything of another machine."""
    context = chromium.new_context()
    opened, faults = context.new_page(), list[str]()
    opened.on("pageerror", lambda error: faults.append(f"error: {error}"))
    opened.on("console", lambda line: faults.append(line.text) if "Security Policy" in line.text else None)
    opened.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
    opened.on("request", lambda sent: None if "//127.0.0.1:" in sent.url else faults.append(f"request: {sent.url}"))
    yield opened
    context.close()
    assert faults == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read(page: Page, address: str, path: str, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(address + path)
    assert page.locator("h1").count() == 1
    assert page.evaluate(CHECKS) == []
    is_dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 28)"
    assert is_dark == (scheme == "dark")


@pytest.mark.parametrize("path", PATHS)
def test_every_page_fits_a_phone(page: Page, address: str, path: str) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    page.goto(address + path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_every_table_and_field_has_its_names(page: Page, address: str) -> None:
    for path in PATHS:
        page.goto(address + path)
        assert page.locator("table:not(:has(thead th[scope=col]))").count() == 0
        assert page.locator("tbody tr:not(:has(th[scope=row], td:first-child))").count() == 0
        unnamed = "[...document.querySelectorAll('input:not([type=hidden]), select')].filter(one => !one.labels.length)"
        assert page.evaluate(f"{unnamed}.length") == 0


def test_a_list_is_walked_by_the_keyboard(page: Page, address: str) -> None:
    page.goto(f"{address}documents")
    for key in ("j", "j", "j", "k"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.textContent.trim()") == "d001"
    page.keyboard.press("Enter")
    page.wait_for_url("**/document?**")
    assert page.locator("h1").text_content() == "d001"
    page.go_back()
    page.keyboard.press("/")
    page.keyboard.type("d11")
    page.keyboard.press("Enter")
    page.wait_for_url("**words=d11**")
    assert page.locator("a[data-row]").all_text_contents() == [f"d{number}" for number in range(110, 120)]


def test_the_state_of_a_page_is_its_address(page: Page, address: str) -> None:
    page.goto(f"{address}documents?label=neutral&sort=confidence&words=d0")
    shown = page.locator("a[data-row]").all_text_contents()
    assert page.locator("select[name=label]").input_value() == "neutral"
    assert page.locator("select[name=sort]").input_value() == "confidence"
    page.get_by_role("button", name="Show").click()
    page.wait_for_load_state()
    assert page.locator("a[data-row]").all_text_contents() == shown == [f"d0{number}0" for number in range(9, -1, -1)]


def test_nothing_of_a_hostile_table_runs(page: Page, tmp_path: Path) -> None:
    texts = {"label": ATTACK, "stage": ATTACK, "shop": ATTACK, "scored_by": ATTACK}
    rows = [row(number, document_id=f"{ATTACK}{number}", probabilities=[(ATTACK, 1.0)], **texts) for number in range(3)]
    publish(tmp_path, FIRST, [row(number) for number in range(3)])
    publish(tmp_path, SECOND, rows, rejected=(ATTACK,))
    with served(tmp_path) as (url, _):
        for path in ("night", "groups", "documents", "documents?column=shop"):
            page.goto(url + path)
            assert "run" not in page.title().split()
        page.locator("a[data-row]").first.click()
        page.wait_for_url("**/document?**")
        assert page.locator("h1").text_content() == f"{ATTACK}0"
        assert page.locator("img, main script").count() == 0


def test_no_other_page_may_frame_these(chromium: Browser, address: str) -> None:
    context = chromium.new_context()
    other = context.new_page()
    other.goto(f"data:text/html,<iframe src='{address}night'></iframe>")
    (frame,) = other.frames[1:]
    assert frame.url.startswith("chrome-error:")
    assert "Night of" not in frame.content()
    context.close()
