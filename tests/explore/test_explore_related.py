"""The most telling sentences of a selection, and documents with similar words."""

from __future__ import annotations

from html import unescape
from pathlib import Path
from typing import Any

import html_kit
import kit
import pytest
from explore_kit import pages
from labelling_kit import scored_night
from starlette.testclient import TestClient

from tlnlp.model.classifier import Classifier
from tlnlp.model.evidence import explain

HOSTILE = "<script>alert(1)</script> good good."
TEXTS = [*(f"{text}. The bread was warm. The ferry was late." for text in kit.texts(8)), HOSTILE, HOSTILE + " Late."]


@pytest.fixture
def place(tmp_path: Path, tiny_bundle: Path) -> Path:
    scored_night(tmp_path, tiny_bundle, TEXTS)
    return tmp_path


def opened(place: Path, **changes: Any) -> TestClient:
    places: dict[str, Any] = {name: str(place / name) for name in ("registry", "labels", "queue")}
    return pages(place / "warehouse", **places | changes)


def test_the_most_telling_sentences_of_a_label(place: Path, tiny_bundle: Path) -> None:
    client = opened(place)
    classifier = Classifier.load(tiny_bundle, 1)
    for label in classifier.classes:
        first = client.get(f"/documents?label={label}").text
        if "0 of 10 documents" in first:
            continue
        assert "The sentences that speak most for" in first
        page = client.get(f"/documents?label={label}&telling=yes").text
        assert html_kit.faults(page) == []
        own = [text for text in TEXTS if classifier.classes[int(classifier.predict([text]).argmax())] == label]
        found = [one for text in own for one in explain(classifier, text, label, 0).sentences if one.ngram]
        best = max(found, key=lambda one: one.ngram or 0.0)
        if (best.ngram or 0.0) <= 0:
            assert "No sentence" in page
            continue
        table = unescape(page[page.index("most telling") :])
        assert f"{best.ngram:+.2f}" in table[: table.index("</tr>", table.index("<tbody>"))]
    assert "telling sentences" not in client.get("/documents?telling=yes").text


def test_similar_documents(place: Path) -> None:
    client = opened(place)
    assert "Documents with similar words" in client.get("/document?id=d8").text
    page = client.get("/document?id=d8&similar=yes").text
    assert html_kit.faults(page) == []
    table = page[page.index("Similar documents") :]
    assert table.index("d9") < table.index("</tr>", table.index("<tbody>"))
    assert "of 9 documents" in page


def test_without_model_or_texts_the_page_says_so(place: Path) -> None:
    client = opened(place, registry=str(place / "nothing"))
    found = [client.get(f"/documents?label={label}&telling=yes") for label in kit.CLASSES]
    assert all(answer.status_code == 200 for answer in found)
    assert any("cannot be weighed" in answer.text for answer in found)
    (place / "documents" / "part.jsonl").unlink()
    gone = opened(place)
    assert any("cannot be" in gone.get(f"/documents?label={label}&telling=yes").text for label in kit.CLASSES)
    assert "Similar documents" not in gone.get("/document?id=d8&similar=yes").text
