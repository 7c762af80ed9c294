"""What the page of a night shows."""

from __future__ import annotations

import json
from pathlib import Path

from explore_kit import FIRST, ROWS, SECOND, THIRD, pages, row
from nights_kit import publish


def test_the_newest_night_is_shown_against_the_one_before(warehouse: Path) -> None:
    page = pages(warehouse).get("/night").text
    assert f"<h1>Night of {THIRD}</h1>" in page
    assert f"{ROWS} documents have a row" in page
    # 80 of 120 are positive, and every tenth row is neutral instead: 8 of them were positive, 4 negative.
    assert "60.0%" in page
    assert "-6.7" in page
    assert "+10.0" in page
    assert "conflicting_id" in page


def test_an_earlier_night_has_an_address(warehouse: Path) -> None:
    page = pages(warehouse).get(f"/night?date={FIRST}").text
    assert f"<h1>Night of {FIRST}</h1>" in page
    assert f'<a rel="next" href="/night?date={SECOND}">' in page
    assert 'rel="prev"' not in page


def test_a_night_that_is_published_again_is_counted_again(tmp_path: Path) -> None:
    publish(tmp_path, FIRST, [row(number) for number in range(30)])
    client = pages(tmp_path)
    assert "30 documents have a row" in client.get("/night").text
    publish(tmp_path, FIRST, [row(number) for number in range(45)], run_id="again")
    assert "45 documents have a row" in client.get("/night").text


def test_what_is_not_there_is_said_with_the_next_step(warehouse: Path, tmp_path: Path) -> None:
    for answer, words in (
        (pages(tmp_path / "none").get("/night"), "there is no such folder"),
        (pages(warehouse, table="tickets").get("/night"), "there is no table tickets (it has scores)"),
        (pages(warehouse).get("/night?date=2020-01-01"), "no night of 2020-01-01 was published"),
    ):
        assert answer.status_code == 404
        assert words in answer.text
    answer = pages(warehouse).get("/night?date=yesterday")
    assert answer.status_code == 400
    assert "date=2026-01-31" in answer.text


def test_changed_labels_are_counted_from_which_to_which(warehouse: Path) -> None:
    client = pages(warehouse)
    page = client.get("/changes").text
    # Every tenth document became neutral: 12 of them, of which every third was negative.
    assert "12 of them (10.0%) have another label now. 0 are new, 0 are gone" in page
    assert '<th scope="row">positive</th><td>neutral</td><td class="number">8</td>' in page
    assert '<th scope="row">negative</th><td>neutral</td><td class="number">4</td>' in page
    assert f'href="/document?date={THIRD}&amp;id=d110"' in page  # The surest of the positive ones.
    assert "No document has another label" in client.get(f"/changes?date={SECOND}").text
    assert "nothing to compare it with" in client.get(f"/changes?date={FIRST}").text


def test_new_and_gone_documents_are_counted(tmp_path: Path) -> None:
    publish(tmp_path, FIRST, [row(number) for number in range(30)])
    publish(tmp_path, SECOND, [row(number) for number in range(10, 45)])
    assert "20 documents are in this night" in (page := pages(tmp_path).get("/changes").text)
    assert "15 are new, 10 are gone" in page


def drift(*changes: dict[str, object]) -> dict[str, object]:
    known = {"run_id": "night", "started_at": "", "status": "done"}
    return known | {"results": {"drift": {"reference": str(FIRST), "changes": list(changes)}}}


def test_a_night_whose_documents_have_changed_says_so(tmp_path: Path) -> None:
    publish(tmp_path, SECOND, [row(number) for number in range(30)], run_id="night")
    ledger = tmp_path / "ledgers" / "night.json"
    ledger.parent.mkdir(exist_ok=True)
    same = {"statistic": "label", "change": 0.01, "p_value": 0.5, "has_changed": False}
    other = {"statistic": "unknown_words", "change": 0.2, "p_value": 1e-9, "has_changed": True}
    ledger.write_text(json.dumps(drift(same, other)))
    page = pages(tmp_path).get("/night").text
    assert f"Against the night of {FIRST}" in page
    assert f"are not those of {FIRST} any more" in page
    assert "words that the model has never seen" in page
    assert page.count("<b>changed</b>") == 1
    ledger.write_text(json.dumps(drift(same)))
    page = pages(tmp_path).get("/night").text
    assert "Nothing has changed that is both certain and large." in page
    # A ledger that is damaged, or of an older tlnlp, says nothing.
    for content in (
        "{",
        "[]",
        json.dumps(drift() | {"results": 3}),
        json.dumps(drift({"statistic": "<script>", "change": 1})),
    ):
        ledger.write_text(content)
        answer = pages(tmp_path).get("/night")
        assert answer.status_code == 200
        assert "Against the night of" not in answer.text
