"""Which rows are scored, copied or left out: a day run again, the next day, and the incremental mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from score_kit import DAY, MODEL, NEXT_DAY, counts, documents, ledger, live_runs, night, positives, rows, write_parquet

from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.tables import load_table

pytestmark = pytest.mark.usefixtures("spark")


def changed(original: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the next day: d0 and d1 removed, new texts in d2 and d3, d5's text in d4, and two new documents."""
    edited = {"d2": "a new text about bread", "d3": "another new text", "d4": original[5]["text"]}
    remaining = [row | {"text": edited.get(row["id"], row["text"])} for row in original[2:]]
    return [*remaining, {"id": "new1", "text": "a third new text"}, {"id": "new2", "text": original[0]["text"]}]


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return write_parquet(tmp_path / "first.parquet", documents(12))


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return write_parquet(tmp_path / "second.parquet", changed(documents(12)))


def outcome(result: Any) -> tuple[int, ...]:
    """Return how many rows the night has read, scored, reused and published."""
    values = counts(result)
    return values["rows_in"], values["rows_scored"], values["rows_reused"], result.counts.rows_published


def test_a_day_again_and_the_next_one_in_full(registry: Path, warehouse: Path, first: Path, second: Path) -> None:
    shared = {"source": "the-shop"}
    assert outcome(night(first, warehouse, registry, **shared)) == (12, 12, 0, 12)
    scores = positives(warehouse)
    when = rows(warehouse, "select document_id, scored_at from scores order by 1")
    again = night(first, warehouse, registry, **shared)
    assert outcome(again) == (12, 0, 12, 12)
    assert positives(warehouse) == scores
    assert rows(warehouse, "select document_id, scored_at from scores order by 1") == when
    assert rows(warehouse, "select distinct run_id from scores") == [{"run_id": again.run_id}]
    assert rows(warehouse, "select count(*) n from history where current and \"table\" = 'scores'") == [{"n": 1}]

    following = night(second, warehouse, registry, score_date=NEXT_DAY, **shared)
    assert outcome(following) == (12, 3, 9, 12)
    assert following.counts.texts_scored == 3
    both = positives(warehouse, NEXT_DAY)
    assert set(both) == {row["id"] for row in changed(documents(12))}
    assert both["new2"] == scores["d0"]
    assert both["d4"] == scores["d5"]
    assert both["d2"] != scores["d2"]
    assert positives(warehouse) == scores

    newer = night(second, warehouse, registry, score_date=NEXT_DAY, model=f"{MODEL}@2", **shared)
    assert outcome(newer) == (12, 12, 0, 12)
    assert newer.counts.texts_scored == 11
    assert rows(warehouse, f"select distinct model_version v from scores where score_date='{NEXT_DAY}'") == [{"v": 2}]
    assert max(abs(positives(warehouse, NEXT_DAY)[name] - both[name]) for name in both) > 0.01
    # The first day still has the scores of version 1, which are copied.
    assert outcome(night(first, warehouse, registry, **shared)) == (12, 0, 12, 12)
    prepared = [path for run in live_runs(warehouse) for path in (warehouse / "runs" / run).glob("prepared*")]
    assert prepared == []


def test_the_incremental_mode_holds_what_is_new_or_changed(
    registry: Path, warehouse: Path, first: Path, second: Path
) -> None:
    shared = {"source": "the-shop", "mode": "incremental"}
    assert outcome(night(first, warehouse, registry, **shared)) == (12, 12, 0, 12)
    scores = positives(warehouse)
    # Seven documents are unchanged. Of the other five, two have texts that were scored before.
    step = night(second, warehouse, registry, score_date=NEXT_DAY, **shared)
    assert outcome(step) == (12, 3, 9, 5)
    assert step.counts.rows_unchanged == 7
    shown = step.facts()
    assert shown["rows_reused"] == "9 (2 copied into this day, 7 unchanged since an earlier day, which keeps them)"
    assert "rows_unchanged" not in shown
    assert ledger(warehouse, step.run_id)["counts"]["rows_unchanged"] == 7
    day = positives(warehouse, NEXT_DAY)
    assert set(day) == {"d2", "d3", "d4", "new1", "new2"}
    assert day["new2"] == scores["d0"]
    assert outcome(night(second, warehouse, registry, score_date=NEXT_DAY, **shared)) == (12, 0, 12, 5)
    assert positives(warehouse, NEXT_DAY) == day
    # A day without new or changed documents is published without rows, and the earlier days do not change.
    idle = night(second, warehouse, registry, score_date="2026-11-25", **shared)
    assert outcome(idle) == (12, 0, 12, 0)
    assert positives(warehouse, "2026-11-25") == {}
    assert positives(warehouse) == scores
    # A text that is changed back counts as changed, because only the latest text is compared.
    back = night(first, warehouse, registry, score_date="2026-11-26", **shared)
    assert set(positives(warehouse, "2026-11-26")) == {"d2", "d3", "d4"}
    assert outcome(back) == (12, 0, 12, 3)
    # A new run of the first day is not compared with later days.
    assert outcome(night(first, warehouse, registry, **shared)) == (12, 0, 12, 12)


