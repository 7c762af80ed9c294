"""Splitting CSV into records: whatever the quotes are like, each line belongs to a record, and none vanishes."""

from __future__ import annotations

import csv
import random
from typing import Any

import pytest

from tlnlp.data import csv_records
from tlnlp.data.csv_records import CsvDialect, CsvRecord, CsvRecords


def records(text: str, **keys: Any) -> list[CsvRecord]:
    found = CsvRecords(text.encode().splitlines(keepends=True), CsvDialect(**keys))
    found.width = 2
    return list(found)


@pytest.mark.parametrize("keys", [{}, {"escape": ""}, {"escape": "\\"}], ids=str)
def test_one_unclosed_quote_costs_one_record(keys: dict[str, str]) -> None:
    generator = random.Random(0)
    inside = {"": [], "\\": [r'"a \"b\" c"', r'"c:\\"']}.get(keys.get("escape", '"'), ['"a ""b"" c"', '"""b"""'])
    fields = ["bread", '"bread"', '"a, b"', '""', '"x,"', *inside]
    for _ in range(1500):
        count = generator.randint(2, 8)
        lines = [f"{number},{generator.choice(fields)}\n" for number in range(count)]
        broken = generator.randrange(count)
        lines[broken] = generator.choice([f'{broken},"open\n', f'"{broken},open\n'])
        found = records("".join(lines), **keys)
        assert [record.line for record in found] == list(range(1, count + 1)), lines
        assert [record.problem is None for record in found] == [number != broken for number in range(count)], lines


def test_the_problem_says_what_was_read_again() -> None:
    first, second, third = records('1,"open\n2,bread\n3,boots\n')
    assert (first.line, first.fields) == (1, None)
    assert str(first.problem).endswith("; what stands below it, to line 3, was read again as records of their own")
    assert [second.fields, third.fields] == [["2", "bread"], ["3", "boots"]]


def test_lines_of_a_broken_text_are_records_only_if_they_are_strictly_so() -> None:
    found = records('1,"dear team,\nthe "best" bread, warm\nthe ferry, late\nbye"\n2,boots\n')
    # A line without quotes and with the right number of fields looks like a record.
    assert [(record.line, record.problem is None) for record in found] == [
        (1, False),
        (2, False),
        (3, True),
        (4, False),
        (5, True),
    ]


def test_a_field_over_the_limit_is_one_malformed_record(monkeypatch: pytest.MonkeyPatch) -> None:
    assert csv_records.FIELD_CHARS >= 10_000_000
    before = csv.field_size_limit()
    records("1,a\n")
    assert csv.field_size_limit() >= csv_records.FIELD_CHARS
    monkeypatch.setattr(csv_records, "FIELD_CHARS", 0)
    csv.field_size_limit(1000)
    try:
        found = records(f'1,{"x" * 2000}\n2,bread\n3,"open\n' + "4,boots\n" * 500)
    finally:
        csv.field_size_limit(before)
    assert len(found) == 503
    assert [record.line for record in found if record.problem] == [1, 3]
    assert "characters" in str(found[0].problem)


def test_a_field_of_ten_megabytes_is_read() -> None:
    (found,) = records(f'1,"{"bread " * 1_700_000}"\n')
    assert found.problem is None
