"""The labelling page in a real browser: by the keyboard alone, and two people at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import browser
import kit
import pytest
from labelling_kit import scored_night
from serve_kit import served

from tlnlp.labelling.answers import Answers
from tlnlp.labelling.build_queue import build_queue

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHECKS = Path(__file__).with_name("page_checks.js").read_text(encoding="utf-8")


@pytest.fixture
def address(tmp_path: Path, tiny_bundle: Path) -> Iterator[str]:
    """The pages of a night with a queue of 10 documents."""
    browser.require()
    build_queue(scored_night(tmp_path, tiny_bundle, kit.texts(40)))
    places = [f"{name}={tmp_path / name}" for name in ("registry", "labels", "queue")]
    with served(tmp_path / "warehouse", *[part for place in places for part in ("--set", place)]) as (url, _):
        yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.running() as running:
        yield running


def answers(tmp_path: Path) -> list[tuple[str, str]]:
    """Return person and label of each answer."""
    found = Answers(str(tmp_path / "labels"), "text", "label").read()
    return [(one.labelled_by, one.label) for one in found]


def start(chromium: Browser, address: str, name: str) -> Page:
    """Open the page, and type a name."""
    page = chromium.new_context().new_page()
    page.goto(f"{address}label")
    page.keyboard.press("Tab")
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")
    page.wait_for_url("**/label?who=*")
    return page


def press(page: Page, key: str) -> None:
    """Press a key, and wait for the page that follows."""
    with page.expect_navigation():
        page.keyboard.press(key)


def test_ten_documents_are_labelled_by_the_keyboard(chromium: Browser, address: str, tmp_path: Path) -> None:
    page = start(chromium, address, "ada")
    assert page.evaluate(CHECKS) == []
    seen = []
    for number in range(10):
        seen.append(page.locator("h2").first.text_content())
        press(page, "12"[number % 2])
    assert len(set(seen)) == 10
    assert "Nothing is left for you." in (page.text_content("main") or "")
    assert answers(tmp_path) == [("ada", ("negative", "positive")[number % 2]) for number in range(10)]
    press(page, "u")
    assert page.locator("h2").first.text_content() == seen[9]
    assert len(answers(tmp_path)) == 9
    press(page, "s")
    assert "you skipped 1" in (page.text_content("main") or "")
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_two_people_label_at_once(chromium: Browser, address: str, tmp_path: Path) -> None:
    ada, grace = start(chromium, address, "ada"), start(chromium, address, "grace")
    for _ in range(5):
        documents = [page.locator("h2").first.text_content() for page in (ada, grace)]
        assert documents[0] != documents[1]
        press(ada, "1")
        press(grace, "2")
    assert sorted(answers(tmp_path)) == [("ada", "negative")] * 5 + [("grace", "positive")] * 5
    assert "10 of 10 documents" in (grace.text_content("main") or "")