def test_the_counts_are_in_the_snapshot(registry: Path, warehouse: Path, first: Path) -> None:
    result = night(first, warehouse, registry)
    assert result.facts() == {
        key: value for key, value in result.to_json().items() if key not in ("rows_unchanged", "drift")
    }
    table = load_table(open_catalog(str(warehouse)), "scores")
    assert table is not None
    snapshot = table.current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    summary = snapshot.summary.additional_properties
    for name, count in counts(result).items():
        assert summary["tlnlp." + name.replace("_", "-")] == str(count)
    names = ("run-id", "model-version", "score-date")
    assert [summary[f"tlnlp.{name}"] for name in names] == [result.run_id, "1", DAY]
    assert (summary["tlnlp.mode"], summary["tlnlp.model"]) == ("full", MODEL)
    assert result.snapshot_id == snapshot.snapshot_id


def test_a_score_of_another_engine_is_not_copied(registry: Path, warehouse: Path, first: Path) -> None:
    assert outcome(night(first, warehouse, registry)) == (12, 12, 0, 12)
    scores = positives(warehouse)
    other = night(first, warehouse, registry, engine="ctranslate2-int8")
    assert outcome(other) == (12, 12, 0, 12)
    int8 = positives(warehouse)
    assert 0 < max(abs(int8[name] - scores[name]) for name in scores) < 0.05
    (row,) = rows(warehouse, "select distinct scored_by s from scores")
    assert row["s"].startswith("ctranslate2-int8@")
    results = ledger(warehouse, other.run_id)["results"]
    assert (results["profile"], results["scored_by"]) == ("ctranslate2-int8", row["s"])
    assert outcome(night(first, warehouse, registry, engine="ctranslate2-int8")) == (12, 0, 12, 12)
    assert positives(warehouse) == int8
    assert outcome(night(first, warehouse, registry)) == (12, 12, 0, 12)
    assert positives(warehouse) == scores


def test_the_incremental_mode_holds_documents_whose_kept_values_have_changed(
    registry: Path, warehouse: Path, tmp_path: Path
) -> None:
    shared = {"source": "the-shop", "mode": "incremental", "keep_columns": "shop"}
    given = [row | {"shop": "north" if number else None} for number, row in enumerate(documents(6))]
    night(write_parquet(tmp_path / "1.parquet", given), warehouse, registry, **shared)
    scores = positives(warehouse)
    moved = [row | ({"shop": "south"} if row["id"] == "d3" else {}) for row in given]
    step = night(write_parquet(tmp_path / "2.parquet", moved), warehouse, registry, score_date=NEXT_DAY, **shared)
    assert outcome(step) == (6, 0, 6, 1)
    day = f"select document_id, shop from scores where score_date = '{NEXT_DAY}'"
    assert rows(warehouse, day) == [{"document_id": "d3", "shop": "south"}]
    assert positives(warehouse, NEXT_DAY) == {"d3": scores["d3"]}
    # A column that is new to the table is a change of each document that has a value there.
    wider = [row | {"stars": 5 if row["id"] in ("d0", "d1") else None} for row in moved]
    shared |= {"keep_columns": "shop,stars", "score_date": "2026-11-25"}
    assert outcome(night(write_parquet(tmp_path / "3.parquet", wider), warehouse, registry, **shared)) == (6, 0, 6, 2)
