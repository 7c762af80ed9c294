"""Nights with ``evidence: top``: the column of the sentence that speaks most for the label, and its filter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kit
import pytest
from score_kit import MODEL, NEXT_DAY, counts, documents, ledger, night, positives, rows, write_parquet

from tlnlp.data.text import cut
from tlnlp.errors import UsageError
from tlnlp.model.cascade import Cascade
from tlnlp.model.classifier import Classifier
from tlnlp.model.evidence import explain
from tlnlp.model.profile import ONNX_FP32, SAFE, Profile
from tlnlp.registry import Registry

pytestmark = pytest.mark.usefixtures("spark")
TOP = {"evidence": "top"}
SAID = "select document_id, label, score, stage, evidence from scores where score_date = '{}'"


def reviews(count: int) -> list[dict[str, Any]]:
    """Return documents of three sentences; the last two have the same text."""
    texts = [row["text"] for row in documents(3 * count)]
    made = [{"id": f"d{i}", "text": ".\n ".join(texts[3 * i : 3 * i + 3]).capitalize() + "."} for i in range(count)]
    return [*made, {"id": "again", "text": made[-1]["text"]}]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_parquet(tmp_path / "documents.parquet", reviews(20))


def said(warehouse: Path, day: str = "2026-11-23") -> dict[str, dict[str, Any]]:
    """Return the rows of a day by document id."""
    return {row["document_id"]: row for row in rows(warehouse, SAID.format(day))}


def test_each_row_has_the_sentence_that_explain_ranks_first(
    tmp_path: Path, tiny_encoder: Path, source: Path, warehouse: Path
) -> None:
    cascade = Cascade(2.0, (0.1, -0.1), 0.8, 0.9)
    made = kit.make_bundle(tiny_encoder, tmp_path / "made", cascades={SAFE: cascade}, optimise=SAFE)
    Registry(str(tmp_path / "cascades")).publish(MODEL, made)
    result = night(source, warehouse, tmp_path / "cascades", model=f"{MODEL}@1", **TOP)
    classifier = Classifier.load(tmp_path / "cascades" / MODEL / "versions" / "1", 1, Profile(ONNX_FP32, SAFE))
    texts, found = {row["id"]: row["text"] for row in reviews(20)}, said(warehouse)
    assert {row["stage"] for row in found.values()} == {"ngram", "encoder"}
    for name, row in found.items():
        # Some texts are longer than what the model reads.
        read = cut(texts[name], classifier.spec.max_chars)
        ranked = explain(classifier, read, row["label"]).ranked
        assert len(ranked) > 1
        assert row["evidence"] == " ".join(ranked[0].text.split())
    spent = ledger(warehouse, result.run_id)["results"]["evidence"]
    assert spent["texts"] == 20
    assert spent["core_s"] > 0


def test_only_documents_of_the_filter_have_evidence(registry: Path, warehouse: Path, source: Path) -> None:
    night(source, warehouse, registry)
    plain = {name: row["label"] for name, row in said_without(warehouse).items()}
    scores = sorted(row["score"] for row in said_without(warehouse).values() if row["label"] == "positive")
    limit = scores[len(scores) // 2]
    wanted = {"labels": ["positive"], "most_score": limit}
    result = night(source, warehouse, registry, score_date=NEXT_DAY, evidence="top", evidence_filter=wanted)
    found = said(warehouse, NEXT_DAY)
    assert {name: row["label"] for name, row in found.items()} == plain
    has = {name for name, row in found.items() if row["evidence"] is not None}
    assert has == {name for name, row in found.items() if row["label"] == "positive" and row["score"] <= limit}
    # Rows of the first night have none, so those of the filter are scored again, and the others are copied.
    assert 0 < len(has) < len(found)
    assert counts(result)["rows_scored"] == len(has)
    # The table's rows of the first day stay as they were.
    assert {row["evidence"] for row in said(warehouse).values()} == {None}


def said_without(warehouse: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of a table that has no column of evidence, by document id."""
    return {row["document_id"]: row for row in rows(warehouse, "select * exclude (probabilities) from scores")}


def test_evidence_is_copied_with_the_score(registry: Path, warehouse: Path, source: Path) -> None:
    night(source, warehouse, registry, **TOP)
    first, scores = said(warehouse), positives(warehouse)
    again = night(source, warehouse, registry, score_date=NEXT_DAY, **TOP)
    assert counts(again)["rows_reused"] == len(first)
    assert said(warehouse, NEXT_DAY) == first
    assert positives(warehouse, NEXT_DAY) == scores
    narrower = night(
        source, warehouse, registry, score_date=NEXT_DAY, evidence="top", evidence_filter={"labels": "negative"}
    )
    assert counts(narrower)["rows_reused"] == len(first)
    for name, row in said(warehouse, NEXT_DAY).items():
        assert row["evidence"] == (first[name]["evidence"] if row["label"] == "negative" else None)
    without = night(source, warehouse, registry, score_date=NEXT_DAY)
    assert counts(without)["rows_reused"] == len(first)
    assert {row["evidence"] for row in said(warehouse, NEXT_DAY).values()} == {None}


def test_what_cannot_be_asked_for(registry: Path, warehouse: Path, source: Path) -> None:
    with pytest.raises(UsageError, match=r"evidence_filter.labels: the model has no class 'positiv'; did you mean"):
        night(source, warehouse, registry, evidence="top", evidence_filter={"labels": "positiv"})
    with pytest.raises(UsageError, match="evidence would take the name of a column"):
        night(source, warehouse, registry, keep_columns="evidence")
