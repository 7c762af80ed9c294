"""What Spark's workers make of lines: records, and for each faulty one the reason, the place and the id."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from reader_kit import csv_of, json_of

from tlnlp.data.csv_records import CsvDialect
from tlnlp.data.line_batches import LINE, SOURCE, START, WHOLE, LinePlan, parse_batches
from tlnlp.data.lines import read_lines
from tlnlp.errors import InputDataError

KEPT = ("id", "text")
Found = list[dict[str, Any]]


def parse(
    files: dict[str, bytes],
    format: str,
    columns: tuple[str, ...] = KEPT,
    places: tuple[int, ...] = (),
    **more: Any,
) -> Found:
    """Parse files as Spark's workers do: each whole, or in the splits that begin at these places."""
    dialect = more.pop("dialect", CsvDialect())
    plan = LinePlan(format, dialect, "id", "text", columns, (SOURCE,), "fault", "detail", **more)

    def batches() -> Iterator[pa.RecordBatch]:
        for name, data in files.items():
            for start, end in zip((0, *places), (*places, None), strict=True):
                lines = [line.removesuffix(b"\n") for line in read_lines(io.BytesIO(data), start, end)]
                for begin in range(0, len(lines), 7):
                    part = lines[begin : begin + 7]
                    columns = [
                        pa.array(part, pa.binary()),
                        pa.array([name] * len(part)),
                        pa.array([start if places else WHOLE] * len(part), pa.int64()),
                    ]
                    yield pa.RecordBatch.from_arrays(columns, [LINE, SOURCE, START])

    return [row for batch in parse_batches(batches(), plan) for row in batch.to_pylist()]


def faults(found: Found) -> list[tuple[str | None, str, str]]:
    return [(row["id"], row["fault"], row["detail"]) for row in found if row["fault"]]


def test_an_unclosed_quote_is_one_malformed_record_with_its_place() -> None:
    lines = [f'd{number},"warm bread {number}"\n' for number in range(30)]
    lines[3] = 'd3,"an opening quote that never closes\n'
    lines[4:] = [line.replace('"', "") for line in lines[4:]]
    found = parse({"b.csv": ("id,text\n" + "".join(lines)).encode()}, "csv")
    assert [row["id"] for row in found] == [None if number == 3 else f"d{number}" for number in range(30)]
    ((identifier, reason, detail),) = faults(found)
    assert (identifier, reason) == (None, "malformed_record")
    assert detail.startswith("row 4 (line 5): a quoted field does not end as it should")
    assert "to line 31, was read again" in detail


def test_ids_that_are_not_utf_8_stay_apart() -> None:
    rows = ["r\xe9f\xe9,good", "r\xe9f\xe8,bad", r"r\\xe9f\\xe9,plain", "1,caf\xe9"]
    for format, data in (
        ("csv", ("id,text\n" + "\n".join(rows)).encode("latin-1")),
        (
            "json",
            "\n".join(
                json.dumps(dict(zip(("id", "text"), row.split(","), strict=True)), ensure_ascii=False) for row in rows
            ).encode("latin-1"),
        ),
    ):
        found = parse({"a": data}, format)
        assert len({row["id"] for row in found}) == len(rows)
        assert found[2] == {"id": r"r\\xe9f\\xe9", "text": "plain", "fault": None, "detail": None, SOURCE: "a"}
        places = [f"row {n} (line {n + 1})" if format == "csv" else f"line {n}" for n in (1, 2, 4)]
        detail = "not UTF-8; convert the file (iconv -t UTF-8), or set the key encoding"
        assert faults(found) == [
            (r"r\xe9f\xe9", "missing_id", f"{places[0]}: {detail}"),
            (r"r\xe9f\xe8", "missing_id", f"{places[1]}: {detail}"),
            ("1", "not_text", f"{places[2]}: {detail}"),
        ]
        found = parse({"a": data}, format, encoding="latin-1")
        assert [row["id"] for row in found] == ["r\xe9f\xe9", "r\xe9f\xe8", r"r\\xe9f\\xe9", "1"]
        assert faults(found) == []


def test_a_kept_value_that_is_not_utf_8_is_a_fault() -> None:
    columns = (*KEPT, "queue")
    for format, data in (
        ("csv", b"id,text,queue\n1,good,caf\xe9\n"),
        ("json", b'{"id":"1","text":"a","queue":"\xe9"}'),
    ):
        ((identifier, reason, _),) = faults(parse({"a": data}, format, columns))
        assert (identifier, reason) == ("1", "not_text")


