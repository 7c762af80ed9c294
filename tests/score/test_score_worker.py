"""The work inside Spark's Python workers, and how often the input is read."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kit
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from score_kit import MODEL, counts, documents, night, positives, write_parquet

from tlnlp.config import ScoreSettings
from tlnlp.data.text import text_sha256
from tlnlp.errors import BundleError, EngineError
from tlnlp.model import bundle
from tlnlp.model.classifier import Classifier
from tlnlp.model.profile import ONNX_FP32, Profile
from tlnlp.score import bundle_cache, chunks, contract, udf
from tlnlp.score.cascade_check import CascadeCheck
from tlnlp.score.contract import Limits, PreviousScores, prepare_rows
from tlnlp.score.evidence_column import EvidenceFinder
from tlnlp.score.night_counts import TextCounts
from tlnlp.score.source import read_documents
from tlnlp.score.staging import Staging


def recording(real: Callable[..., Any], folder: str) -> Callable[..., Any]:
    """Return ``real`` (``batch_scorer``) with workers that also write facts about themselves to files in ``folder``."""

    def make(*arguments: Any) -> Any:
        scorer = real(*arguments)

        def score(batches: Iterator[tuple[pd.Series, pd.Series]]) -> Iterator[pd.DataFrame]:
            import json
            import os
            import sys
            import tempfile
            import uuid
            from pathlib import Path

            from tlnlp.score import udf

            rows = []

            def counted() -> Iterator[tuple[pd.Series, pd.Series]]:
                for texts, keys in batches:
                    rows.append(len(keys))
                    yield texts, keys

            yield from scorer(counted())
            (classifier,) = udf._loaded.values()
            options = classifier.engine._session.get_session_options()  # type: ignore[attr-defined]
            facts = {
                "rows": sum(rows),
                "largest_batch": max(rows, default=0),
                "heavy": [name for name in ("torch", "ray", "transformers", "pyiceberg") if name in sys.modules],
                "threads": [options.intra_op_num_threads, options.inter_op_num_threads],
                "tokenizers_parallelism": os.environ.get("TOKENIZERS_PARALLELISM"),
                "tmp": tempfile.gettempdir(),
            }
            (Path(folder) / f"{uuid.uuid4().hex}.json").write_text(json.dumps(facts))

        return score

    return make


def test_workers_are_light_and_read_each_row_once(
    spark: SparkSession,
    registry: Path,
    warehouse: Path,
    tmp_path: Path,
    worker_tmp: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "facts"
    folder.mkdir()
    monkeypatch.setattr(chunks, "batch_scorer", recording(udf.batch_scorer, str(folder)))
    source = write_parquet(tmp_path / "documents.parquet", documents(40))
    result = night(source, warehouse, registry, arrow_batch_rows=6)
    facts = [json.loads(path.read_text()) for path in folder.iterdir()]
    assert sum(fact["rows"] for fact in facts) == counts(result)["rows_scored"] == 40
    assert max(fact["largest_batch"] for fact in facts) == 6
    assert {tuple(fact["heavy"]) for fact in facts} == {()}
    assert {tuple(fact["threads"]) for fact in facts} == {(1, 1)}
    assert {fact["tokenizers_parallelism"] for fact in facts} == {"false"}
    assert result.peak_worker_bytes > 50e6
    hosts = {Path(fact["tmp"]) for fact in facts}
    # Each worker of a cluster has its own temporary folder.
    assert hosts == {worker_tmp} or (len(hosts) <= 2 and "TLNLP_TEST_MASTER" in os.environ)
    digest = bundle.verify(registry / MODEL / "versions" / "1")
    for host in hosts:
        (cache,) = host.glob("tlnlp-bundles-*")
        names = {path.name for path in (cache / f"{digest}-{ONNX_FP32}").iterdir()}
        assert names == bundle.scoring_names(ONNX_FP32) | {bundle.MANIFEST}
        assert cache.stat().st_mode & 0o077 == 0


def test_a_bundle_that_was_damaged_on_its_way_ends_the_night(
    spark: SparkSession, registry: Path, warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(folder: Path, engine: str) -> dict[str, bytes]:
        return bundle_files(folder, engine) | {bundle.NGRAM: b"no weights"}

    bundle_files = bundle.scoring_files
    monkeypatch.setattr(bundle, "scoring_files", damaged)
    # The digest of this version is new, so no test has unpacked it on this host.
    source = write_parquet(tmp_path / "documents.parquet", documents(3))
    own = Path(shutil.copytree(registry, tmp_path / "registry"))
    folder = own / MODEL / "versions" / "2"
    (folder / bundle.MANIFEST).unlink()
    (folder / bundle.TRAINING).write_text('{"text_sha256": []}')
    bundle.seal(folder)
    with pytest.raises(BundleError, match="a worker found the bundle damaged"):
        night(source, warehouse, own, model=f"{MODEL}@2")


def test_a_failing_worker_raises_an_engine_error_without_the_text(
    spark: SparkSession, registry: Path, warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quoting(*_: Any) -> Any:
        def score(batches: Iterator[tuple[pd.Series, pd.Series]]) -> Iterator[pd.DataFrame]:
            for texts, _ in batches:
                raise ValueError(f"cannot read {texts.tolist()}")
            yield from ()

        return score

    monkeypatch.setattr(chunks, "batch_scorer", quoting)
    source = write_parquet(tmp_path / "documents.parquet", [{"id": "1", "text": "a canary that sings"}])
    with pytest.raises(EngineError, match="Spark failed") as raised:
        night(source, warehouse, registry)
    assert "canary" not in str(raised.value)
    for path in warehouse.rglob("*"):
        assert not path.is_file() or b"canary" not in path.read_bytes(), path


class TestOneHost:
    """Unpack and load bundles in this process."""

    @pytest.fixture
    def broadcast(self, spark: SparkSession, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.setattr(udf, "_loaded", {})
        return spark.sparkContext.broadcast(bundle.scoring_files(tiny_bundle, ONNX_FP32))

    def test_a_bundle_is_unpacked_once_and_loaded_once(self, broadcast: Any, tiny_bundle: Path) -> None:
        digest = bundle.verify(tiny_bundle)
        first = udf.load_bundle(broadcast, digest, Profile(), 1)
        assert udf.load_bundle(broadcast, digest, Profile(), 1) is first
        folder = bundle_cache.bundle_cache() / f"{digest}-{ONNX_FP32}"
        times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
        udf._loaded.clear()
        assert udf.load_bundle(broadcast, digest, Profile(), 1) is not first
        assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times

    @pytest.mark.parametrize(
        "damage", ["altered", "missing", "extra", "no manifest", "another bundle", "unsound", "link"]
    )
    def test_a_damaged_copy_is_unpacked_again(
        self, broadcast: Any, tiny_bundle: Path, tiny_encoder: Path, tmp_path: Path, damage: str
    ) -> None:
        digest = bundle.verify(tiny_bundle)
        sound = udf.load_bundle(broadcast, digest, Profile(), 1).predict(["good bread"])
        folder = bundle_cache.bundle_cache() / f"{digest}-{ONNX_FP32}"
        if damage == "altered":
            (folder / bundle.GRAPH).write_bytes(b"\x00" + (folder / bundle.GRAPH).read_bytes()[1:])
        elif damage == "another bundle":
            other = kit.make_bundle(tiny_encoder, tmp_path / "other", seed=1)
            for name, data in bundle.scoring_files(other, ONNX_FP32).items():
                (folder / name).write_bytes(data)
            assert bundle.verify(folder, only=ONNX_FP32) != digest
        elif damage == "extra":
            (folder / "more.bin").write_bytes(b"1")
        elif damage == "unsound":  # Whoever altered it made the digests match.
            spec = json.loads((folder / bundle.SPEC).read_text()) | {"encoder_weight": -5}
            (folder / bundle.SPEC).write_text(json.dumps(spec))
            manifest = json.loads((folder / bundle.MANIFEST).read_text())
            manifest["files"][bundle.SPEC] = bundle._fingerprint(folder / bundle.SPEC)
            (folder / bundle.MANIFEST).write_text(json.dumps(manifest))
        elif damage == "link":
            (folder / bundle.NGRAM).rename(tmp_path / "ngram")
            (folder / bundle.NGRAM).symlink_to(tmp_path / "ngram")
        else:
            (folder / (bundle.NGRAM if damage == "missing" else bundle.MANIFEST)).unlink()
        udf._loaded.clear()
        assert (udf.load_bundle(broadcast, digest, Profile(), 1).predict(["good bread"]) == sound).all()
        assert bundle.verify(folder, only=ONNX_FP32) == digest

    def test_many_threads_unpack_one_copy(self, broadcast: Any, tiny_bundle: Path) -> None:
        folder = bundle_cache.bundle_cache() / bundle.verify(tiny_bundle)
        _ = broadcast.value
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: bundle_cache.unpack_bundle(broadcast, folder), range(16))) == {folder}
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]
        bundle.verify(folder, only=ONNX_FP32)

    def test_a_cache_of_another_user_is_not_used(self, broadcast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        bundle_cache.bundle_cache()
        owner = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: owner + 1)
        (Path(tempfile.gettempdir()) / f"tlnlp-bundles-{owner + 1}").mkdir()
        with pytest.raises(BundleError, match="belongs to another user"):
            bundle_cache.bundle_cache()

    def test_equal_texts_are_read_once_across_batches(
        self, spark: SparkSession, broadcast: Any, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read: list[str] = []
        predict = Classifier.predict_staged

        def recorded(self: Classifier, texts: list[str]) -> Any:
            read.extend(texts)
            return predict(self, texts)

        monkeypatch.setattr(Classifier, "predict_staged", recorded)
        context = spark.sparkContext
        meters = udf.Meters.of(context)
        check = CascadeCheck("", *(context.accumulator(0) for _ in range(5)))
        evidence = EvidenceFinder((), 1.0, context.accumulator(0), context.accumulator(0))
        reader = udf.TextReader(check, TextCounts.of(context, 10), evidence)
        scorer = udf.batch_scorer(broadcast, bundle.verify(tiny_bundle), Profile(), 1, meters, reader)
        batches = [["a", "a"], ["a", "a"], ["a", "b"], [], ["b", "c", "c"], ["c"], ["d"]]
        series = [
            (pd.Series(batch, dtype=object), pd.Series(map(text_sha256, batch), dtype=object)) for batch in batches
        ]
        scored = list(scorer(iter(series)))
        assert [len(frame) for frame in scored] == [len(batch) for batch in batches]
        assert read == ["a", "b", "c", "d"]
        by_text: dict[str, set[tuple[float, ...]]] = {}
        for batch, frame in zip(batches, scored, strict=True):
            for text, values in zip(batch, frame.itertuples(index=False), strict=True):
                by_text.setdefault(text, set()).add(tuple(values))
        assert {text: len(values) for text, values in by_text.items()} == dict.fromkeys("abcd", 1)
        assert len(set.union(*by_text.values())) == 4
        # Each text is one sentence, which is its evidence.
        assert [list(frame["evidence"]) for frame in scored] == batches
        assert evidence.texts.value == 4
        assert meters.rows.value == sum(map(len, batches))


def records_read(spark: SparkSession, group: str) -> int:
    """Return how many input records the jobs of the group have read, as Spark counts them."""
    context = spark.sparkContext
    context._jsc.sc().listenerBus().waitUntilEmpty()
    tracker, store = context.statusTracker(), context._jsc.sc().statusStore()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(group)]
    stages = {stage for job in jobs if job is not None for stage in job.stageIds}
    return sum(store.lastStageAttempt(stage).inputRecords() for stage in stages)


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_the_documents_are_read_once(spark: SparkSession, warehouse: Path, tmp_path: Path, kind: str) -> None:
    listed = [*documents(700), {"id": "d1", "text": "a conflict"}, {"id": "x", "text": None}, documents(3)[2]]
    source = tmp_path / f"documents.{kind}"
    if kind == "parquet":
        write_parquet(source, listed)
    else:
        source.write_text("".join(json.dumps(row) + "\n" for row in listed))
    settings = ScoreSettings(documents=str(source), score_date="2026-11-23")
    frame = read_documents(spark, settings).frame
    spark.sparkContext.setJobGroup(f"prepare-{kind}", "one read")
    prepared = Staging(str(warehouse), "run").prepare(prepare_rows(frame, Limits(10**6, 400), PreviousScores()))
    assert sum(map(prepared.count, contract.OUTCOMES)) == len(listed)
    spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]  # None removes it.
    assert records_read(spark, f"prepare-{kind}") == len(listed)


def test_the_documents_are_not_read_after_the_preparation(
    spark: SparkSession, registry: Path, warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_parquet(tmp_path / "documents.parquet", documents(10))
    prepare = Staging.prepare

    def prepare_and_remove(self: Staging, rows: Any) -> Any:
        prepared = prepare(self, rows)
        source.unlink()
        return prepared

    monkeypatch.setattr(Staging, "prepare", prepare_and_remove)
    night(source, warehouse, registry)
    assert len(positives(warehouse)) == 10
