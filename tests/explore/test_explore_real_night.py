"""The pages over a night that was really scored: every page opens, and the text is found by the ledger of the night."""

from __future__ import annotations

from datetime import date
from html import escape
from pathlib import Path

import kit
from explore_kit import pages
from pyspark.sql import SparkSession
from starlette.testclient import TestClient

from tlnlp.config import ScoreSettings
from tlnlp.model.classifier import Classifier
from tlnlp.model.evidence import explain
from tlnlp.registry import Registry
from tlnlp.score.job import score


def test_a_scored_night_is_shown_with_its_texts(spark: SparkSession, tiny_bundle: Path, tmp_path: Path) -> None:
    texts = [*kit.texts(11), "Good warm bread. The ferry was late. <b>Never</b> bad."]
    rows = [{"nr": number, "body": text, "shop": "north"} for number, text in enumerate(texts)]
    documents = kit.write_jsonl(tmp_path / "documents" / "part.jsonl", [*rows, {"nr": 99, "body": None}])
    registry = Registry(str(tmp_path / "registry"))
    registry.publish("moods", tiny_bundle)
    settings = ScoreSettings(
        documents=str(documents.parent),
        registry=str(tmp_path / "registry"),
        warehouse=str(tmp_path / "warehouse"),
        model="moods@1",
        id_column="nr",
        text_column="body",
        keep_columns=("shop",),
        score_date=date(2026, 11, 23),
    )
    score(settings)
    client = pages(tmp_path / "warehouse", registry=str(tmp_path / "registry"))
    night = client.get("/night").text
    assert "12 documents have a row" in night
    assert "null_text" in night
    assert "12 of 12 documents are selected" in client.get("/documents?column=shop&value=north").text
    assert texts[7] in client.get("/document?id=7").text
    check_evidence(client, texts[11], registry)
    moved = pages(tmp_path / "warehouse", registry=str(tmp_path / "nothing")).get("/document?id=11&why=yes").text
    assert "The evidence cannot be computed." in moved
    for path in ("/groups", "/changes", "/model", "/documents/export.csv", "/documents/export.parquet"):
        assert client.get(path).status_code == 200


def check_evidence(client: TestClient, text: str, registry: Registry) -> None:
    """Compare the evidence on the page of document 11 with that of the version which has scored it."""
    assert "What each sentence contributes" in client.get("/document?id=11").text
    page = client.get("/document?id=11&why=yes").text
    found = explain(Classifier.load(Path(registry.resolve("moods@1").uri.removeprefix("file://")), 1), text)
    assert len(found.sentences) == 3
    for one in found.sentences:
        assert f'<th scope="row">{escape(one.text)}</th><td class="number">{one.contribution:+.3f}</td>' in page
    strongest = max(found.sentences, key=lambda one: abs(one.log_odds or 0.0))
    mark = "for-4" if (strongest.log_odds or 0.0) > 0 else "against-4"
    assert f'<mark class="{mark}"' in page
    assert "<b>Never</b>" not in page
