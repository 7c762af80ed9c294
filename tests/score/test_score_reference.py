"""Spark nights agree with the reference (``reference_night``) after each night of generated sequences.

The model has six classes with awkward names, so these are also the tests of scoring with many classes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import kit
import numpy as np
import pyarrow as pa
import pytest
from reference_night import Document, Night, Reference, Row
from score_kit import COUNTS, MODEL, counts, night_settings, rows, write_parquet

from tlnlp.config import ScoreSettings
from tlnlp.data.text import text_sha256
from tlnlp.errors import NothingToPublishError
from tlnlp.model.classifier import Classifier
from tlnlp.registry import Registry
from tlnlp.score import table_history
from tlnlp.score.job import ScoreResult, score
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.tables import load_table

CLASSES = ('"5,0" %', "NULL", "Positive", "it's {not} 'so' \\ bad", "p0", "日本語 \U0001f35e")
TOLERANCE = 1e-5
DAYS = ("2026-11-23", "2026-11-24", "2026-11-25")
MAX_BYTES, MAX_QUARANTINE_SHARE = 900, 0.6
FAULTY = [
    None, b"", b" \t\n", "\u2003\u00a0".encode(), b"caf\xe9", b"nul\x00 byte", b"\x01\x02\x03 good",
    b"\x89PNG\r\n\x1a\n", b"a" * (MAX_BYTES + 1), "é".encode() * (MAX_BYTES // 2 + 1),
]  # fmt: skip
TEXTS = [
    *kit.texts(8, 21), "good bread", "good  bread", "Good bread", "\u200b", " padded \n", "パンは good \U0001f35e",
    " ".join(kit.texts(8, 22))[:700], "a" * MAX_BYTES, "good bread\x07, warm and fresh",
]  # fmt: skip
# Each seed gives a sequence of nights. ``make test`` runs two short sequences.
SEQUENCES = [(0, 4), (25, 4)]
MERGED_SEQUENCE = (28, 5)
LONG_SEQUENCES = [(seed, 12) for seed in range(20, 28)]


def generated(seed: int, nights: int) -> Iterator[Night]:
    """Yield nights whose documents come, change, disappear, repeat and are faulty; days are run again, out of order."""
    draw = random.Random(seed)
    texts: dict[str, str] = {}
    for number in range(1, nights + 1):
        for name in (f"d{i}" for i in range(16)):
            if name not in texts or draw.random() < 0.25:
                texts[name] = draw.choice(TEXTS)
        documents = []
        for _ in range(draw.randint(5, 30)):
            name = draw.choice(list(texts))
            documents.append(Document(name, texts[name].encode(), f"shop {number // 3}"))
            if draw.random() < 0.25:
                identifier = draw.choice([name, f"faulty {name}", None, "", " \t"])
                documents.append(Document(identifier, draw.choice([*FAULTY, b"sound"]), f"shop {number // 3}"))
        if draw.random() < 0.15:
            documents = [Document("d1", draw.choice(FAULTY), "")] * draw.randint(0, 2)
        mode = "incremental" if draw.random() < 0.5 else "full"
        yield Night(draw.choice(DAYS), documents, 1 if draw.random() < 0.75 else 2, mode)


@pytest.fixture(scope="module")
def many_classes(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, Classifier]]:
    """Return a registry with two versions of a model of six classes, and the versions, loaded."""
    registry, versions = tmp_path_factory.mktemp("registry"), {}
    for number, seed in ((1, 0), (2, 5)):
        folder = kit.make_bundle(tiny_encoder, tmp_path_factory.mktemp("bundle") / str(number), CLASSES, seed)
        Registry(str(registry)).publish(MODEL, folder)
        versions[number] = Classifier.load(folder, threads=1)
    return registry, versions


class Tables:
    """Run nights on Spark, and compare what they publish with the reference."""

    def __init__(self, folder: Path, warehouse: Path, registry: Path, versions: dict[int, Classifier]) -> None:
        self.folder, self.warehouse, self.registry, self.versions = folder, warehouse, registry, versions
        self.run_ids: dict[int, str] = {}

    def run(self, number: int, night: Night) -> ScoreResult | None:
        """Run a night; return None if it refuses to publish."""
        given = [{"id": one.identifier, "text": one.text, "shop": one.kept} for one in night.documents]
        types = {"id": pa.string(), "text": pa.binary(), "shop": pa.string()}
        source = self.folder / f"night-{number}.parquet"
        write_parquet(source, given or [dict.fromkeys(types)], **types)
        if not given:
            pa.parquet.write_table(pa.parquet.read_table(source).slice(1), source)
        changes: dict[str, Any] = {
            "score_date": night.day, "mode": night.mode, "model": f"{MODEL}@{night.version}", "source": "the-shop",
            "keep_columns": "shop", "max_bytes": MAX_BYTES, "max_quarantine_share": MAX_QUARANTINE_SHARE,
        }  # fmt: skip
        try:
            result = score(ScoreSettings(**night_settings(source, self.warehouse, self.registry, **changes)))
        except NothingToPublishError:
            return None
        self.run_ids[number] = result.run_id
        return result

    def check(self, reference: Reference) -> None:
        """Assert that both tables hold what the reference holds, in every column."""
        if not self.run_ids:
            return
        scores = rows(self.warehouse, "select * from scores")
        by_place = {(str(row["score_date"]), row["document_id"]): row for row in scores}
        assert len(by_place) == len(scores)
        wanted = {(day, name): row for day, named in reference.scores.items() for name, row in named.items()}
        assert by_place.keys() == wanted.keys()
        times: dict[int, set[Any]] = {}
        for place, row in wanted.items():
            self.check_row(by_place[place], row)
            times.setdefault(row.scored_in, set()).add(by_place[place]["scored_at"])
        # A copied score keeps its time: each night that scored has one, and they follow one another.
        assert all(len(of_a_night) == 1 for of_a_night in times.values())
        in_order = [time for _, (time,) in sorted(times.items())]
        assert in_order == sorted(set(in_order))
        found: dict[str, Counter[tuple[str | None, str]]] = {day: Counter() for day in reference.quarantine}
        for rejected in rows(self.warehouse, "select * from quarantine"):
            found[str(rejected["score_date"])][rejected["document_id"], rejected["reason"]] += 1
            assert rejected["detail"]
        assert found == reference.quarantine

    def check_row(self, found: dict[str, Any], wanted: Row) -> None:
        (expected,) = self.versions[wanted.version].predict([wanted.text])
        probabilities = found["probabilities"]
        assert set(probabilities) == set(CLASSES)
        assert np.abs(np.array([probabilities[name] for name in CLASSES]) - expected).max() < TOLERANCE
        assert (found["label"], found["score"]) == (CLASSES[int(expected.argmax())], max(probabilities.values()))
        assert found["text_sha256"] == text_sha256(wanted.text)
        assert (found["stage"], found["model"], found["model_version"]) == ("encoder", MODEL, wanted.version)
        assert (found["run_id"], found["shop"]) == (self.run_ids[wanted.night], wanted.kept)


def check_nights(nights: Iterable[Night], tables: Tables, merges: bool = False) -> None:
    """Run nights on Spark and in the reference; assert after each that both agree."""
    reference = Reference(MAX_BYTES, MAX_QUARANTINE_SHARE, merges)
    for number, night in enumerate(nights, start=1):
        expected, result = reference.run(night), tables.run(number, night)
        if expected is None or result is None:
            assert (expected is None) is (result is None), f"night {number}: one refuses, the other publishes"
        else:
            assert counts(result) | {"rows_unchanged": result.counts.rows_unchanged} == {
                name: expected[name] for name in (*COUNTS, "rows_unchanged")
            }, f"night {number}"
        tables.check(reference)


ALL_SEQUENCES = [*SEQUENCES, *(pytest.param(*one, marks=pytest.mark.acceptance) for one in LONG_SEQUENCES)]
MERGED = [MERGED_SEQUENCE, *(pytest.param(*one, marks=pytest.mark.acceptance) for one in LONG_SEQUENCES)]


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize(("seed", "nights"), MERGED)
def test_nights_that_merge_each_earlier_day_agree_with_the_reference(
    seed: int,
    nights: int,
    many_classes: tuple[Path, dict[int, Classifier]],
    warehouse: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table_history, "MOST_DAYS", 0)
    check_nights(generated(seed, nights), Tables(tmp_path, warehouse, *many_classes), merges=True)
    state = load_table(open_catalog(str(warehouse)), "scores_state")
    assert state is not None
    ids = state.scan(selected_fields=("document_id",)).to_arrow()["document_id"].to_pylist()
    assert len(ids) == len(set(ids)) > 0


@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize(("seed", "nights"), ALL_SEQUENCES)
def test_nights_agree_with_the_reference(
    seed: int, nights: int, many_classes: tuple[Path, dict[int, Classifier]], warehouse: Path, tmp_path: Path
) -> None:
    check_nights(generated(seed, nights), Tables(tmp_path, warehouse, *many_classes))


def seen_in(sequences: list[tuple[int, int]]) -> Counter[str]:
    """Return how often each case occurs in the nights of some sequences."""
    seen = Counter[str]()
    for seed, count in sequences:
        reference = Reference(MAX_BYTES, MAX_QUARANTINE_SHARE)
        for night in generated(seed, count):
            again = night.day in reference.scores
            later = any(day > night.day for day in reference.scores)
            outcome = reference.run(night)
            if outcome is None:
                seen["refused"] += 1
                continue
            seen.update({name for name, number in outcome.items() if number})
            seen.update(reason for _, reason in reference.quarantine[night.day])
            seen[f"{night.mode} of version {night.version}"] += 1
            seen["the day again"] += again
            seen["before a later day"] += later
            seen["a text of several ids"] += outcome["texts_scored"] < outcome["rows_scored"]
    return seen


REASONS = {
    "missing_id", "null_text", "empty_text", "blank_text", "not_text", "over_max_bytes", "conflicting_id",
}  # fmt: skip


def test_the_sequences_hold_every_case() -> None:
    cases = REASONS | set(COUNTS) | {"rows_unchanged", "the day again", "before a later day", "a text of several ids"}
    cases |= {"refused", "full of version 1", "incremental of version 1"}
    for sequences in (SEQUENCES, LONG_SEQUENCES):
        seen = seen_in(sequences)
        assert not {case for case in cases if not seen[case]}
        assert seen["full of version 2"] + seen["incremental of version 2"]


def test_the_reference_by_hand() -> None:
    reference = Reference(max_bytes=20, max_quarantine_share=0.5)

    def night(day: str, documents: list[tuple[str | None, bytes | None]], **changes: Any) -> Counter[str] | None:
        return reference.run(replace(Night(day, [Document(*one, kept="") for one in documents]), **changes))

    first = night("1", [("a", b"one"), ("a", b"one"), ("b", b"one"), ("c", b"two"), ("c", b"three"), ("d", None)])
    assert first == Counter(rows_in=6, rows_scored=2, rows_duplicate=1, rows_quarantined=3, texts_scored=1)
    assert reference.quarantine == {"1": Counter({("c", "conflicting_id"): 2, ("d", "null_text"): 1})}
    assert set(reference.scores["1"]) == {"a", "b"}
    assert night("2", [("a", b"one"), ("b", b"new")], mode="incremental") == Counter(
        rows_in=2, rows_scored=1, rows_reused=1, rows_unchanged=1, texts_scored=1
    )
    assert {name: row.scored_in for name, row in reference.scores["2"].items()} == {"b": 2}
    assert night("1", [("d", b"")]) is None
    assert set(reference.scores["1"]) == {"a", "b"}
    assert night("1", [("b", b"one")], version=2) == Counter(rows_in=1, rows_scored=1, texts_scored=1)
    assert {name: row.version for name, row in reference.scores["1"].items()} == {"b": 2}
    # The first version's score of "one" went with the day that was replaced.
    assert night("3", [("b", b"one"), ("e", b"new")]) == Counter(
        rows_in=2, rows_scored=1, rows_reused=1, texts_scored=1
    )
