"""Nights with a cascade: which view has decided each row, and whether the cascade still keeps its promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kit
import pytest
from score_kit import MODEL, counts, documents, ledger, night, positives, rows, write_parquet

from tlnlp.errors import UsageError
from tlnlp.model.bundle_spec import StudentSpec
from tlnlp.model.cascade import NGRAM, STAGES, STUDENT, Calibration, Cascade
from tlnlp.model.classifier import Classifier
from tlnlp.model.profile import CTRANSLATE2_INT8, SAFE
from tlnlp.registry import Registry
from tlnlp.score.cascade_check import MOST_SHARE, sample_border

pytestmark = pytest.mark.usefixtures("spark")
KEEPS = Cascade(2.0, (0.1, -0.1), 0.8, 0.9)
# Both views agree with it on few texts: it calls every text positive.
BREAKS = Cascade(2.0, (-20.0, 20.0), 0.5, 0.001)


@pytest.fixture(scope="module")
def cascades(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a version whose cascade keeps its promise, and one whose cascade does not."""
    folder = tmp_path_factory.mktemp("registry")
    for number, cascade in enumerate((KEEPS, BREAKS)):
        made = kit.make_bundle(tiny_encoder, folder / f"made-{number}", cascades={SAFE: cascade}, optimise=SAFE)
        Registry(str(folder / "registry")).publish(MODEL, made)
    return folder / "registry"


def run(tmp_path: Path, cascades: Path, warehouse: Path, version: int = 1, **changes: Any) -> Any:
    source = write_parquet(tmp_path / "documents.parquet", documents(60))
    return night(source, warehouse, cascades, model=f"{MODEL}@{version}", **changes)


def test_each_row_names_the_stage_that_decided_it(tmp_path: Path, cascades: Path, warehouse: Path) -> None:
    result = run(tmp_path, cascades, warehouse)
    assert counts(result)["rows_scored"] == 60
    classifier = Classifier.load(cascades / MODEL / "versions" / "1", threads=1)
    texts = {row["id"]: row["text"] for row in documents(60)}
    probabilities, decided = classifier.predict_staged(list(texts.values()))
    settled = decided == STAGES.index(NGRAM)
    stages = {row["document_id"]: row["stage"] for row in rows(warehouse, "select document_id, stage from scores")}
    assert stages == {name: ("ngram" if one else "encoder") for name, one in zip(texts, settled, strict=True)}
    assert set(stages.values()) == {"ngram", "encoder"}
    assert positives(warehouse) == dict(zip(texts, probabilities[:, 1].tolist(), strict=True))
    results = ledger(warehouse, result.run_id)["results"]
    assert results["profile"] == "onnx-fp32+safe"
    distinct = len(set(texts.values()))
    assert results["cascade"]["settled_share"] == pytest.approx(
        len({text for text, one in zip(texts.values(), settled, strict=True) if one}) / distinct, abs=1e-4
    )
    assert results["cascade"]["holds"] is True


def test_without_a_cascade_the_encoder_reads_every_text(tmp_path: Path, cascades: Path, warehouse: Path) -> None:
    run(tmp_path, cascades, warehouse)
    result = run(tmp_path, cascades, warehouse, optimise="none")
    # The rows of the cascade are not copied: they are other scores.
    assert counts(result)["rows_scored"] == 60
    assert rows(warehouse, "select distinct stage from scores") == [{"stage": "encoder"}]
    assert "cascade" not in ledger(warehouse, result.run_id)["results"]
    assert counts(run(tmp_path, cascades, warehouse, optimise="none"))["rows_reused"] == 60


def test_a_cascade_that_no_longer_keeps_its_promise_is_reported(
    tmp_path: Path, cascades: Path, warehouse: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tlnlp.score.chunks.sample_border", lambda rows: "g")  # All texts are in the sample.
    result = run(tmp_path, cascades, warehouse, version=2)
    found = ledger(warehouse, result.run_id)["results"]["cascade"]
    assert (found["sampled"], found["holds"], found["settled_share"]) == (result.counts.texts_scored, False, 1.0)
    assert found["changed"] > 5
    assert "WARNING: the cascade changes more labels than its test has shown" in capfd.readouterr().err
    # The rows stay those of the cascade, in the sample or not.
    assert rows(warehouse, "select distinct stage, label from scores") == [{"stage": "ngram", "label": "positive"}]


def test_a_profile_that_is_not_there(
    tmp_path: Path, cascades: Path, registry: Path, warehouse: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fast = run(tmp_path, cascades, warehouse, optimise="fast")
    assert ledger(warehouse, fast.run_id)["results"]["profile"] == "onnx-fp32+safe"
    assert f"{MODEL}@1 has no fast cascade" in capfd.readouterr().err
    plain = run(tmp_path, registry, tmp_path / "other", optimise="safe")
    assert ledger(tmp_path / "other", plain.run_id)["results"]["profile"] == "onnx-fp32"
    assert "the encoder reads every text" in capfd.readouterr().err


def test_an_engine_that_cannot_run_the_encoder_is_refused(tmp_path: Path, warehouse: Path) -> None:
    folder = kit.make_bundle(kit.make_encoder(tmp_path / "mpnet", "mpnet"), tmp_path / "bundle")
    Registry(str(tmp_path / "registry")).publish(MODEL, folder)
    with pytest.raises(UsageError, match=r"engine: ctranslate2-int8 cannot score with reviews@1.*--set engine=onnx"):
        run(tmp_path, tmp_path / "registry", warehouse, engine="ctranslate2-int8")


def test_the_sample_of_a_night() -> None:
    share = {rows: int(sample_border(rows), 16) / 2**32 for rows in (1, 100_000, 1_000_000)}
    assert share == pytest.approx({1: MOST_SHARE, 100_000: 0.005, 1_000_000: 0.0005}, rel=1e-3)


def test_a_student_settles_rows_of_its_own(tmp_path: Path, tiny_encoder: Path, warehouse: Path) -> None:
    cascade = Cascade(2.0, (0.1, -0.1), 0.8, 0.9, Calibration((0.5, 2.0), (0.3, -0.3)))
    made = kit.make_bundle(
        tiny_encoder,
        tmp_path / "made",
        cascades={SAFE: cascade},
        optimise=SAFE,
        engine=CTRANSLATE2_INT8,
        student=StudentSpec(1, 24),
    )
    Registry(str(tmp_path / "registry")).publish(MODEL, made)
    source = write_parquet(tmp_path / "documents.parquet", documents(60))
    result = night(source, warehouse, tmp_path / "registry", model=f"{MODEL}@1")
    texts = {row["id"]: row["text"] for row in documents(60)}
    probabilities, decided = Classifier.load(made, threads=1).predict_staged(list(texts.values()))
    stages = {row["document_id"]: row["stage"] for row in rows(warehouse, "select document_id, stage from scores")}
    assert stages == {name: STAGES[stage] for name, stage in zip(texts, decided, strict=True)}
    assert set(stages.values()) == set(STAGES)
    assert positives(warehouse) == dict(zip(texts, probabilities[:, 1].tolist(), strict=True))
    found = ledger(warehouse, result.run_id)["results"]["cascade"]
    by_text = dict(zip(texts.values(), decided, strict=True))
    of_student = sum(stage == STAGES.index(STUDENT) for stage in by_text.values())
    assert found["student_share"] == pytest.approx(of_student / len(by_text), abs=1e-4)
    assert found["student_share"] < found["settled_share"] < 1
