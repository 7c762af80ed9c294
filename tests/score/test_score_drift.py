"""Drift: what counts as a change, how often a night without one raises an alarm, and nights whose documents change."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import kit
import numpy as np
import pyarrow as pa
import pytest
from score_kit import documents, ledger, night, rows, write_parquet

from tlnlp.config import ScoreSettings, load_settings
from tlnlp.errors import DriftError, InputDataError
from tlnlp.model.cascade import STAGES
from tlnlp.model.classifier import Classifier
from tlnlp.model.profile import NONE, ONNX_FP32, Profile
from tlnlp.score.drift import FALSE_ALARMS, DriftProfiles, NightProfile, compare, homogeneity
from tlnlp.score.night_counts import LENGTH_BINS, SHARE_BINS, TextCounts
from tlnlp.warehouse.row_counts import RowCounts

LEAST_CHANGE = 0.05


def profile(day: int, scored_by: str = "a", **counts: list[int]) -> NightProfile:
    return NightProfile(f"2026-01-{day:02}", 1, scored_by, {name: tuple(row) for name, row in counts.items()})


def drawn(generator: np.random.Generator, rows: int, day: int) -> NightProfile:
    """Return the profile of a night drawn from distributions that never change, some bins of which are rare."""
    shares: dict[str, Any] = {
        "label": [0.6, 0.3, 0.09, 0.01],
        "confidence": [0.01, 0.02, 0.03, 0.04, 0.1, 0.8],
        "stage": [0.3, 0.7],
        "length": np.diff(1 / (1 + np.exp(-np.linspace(-6, 6, 21)))),
        "script": [0.995, 0.001, 0.001, 0.003],
        "unknown_words": np.full(10, 0.1),
    }
    counts = {name: generator.multinomial(rows, np.array(of) / np.sum(of)).tolist() for name, of in shares.items()}
    return profile(day, **counts)


@pytest.mark.parametrize("rows_in", [30, 300, 3000, 100_000])
def test_nights_without_a_change_raise_few_alarms(rows_in: int) -> None:
    generator, nights = np.random.default_rng(rows_in), 500
    alarms = 0
    for _ in range(nights):
        own, reference = drawn(generator, rows_in, 2), drawn(generator, 2000, 1)
        # Without the least change that matters: the tests alone must keep the promise.
        alarms += any(one.has_changed for one in compare(own, reference, 1e-9))
    # The chance of more than 10 in 500 is 1.3 % if each has an alarm with the promised share; the tests have fewer.
    assert alarms <= 2 * FALSE_ALARMS * nights


def test_a_change_that_matters_is_found() -> None:
    reference = profile(1, label=[700, 300], length=[50, 900, 50])
    (label, length) = compare(profile(2, label=[600, 400], length=[52, 897, 51]), reference, LEAST_CHANGE)
    assert (label.statistic, label.has_changed) == ("label", True)
    assert label.change == pytest.approx(0.1)
    assert label.p_value < 1e-4
    assert (length.statistic, length.has_changed) == ("length", False)


def test_a_certain_change_that_is_small_is_none() -> None:
    reference = profile(1, label=[700_000, 300_000])
    (found,) = compare(profile(2, label=[690_000, 310_000]), reference, LEAST_CHANGE)
    assert found.p_value < 1e-9
    assert not found.has_changed


def test_few_rows_show_no_change() -> None:
    assert not compare(profile(2, label=[0, 4]), profile(1, label=[700, 300]), LEAST_CHANGE)[0].has_changed
    for own, other in (([0, 0], [5, 5]), ([], [5, 5]), ([9], [9])):
        assert homogeneity(np.array(own, dtype=np.int64), np.array(other)) == (0.0, 1.0)


def test_another_model_is_compared_by_its_labels_and_documents_alone() -> None:
    counts = {"label": [1, 2], "stage": [1, 2], "confidence": [1, 2], "length": [1, 2], "unknown_words": [1, 2]}
    found = compare(profile(2, "b", **counts), profile(1, "a", **counts), LEAST_CHANGE)
    assert [one.statistic for one in found] == ["label", "length"]


def settings(folder: Path, **changes: Any) -> Any:
    given = {"documents": "x", "score_date": "2026-01-05", "warehouse": str(folder)} | changes
    return load_settings(ScoreSettings, None, [f"{name}={value}" for name, value in given.items()]).drift


def test_the_first_night_of_the_version_is_the_reference(tmp_path: Path) -> None:
    stored, own = DriftProfiles(str(tmp_path), "scores"), profile(5, label=[1])
    assert stored.reference(settings(tmp_path), own) is None
    other = NightProfile("2026-01-01", 0, "old", {})
    for one in (other, profile(2, label=[2]), profile(3, label=[3]), profile(6, label=[6])):
        stored.write(one)
    assert stored.reference(settings(tmp_path), own) == profile(2, label=[2])
    assert stored.reference(settings(tmp_path, **{"drift.reference": "2026-01-03"}), own) == profile(3, label=[3])
    assert stored.reference(settings(tmp_path, **{"drift.reference": "2026-01-01"}), own) == other
    with pytest.raises(InputDataError, match=r"there is no profile of 2026-01-04 .* 2026-01-06, or first"):
        stored.reference(settings(tmp_path, **{"drift.reference": "2026-01-04"}), own)
    # The first night, scored again, has nothing before it.
    assert stored.reference(settings(tmp_path), profile(2, label=[9])) is None
    # A damaged profile is none.
    (tmp_path / "drift" / "scores" / "2026-01-02-1.json").write_text("{")
    assert stored.reference(settings(tmp_path), own) == profile(3, label=[3])
    # A day that another version has scored again is that version's.
    stored.write(NightProfile("2026-01-03", 2, "new", {}))
    assert stored.reference(settings(tmp_path), own) is None
    assert stored.reference(settings(tmp_path), NightProfile("2026-01-05", 2, "new", {})) is not None
    assert len(list((tmp_path / "drift" / "scores").iterdir())) == 4


def test_rows_are_counted_by_label_confidence_and_stage() -> None:
    counts = RowCounts(("no", "yes"), STAGES)
    columns = {"label": ["no", "yes", "yes"], "score": [0.51, 1.0, 0.99], "stage": ["ngram", "encoder", "encoder"]}
    for _ in range(2):
        counts.look(pa.RecordBatch.from_pydict(columns))
    found = counts.by_statistic()
    assert found["label"] == (2, 4)
    assert found["confidence"] == (0, 0, 0, 0, 0, 2, 0, 0, 0, 4)
    assert found["stage"] == (4, 2, 0)


def test_texts_are_counted_by_length_script_and_unknown_words(spark: Any, tiny_bundle: Path) -> None:
    classifier = Classifier.load(tiny_bundle, 1, Profile(ONNX_FP32, NONE))
    counts = TextCounts.of(spark.sparkContext, 1)
    known = kit.labelled(40, 0)[0]["text"]
    texts = [known, " ".join(f"xqzv{number}kw" for number in range(40)), "Всё хорошо", ""]
    counts.look(classifier, texts, np.array([f"{place:064x}" for place in range(4)], dtype=object))
    found = counts.by_statistic()
    assert {name: sum(row) for name, row in found.items()} == dict.fromkeys(("length", "script", "unknown_words"), 4)
    lengths = Counter(len(text).bit_length() for text in texts)
    assert {bin_: count for bin_, count in enumerate(found["length"]) if count} == lengths
    assert (found["script"][0], found["script"][SHARE_BINS - 1]) == (3, 1)
    low, high, _, nothing = classifier.ngram.unknown_shares(texts)
    # Some n-grams of the known text say nothing, and some hashes of the others collide with known ones.
    assert nothing == 0 <= low < 0.4 < 0.6 < high
    assert len(found["length"]) == LENGTH_BINS


def test_a_large_night_counts_some_of_its_texts(spark: Any, tiny_bundle: Path) -> None:
    classifier = Classifier.load(tiny_bundle, 1, Profile(ONNX_FP32, NONE))
    counts = TextCounts.of(spark.sparkContext, 16_000)
    digests = np.array([f"{first:x}" * 64 for first in range(16)], dtype=object)
    counts.look(classifier, ["good"] * 16, digests)
    assert sum(counts.by_statistic()["length"]) == 4


class TestNights:
    """Whole nights, the third of which has other documents."""

    @pytest.fixture(autouse=True)
    def _spark(self, spark: Any) -> None:
        self.spark = spark

    @staticmethod
    def run(folder: Path, warehouse: Path, registry: Path, day: int, text: str = "", **changes: Any) -> Any:
        given = documents(200)
        if text:
            given = [row | {"text": f"{text} {number}"} for number, row in enumerate(given)]
        source = write_parquet(folder / f"documents-{day}.parquet", given)
        return night(source, warehouse, registry, source="s", score_date=f"2026-01-{day:02}", **changes)

    def test_a_night_of_other_documents_is_reported(
        self, tmp_path: Path, registry: Path, warehouse: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        for day in (1, 2):
            result = self.run(tmp_path, warehouse, registry, day)
            assert result.drift == ()
        assert "WARNING: the documents" not in capfd.readouterr().err
        result = self.run(tmp_path, warehouse, registry, 3, text="Всё хорошо, спасибо " * 9)
        assert {"length", "script", "unknown_words"} <= set(result.drift)
        assert result.to_json()["drift"] == list(result.drift)
        assert "WARNING: the documents or their scores are not those of 2026-01-01 any more" in capfd.readouterr().err
        found = ledger(warehouse, result.run_id)["results"]["drift"]
        assert found["reference"] == "2026-01-01"
        assert {one["statistic"] for one in found["changes"] if one["has_changed"]} == set(result.drift)
        assert len(rows(warehouse, "select distinct score_date from scores")) == 3

    def test_a_changed_night_can_be_stopped(self, tmp_path: Path, registry: Path, warehouse: Path) -> None:
        self.run(tmp_path, warehouse, registry, 1)
        with pytest.raises(DriftError, match=r"not those of 2026-01-01 any more: .*nothing was published"):
            self.run(tmp_path, warehouse, registry, 2, text="Всё хорошо, спасибо " * 9, drift={"stop": True})
        assert rows(warehouse, "select distinct cast(score_date as varchar) d from scores") == [{"d": "2026-01-01"}]
        stored = sorted(path.name for path in (warehouse / "drift" / "scores").iterdir())
        assert stored == ["2026-01-01-1.json"]
        # The same night without the gate publishes what the stopped one has scored, and is a profile of its own.
        result = self.run(tmp_path, warehouse, registry, 2, text="Всё хорошо, спасибо " * 9)
        assert result.drift
        own = json.loads((warehouse / "drift" / "scores" / "2026-01-02-1.json").read_text())
        assert sum(own["counts"]["label"]) == 200

    def test_no_text_is_in_the_profile(self, tmp_path: Path, registry: Path, warehouse: Path) -> None:
        self.run(tmp_path, warehouse, registry, 1, text="confidential")
        stored = (warehouse / "drift" / "scores" / "2026-01-01-1.json").read_text()
        assert '"length"' in stored
        assert "confidential" not in stored
