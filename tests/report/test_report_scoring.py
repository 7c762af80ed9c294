"""The sentences on how a version scores."""

from __future__ import annotations

from pathlib import Path

from report_kit import made

from tlnlp.report.page import write_report
from tlnlp.report.scoring import scoring


def test_engines_and_cascades_are_described() -> None:
    profile, reference, engine, cascade = scoring(made())
    assert profile == "The version scores as ctranslate2-int8+safe."
    assert "onnx-fp32, the reference, read 400 texts at 25 a second" in reference
    assert "ctranslate2-int8 read them at 75 a second, 3.0 times as fast. It changed 2 labels" in engine
    assert "(with 95% confidence, at most 1.6% of all)" in engine
    assert "by 0.0012 on average, by 0.034 at most." in engine
    assert "leaves 71% of the documents to the n-gram view. Of 2,000 documents" in cascade
    assert "4 got another label" in cascade
    assert "at most 0.5% of all documents do. That costs 0.5 points of accuracy at most" in cascade
    assert "0.04 points are expected" in cascade


def test_a_refused_engine_says_why() -> None:
    report = made()
    report["scoring"]["engines"][1]["refused"] = "it changes the label of 40 of 400 texts"
    assert scoring(report)[2].endswith("It does not score: it changes the label of 40 of 400 texts.")


def test_a_student_is_named() -> None:
    report = made()
    report["scoring"]["cascade"]["safe"]["student_share"] = 0.12
    assert "leaves 71% of the documents to the n-gram view and 12% to the student. Of" in scoring(report)[-1]


def test_an_older_version_has_no_such_sentences(tmp_path: Path) -> None:
    report = made()
    del report["scoring"]
    assert scoring(report) == []
    page, *_ = write_report(report, {"model": "moods", "version": 1}, tmp_path)
    assert "<h2>Scoring</h2>" not in page.read_text(encoding="utf-8")
    page, *_ = write_report(made(), {"model": "moods", "version": 1}, tmp_path)
    assert "<h2>Scoring</h2>" in page.read_text(encoding="utf-8")
