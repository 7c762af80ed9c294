"""The audit of staged files: every fault is found, and memory stays bounded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from warehouse_helpers import DAY, LABELS, score_row, write_rows

from tlnlp.errors import EngineError, NotFoundError
from tlnlp.warehouse.audit import audit_quarantine, audit_scores, footer_rows
from tlnlp.warehouse.schema import QUARANTINE, SCORES, Column, arrow_schema


def audit(files: list[str], expected_rows: int, kept: tuple[Column, ...] = ()) -> int:
    return audit_scores(files, kept=kept, labels=LABELS, score_date=DAY, run_id="r1", expected_rows=expected_rows)


def test_good_files_pass_whatever_the_order_of_labels(warehouse: Path) -> None:
    kept = (Column("item", "string"), Column("seen", "timestamp"))
    rows = [score_row(number, "r1", item="i") for number in range(30)]
    for row in rows[::2]:
        row["probabilities"] = row["probabilities"][::-1]
    rows.append(score_row(5, "r1", label="negative", score=0.5))  # for a tie either label is right
    files = [write_rows(warehouse, "r1", part, [*SCORES, *kept]) for part in (rows[:20], rows[20:])]
    assert audit(files, 31, kept) == 31
    assert footer_rows(files) == 31
    assert audit([], 0) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": None}, "label is null in 1 row;"),
        ({"scored_at": None}, "scored_at is null in 1 row;"),
        ({"probabilities": None}, "probabilities is null in 1 row;"),
        ({"label": "neutral"}, "label is not one of the model's 2 labels in 1 row;"),
        ({"probabilities": [("negative", 1.0)]}, "keys of probabilities are not exactly the model's 2 labels"),
        (
            {"probabilities": [("negative", 0.5), ("neutral", 0.5)]},
            "keys of probabilities are not exactly the model's 2 labels",
        ),
        (
            {"probabilities": [("negative", 0.5), ("negative", 0.5)]},
            "keys of probabilities are not exactly the model's 2 labels",
        ),
        (
            {"probabilities": [("negative", 1.0), ("positive", None)]},
            "keys of probabilities are not exactly the model's 2 labels",
        ),
        ({"probabilities": [("negative", 0.8), ("positive", 0.3)], "score": 0.8}, "do not sum to 1 in 1 row;"),
        ({"probabilities": [("negative", 1.1), ("positive", -0.1)], "score": 1.1}, r"outside \[0, 1\] in 1 row;"),
        ({"probabilities": [("negative", float("nan")), ("positive", 0.5)]}, r"probability is outside \[0, 1\]"),
        ({"score": 1.5}, r"score is outside \[0, 1\] in 1 row;"),
        ({"score": float("nan")}, r"score is outside \[0, 1\] in 1 row;"),
        ({"score": 0.7}, "score is not the probability of the label in 1 row;"),
        ({"label": "positive", "score": 0.0}, "label is not the most probable in 1 row;"),
        ({"score_date": DAY.replace(day=1)}, "score_date is not 2026-11-23 in 1 row;"),
        ({"run_id": "r2"}, "run_id is not r1 in 1 row;"),
    ],
)
def test_each_fault_of_a_row_is_found(warehouse: Path, changes: dict[str, Any], message: str) -> None:
    rows = [score_row(number, "r1") for number in range(20)]
    rows[10] |= changes
    good = write_rows(warehouse, "r1", rows[:10])
    bad = write_rows(warehouse, "r1", rows[10:])
    with pytest.raises(EngineError, match=message) as raised:
        audit([good, bad], 20)
    assert bad in str(raised.value)


def test_rows_by_footers_must_be_what_was_counted(warehouse: Path) -> None:
    files = [write_rows(warehouse, "r1", [score_row(1, "r1")])]
    with pytest.raises(EngineError, match="1 staged file with 1 row in all, but 2 were counted"):
        audit(files, 2)
    with pytest.raises(NotFoundError):
        footer_rows([files[0] + ".absent"])


def test_columns_and_types_must_be_those_of_the_contract(warehouse: Path) -> None:
    row = score_row(1, "r1")
    plain = arrow_schema(SCORES)
    version = plain.get_field_index("model_version")
    at = plain.get_field_index("scored_at")
    cases: list[tuple[pa.Schema, dict[str, Any], str]] = [
        (plain.remove(version), {}, "column model_version is missing"),
        (plain.set(version, pa.field("model_version", pa.int32())), {}, "model_version is int, not long"),
        (plain.set(at, pa.field("scored_at", pa.timestamp("us"))), {}, r"scored_at is timestamp\[us\], not timestamp"),
        (plain.append(pa.field("item", pa.string())), {}, "column item is not a column of this table"),
        (plain, {"use_deprecated_int96_timestamps": True}, "scored_at: INT96"),
    ]
    for schema, options, message in cases:
        file = write_rows(warehouse, "r1", [row], schema=schema, **options)
        with pytest.raises(EngineError, match=message):
            audit([file], 1)
    with pytest.raises(EngineError, match="column stars is missing"):
        audit([write_rows(warehouse, "r1", [row])], 1, (Column("stars", "int"),))


def test_quarantine_is_audited_by_the_same_rules(warehouse: Path) -> None:
    row = {"document_id": None, "reason": "null_text", "detail": "", "source": "", "run_id": "r1", "score_date": DAY}
    good = write_rows(warehouse, "r1", [row], QUARANTINE)
    assert audit_quarantine([good], score_date=DAY, run_id="r1", expected_rows=1) == 1
    bad = write_rows(warehouse, "r1", [row | {"reason": None}], QUARANTINE)
    with pytest.raises(EngineError, match="reason is null"):
        audit_quarantine([bad], score_date=DAY, run_id="r1", expected_rows=1)


def test_memory_does_not_grow_with_rows(warehouse: Path) -> None:
    rows = [score_row(number, "r1") for number in range(20_000)]
    small = [write_rows(warehouse, "r1", rows, row_group_size=10_000)]
    large = small * 12
    code = """if True:
        import datetime, json, resource, sys
        from tlnlp.warehouse.audit import audit_scores
        files = json.loads(sys.argv[1])
        day = datetime.date(2026, 11, 23)
        audit_scores(files, kept=(), labels=("negative", "positive"), score_date=day, run_id="r1",
                     expected_rows=20_000 * len(files))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"""
    peaks = [
        int(subprocess.run([sys.executable, "-c", code, json.dumps(files)], capture_output=True, check=True).stdout)
        for files in (small, large)
    ]
    assert peaks[1] < peaks[0] + 32 * 1024  # KiB; the large set has 220,000 rows more, over 60 MiB