def test_places_in_a_split_are_counted_from_its_first_line() -> None:
    data = json_of(*['"bread"'] * 5) + b"{\n"
    place = data.index(b"\n") + 5  # In the second line, which the first split reads.
    found = parse({"a": data + json_of('"a"')}, "json", places=(place,))
    assert len(found) == 7
    ((_, _, detail),) = faults(found)
    assert detail.startswith(f"line 4, counted from the first line after byte {place} of the file: ")
    csv = csv_of(*["bread"] * 5, '"broken')
    dialect = CsvDialect(multiline=False)
    found = parse({"a": csv}, "csv", places=(30,), dialect=dialect, names=("id", "text", "label"))
    assert len(found) == 6
    ((_, reason, detail),) = faults(found)
    assert reason == "malformed_record"
    assert "counted from the first line after byte 30 of the file: a quoted field" in detail


def test_a_file_that_is_not_split_has_its_own_header() -> None:
    dialect = CsvDialect(multiline=False)
    names = ("id", "text", "label")
    files = {"a.csv": csv_of("bread"), "b.csv": b"text,label,n,id\nboots,good,7,1\n"}
    assert [row["text"] for row in parse(files, "csv", dialect=dialect, names=names)] == ["bread", "boots"]
    with pytest.raises(
        InputDataError, match=r"b\.csv: its columns are text, label, n, id, in other files id, text, label"
    ):
        parse(files, "csv", places=(20,), dialect=dialect, names=names)


@pytest.mark.parametrize(
    ("format", "data", "message"),
    [
        ("csv", csv_of("bread").decode().encode("utf-16"), "b: the file is in UTF-16"),
        ("csv", csv_of("bread").replace(b",", b";"), r"b: its fields are separated by ';'.*csv\.delimiter=;"),
        ("csv", b"sep=;\r\nid;text\r\n1;a\r\n", r"b: its first line is 'sep=;', a note for Excel.*csv\.delimiter=;"),
        ("csv", b"id,body\n1,a\n", r"b: has no column 'text' \(it has: id, body\); all files must have"),
        ("csv", b'"id"x,text\n1,a\n', "b: the quotes of line 1, the first one, do not match"),
        ("json", json_of('"bread"').decode().encode("utf-16-be"), "b: the file is in UTF-16"),
        ("json", b"[\n" + json_of('"bread"') + b"]\n", "b: the file is one JSON array"),
        ("json", b'{\n"id": "1", "text": "bread"\n}\n', "b: its objects go over several lines"),
    ],
)
def test_a_later_file_of_another_kind_is_refused_by_name(format: str, data: bytes, message: str) -> None:
    first = csv_of("bread") if format == "csv" else json_of('"bread"')
    with pytest.raises(InputDataError, match=message):
        parse({"a": first, "b": data}, format)


def test_numbers_of_any_size_and_any_nesting_end_no_batch() -> None:
    columns = (*KEPT, "any")
    values: list[tuple[str, bool]] = [
        ('"any": 1e400', True),
        ('"any": ' + "9" * 5000, True),
        ('"any": [1e400, ' + "9" * 5000 + "]", True),
    ]
    for depth in (500, 900, 950, 980, 990, 1000, 10**5):
        values.append((f'"any": {"[" * depth}{"]" * depth}', depth == 500))
    data = "".join(f'{{"id": "{number}", "text": "a", {value}}}\n' for number, (value, _) in enumerate(values))
    found = parse({"a": data.encode()}, "json", columns)
    assert len(found) == len(values)
    for row, (value, is_sound) in zip(found, values, strict=True):
        # Depths near the limit of Python's stack may go either way; no batch ends.
        assert (row["fault"] is None) == is_sound or "[[" in value, value[:30]
    assert found[1]["any"] == "9" * 5000


def test_an_id_may_be_a_number_of_any_size() -> None:
    found = parse({"a": b'{"id": 1e400, "text": "a"}\n{"id": ' + b"9" * 5000 + b', "text": "a"}\n'}, "json")
    assert [row["id"] for row in found] == ["1" + "0" * 400, "9" * 5000]
    assert faults(found) == []


def test_a_repeated_key_is_found_in_an_object_of_many_keys() -> None:
    many = ", ".join(f'"k{number}": 1' for number in range(50_000))
    found = parse({"a": f'{{"id": "1", {many}, "k1": 2, "text": "a", "text": "b"}}\n'.encode()}, "json")
    assert found[0]["detail"] == "line 1: the line has the key 'text' twice; remove one"
