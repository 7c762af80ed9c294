"""The page of a document: its probabilities, its history, and its text from where the night has read it."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from explore_kit import FIRST, SECOND, THIRD, pages, row
from nights_kit import publish

from tlnlp.data.text import text_sha256
from tlnlp.runs.ledger import Ledger
from tlnlp.warehouse.run_folder import all_ledgers
from tlnlp.warehouse.schema import Column

TEXT = "Warm bread & <b>kind</b> people."


def scored(folder: Path, text: str | None = TEXT, **config: Any) -> Path:
    """Publish a night of documents that lie in a file, with the ledger of its run; return the warehouse."""
    documents = folder / "documents.jsonl"
    if text is not None:
        documents.write_text(json.dumps({"nr": "d000", "body": text}) + "\n")
    rows = [row(number, text_sha256=text_sha256(TEXT)) for number in range(3)]
    run_id = publish(folder / "warehouse", FIRST, rows, source=f"file://{documents}")
    settings = {"documents": f"file://{documents}", "id_column": "nr", "text_column": "body", "format": "auto"}
    ledger = Ledger("score", run_id, settings | {"encoding": "utf-8", "csv": {"delimiter": ","}} | config)
    ledger.save(all_ledgers(str(folder / "warehouse")), f"{run_id}.json")
    return folder / "warehouse"


def document(warehouse: Path, name: str = "d000", **settings: Any) -> str:
    """Return the page of a document, with its entities resolved."""
    return unescape(pages(warehouse, **settings).get(f"/document?id={name}").text)


def test_the_row_and_its_history_are_shown(warehouse: Path) -> None:
    page = pages(warehouse).get(f"/document?date={THIRD}&id=d010").text
    assert "neutral" in page
    for day in (FIRST, SECOND, THIRD):
        assert f'href="/document?date={day}&amp;id=d010"' in page
    assert "0.540" in page
    assert "onnx-fp32@0123456789abcdef" in page


def test_the_text_is_read_where_the_ledger_says(tmp_path: Path) -> None:
    page = pages(scored(tmp_path)).get("/document?id=d000").text
    assert "Warm bread &amp; &lt;b&gt;kind&lt;/b&gt; people." in page
    assert "<b>kind" not in page


def test_the_text_is_read_where_the_settings_say(tmp_path: Path) -> None:
    warehouse = scored(tmp_path)
    moved = tmp_path / "moved.jsonl"
    (tmp_path / "documents.jsonl").rename(moved)
    assert "The documents cannot be read now" in document(warehouse)
    assert TEXT in document(warehouse, documents=str(moved))


@pytest.mark.parametrize(
    ("text", "config", "words"),
    [
        (None, {}, "cannot be read now"),
        ("Cold soup.", {}, "another text under this id"),
        (TEXT, {"id_column": "id"}, "has no column 'id'"),
        (TEXT, {"csv": {"delimiter": ",", "nonsense": 1}}, "states no valid format"),
        (TEXT, {"documents": "nowhere://x"}, "unknown scheme"),
    ],
)
def test_a_text_that_cannot_be_read_has_a_reason(
    tmp_path: Path, text: str | None, config: dict[str, Any], words: str
) -> None:
    page = document(scored(tmp_path, text, **config))
    assert words in page
    assert TEXT not in page
    assert "<h2>Probabilities</h2>" in page


def test_a_document_that_is_gone_has_a_reason(tmp_path: Path) -> None:
    assert "holds no document of this id by now" in document(scored(tmp_path), "d001")


def test_a_night_without_a_ledger_is_read_by_the_source_of_its_table(tmp_path: Path) -> None:
    documents = tmp_path / "documents.jsonl"
    documents.write_text(json.dumps({"id": "d000", "text": TEXT}) + "\n")
    publish(tmp_path / "w", FIRST, [row(0, text_sha256=text_sha256(TEXT))], source=f"file://{documents}")
    assert TEXT in document(tmp_path / "w")


def test_a_source_that_is_a_name_is_not_taken_for_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.jsonl").write_text(json.dumps({"id": "d000", "text": TEXT}) + "\n")
    monkeypatch.chdir(tmp_path)
    publish(tmp_path / "w", FIRST, [row(0, text_sha256=text_sha256(TEXT))], source="shop.jsonl")
    page = document(tmp_path / "w")
    assert "names its documents 'shop.jsonl', which is no address" in page
    assert TEXT not in page


def test_a_kept_value_leads_to_the_documents_that_have_it(warehouse: Path) -> None:
    page = document(warehouse, "d010")
    assert f'<a href="/documents?date={THIRD}&column=shop&value=south">south</a>' in page
    assert "<dd>5.0</dd>" in page  # Weights are numbers with a point, which are not written alike everywhere.


def test_a_kept_text_needs_no_documents(tmp_path: Path) -> None:
    rows = [row(0, text_sha256=text_sha256(TEXT), body=TEXT)]
    publish(tmp_path, FIRST, rows, kept=(Column("body", "string"),))
    assert f'<p class="text">{TEXT}</p>' in document(tmp_path)


def test_no_text_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    warehouse = scored(tmp_path)
    with caplog.at_level("DEBUG"):
        for name in ("d000", "d001", "d999"):
            document(warehouse, name)
        pages(warehouse).get("/documents?words=bread")
    shown = capfd.readouterr()
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx2")]  # The client.
    assert "bread" not in "".join(logged) + shown.out + shown.err


def test_a_document_that_the_night_does_not_hold_is_not_found(warehouse: Path) -> None:
    answer = pages(warehouse).get("/document?id=d999")
    assert answer.status_code == 404
    assert "choose one in the list" in answer.text
    assert pages(warehouse).get("/document").status_code == 400
