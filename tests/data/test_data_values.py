"""The one rule by which a value becomes text."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tlnlp.data.json_lines import parse_line
from tlnlp.data.labels import LabelContract, read_labels
from tlnlp.data.values import value_text

HOUR_EAST = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("1.0", "1.0"),
        (" a ", " a "),
        (True, "true"),
        (False, "false"),
        (12, "12"),
        ((1 << 63) + 1, "9223372036854775809"),
        (12.0, "12"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (10.50, "10.5"),
        (1e22, "10000000000000000000000"),
        (2.5e-7, "0.00000025"),
        (math.nan, None),
        (-math.inf, "-Infinity"),
        (Decimal("12.00"), "12"),
        (Decimal("1E+3"), "1000"),
        (Decimal("100"), "100"),
        (Decimal("12345678901234567890123456789.50"), "12345678901234567890123456789.5"),
        (date(2026, 1, 31), "2026-01-31"),
        (datetime(2026, 1, 31, 10, 30), "2026-01-31 10:30:00"),
        (datetime(2026, 1, 31, 10, 30, 0, 250_000, HOUR_EAST), "2026-01-31 09:30:00.25"),
        (datetime(2026, 1, 31, 10, 30, tzinfo=UTC), "2026-01-31 10:30:00"),
        ({"a": [1, "é"]}, '{"a":[1,"é"]}'),
    ],
)
def test_values(value: object, text: str | None) -> None:
    assert value_text(value) == text


def test_a_number_of_json_keeps_all_digits_and_is_never_written_out_at_length() -> None:
    record = parse_line(b'{"a": 12345678901234567890.25, "b": 12.0, "c": 1e999999999, "d": 1.50}', ())[0]
    assert record is not None
    texts = {name: value_text(value) for name, value in record.items()}
    assert texts == {"a": "12345678901234567890.25", "b": "12", "c": "1E+999999999", "d": "1.5"}


def test_labels_of_all_formats_are_the_same(tmp_path: Path) -> None:
    values: dict[str, list[object]] = {
        "whole": [1.0, 2.0],
        "flag": [True, False],
        "money": [Decimal("1.50"), Decimal("2.00")],
        "day": [date(2026, 1, 31), date(2026, 2, 1)],
    }
    for name, labels in values.items():
        texts = ["warm bread", "cold soup"]
        pq.write_table(pa.table({"text": texts, "label": labels}), tmp_path / "a.parquet")
        given = [str(label) if isinstance(label, date) else label for label in labels]
        given = [float(label) if isinstance(label, Decimal) else label for label in given]
        lines = [json.dumps({"text": text, "label": label}) for text, label in zip(texts, given, strict=True)]
        (tmp_path / "a.jsonl").write_text("\n".join(lines))
        contract = LabelContract(min_per_class=0)
        found = [read_labels(str(tmp_path / file), contract).classes for file in ("a.parquet", "a.jsonl")]
        assert found[0] == found[1] == tuple(sorted(str(value_text(label)) for label in labels)), name
