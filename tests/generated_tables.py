"""Random tables, and the files that several writers make of each: the readers have to find the same rows in all.

A table has ids, texts, labels and a number to be kept. It is written in one of three formats by one of several
libraries, compressed or not, as one file or as a folder of files, with columns that nobody asks for.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kit
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from hypothesis import strategies as st

from tlnlp.data.text import MAX_CHARS, model_text_sha256

COLUMNS = ("id", "text", "label", "price")
# What has a meaning in some format: as a value of a text column, it is a text like any other.
ODD = [
    *('"', '""', ",", "\n", "\r\n", "\r", "\t", "\\", "\\n", "'", ";", "#", "\ufeff", "\u2028", "\x85", "\x00"),
    *("null", "NaN", "NA", "None", "true", "007", "1.0", "1e5", "[a]1", "{}", '{"a": 1}', "=1+1", "-", "\U0001f600"),
]
CODECS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda data: bytes(pa.compress(data, codec="zstd", asbytes=True)),
}


@dataclass(frozen=True)
class Row:
    """One row of a table. ``text`` may be null, blank, or hold characters that no text has."""

    id: str | int
    text: str | None
    label: str | bool | int
    price: float | int | None


@dataclass(frozen=True)
class Table:
    """Rows, and how they are written.

    Fields:
        writer: a key of ``WRITERS``.
        codec: a key of ``CODECS`` for lines; a codec of Parquet's own.
        files: the names of the files; each has a part of the rows.
        columns: the names of the columns, in the order of the files.
        options: of the writer.
    """

    rows: tuple[Row, ...]
    writer: str
    codec: str
    files: tuple[str, ...]
    columns: tuple[str, ...]
    options: dict[str, Any]

    @property
    def format(self) -> str:
        """Return the format of the files."""
        return self.writer.partition(" ")[0]

    def write(self, folder: Path) -> Path:
        """Write the files; return the path that a reader is given."""
        count = len(self.files)
        for number, name in enumerate(self.files):
            data = WRITERS[self.writer](self.rows[number::count], self.columns, self.options | {"codec": self.codec})
            path = folder / (name + self.ending)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if self.format == "parquet" else CODECS[self.codec](data))
        return folder / (self.files[0] + self.ending) if self.files == ("one",) else folder

    @property
    def ending(self) -> str:
        """Return the ending of the files' names."""
        return {"parquet": ".parquet", "json": ".jsonl", "csv": ".csv"}[self.format] + (
            "" if self.format == "parquet" else self.codec
        )


# --- the writers: rows, the columns in their order, and options; each returns the bytes of a file

Writer = Callable[[Sequence[Row], Sequence[str], dict[str, Any]], bytes]


def _values(rows: Sequence[Row], column: str) -> list[Any]:
    if column == "other":
        return [[number, None] for number in range(len(rows))]  # Nobody asks for this column.
    return [getattr(row, column) for row in rows]


def _records(rows: Sequence[Row], columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(_values(rows, column) for column in columns), strict=True)


def _frame(rows: Sequence[Row], columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({column: _values(rows, column) for column in columns})


def _parquet_of_arrow(rows: Sequence[Row], columns: Sequence[str], options: dict[str, Any]) -> bytes:
    types = {"price": pa.float64(), "text": options["text_type"]}
    table = pa.table({name: pa.array(_values(rows, name), types.get(name)) for name in columns})
    if options["dictionary"]:
        table = table.set_column(columns.index("text"), "text", table["text"].dictionary_encode())
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink, compression=options["codec"], row_group_size=options["row_group"])
    return sink.getvalue()


def _parquet_of_pandas(rows: Sequence[Row], columns: Sequence[str], options: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    _frame(rows, columns).to_parquet(sink, compression=options["codec"], index=options["index"])
    return sink.getvalue()


def _json_of_python(rows: Sequence[Row], columns: Sequence[str], options: dict[str, Any]) -> bytes:
    objects = [dict(zip(columns, values, strict=True)) for values in _records(rows, columns)]
    if options["sparse"]:  # A key that is null may be absent, but for the first object of a file.
        objects = [objects[0], *({k: v for k, v in one.items() if v is not None} for one in objects[1:])]
    lines = [json.dumps(one, ensure_ascii=options["ascii"]) + options["line"] for one in objects]
    return "".join(lines).encode()


def _json_of_pandas(rows: Sequence[Row], columns: Sequence[str], options: dict[str, Any]) -> bytes:
    text = _frame(rows, columns).to_json(orient="records", lines=True, force_ascii=options["ascii"])
    return str(text).encode()


def _csv_of_python(rows: Sequence[Row], columns: Sequence[str], options: dict[str, Any]) -> bytes:
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, quoting=options["quoting"], lineterminator=options["line"])
    writer.writerow(columns)
    writer.writerows(_records(rows, columns))
    return sink.getvalue().encode(options["utf8"])


def _csv_of_pandas(rows: Sequence[Row], columns: Sequence[str], options: dict[str, Any]) -> bytes:
    sink = io.StringIO(newline="")
    _frame(rows, columns).to_csv(
        sink, index=options["index"], quoting=options["quoting"], lineterminator=options["line"]
    )
    return sink.getvalue().encode(options["utf8"])


def _csv_of_arrow(rows: Sequence[Row], columns: Sequence[str], options: dict[str, Any]) -> bytes:
    flat = [column for column in columns if column != "other"]  # Arrow writes no lists.
    types = {"price": pa.float64(), "text": pa.string()}
    table = pa.table({name: pa.array(_values(rows, name), types.get(name)) for name in flat})
    sink = io.BytesIO()
    pyarrow.csv.write_csv(table, sink)
    return sink.getvalue()


WRITERS: dict[str, Writer] = {
    "parquet by pyarrow": _parquet_of_arrow,
    "parquet by pandas": _parquet_of_pandas,
    "json by json": _json_of_python,
    "json by pandas": _json_of_pandas,
    "csv by csv": _csv_of_python,
    "csv by pandas": _csv_of_pandas,
    "csv by pyarrow": _csv_of_arrow,
}

# --- the tables

LAYOUTS: list[tuple[str, ...]] = [
    ("one",),
    ("part-0", "part-1"),
    ("part-0", "deep/er/part-0", "deep/part-1"),
    ("day=2026-01-31/part-0", "day=2026-02-01/part-0"),
    ("with space/a+b", "with space/ü%41"),
]
_characters = st.characters(exclude_categories=["Cs"])
_plain = st.text(st.one_of(st.sampled_from("ab <br/>"), _characters), max_size=12)
_texts = st.lists(st.one_of(st.sampled_from(ODD), _plain), min_size=1, max_size=5).map("".join)
_labels: st.SearchStrategy[tuple[str | bool | int, ...]] = st.sampled_from(
    [("good", "bad"), (True, False), (0, 1), ("01", "1e5", "sehr, gut"), ("yes", "no", "N/A")]
)
# Pandas writes at most ten digits after the point to JSON.
_prices = st.one_of(st.none(), st.integers(-(10**6), 10**6).map(lambda cents: cents / 100))


@st.composite
def _rows(draw: st.DrawFn) -> tuple[Row, ...]:
    names = draw(_labels)
    count = draw(st.integers(2, 8))
    # A column of texts that is null in each row has no type in some formats, and is refused.
    bodies = [draw(_texts), *draw(st.lists(st.one_of(st.none(), _texts), min_size=count - 1, max_size=count - 1))]
    by_number = draw(st.booleans())
    ids = draw(st.lists(_texts, min_size=count, max_size=count))
    rows = []
    for number, (identifier, body) in enumerate(zip(ids, bodies, strict=True)):
        # A number keeps the texts apart. In front, in the middle or at the end, it hides no odd character for long.
        text = (
            body
            if body is None or not body.strip()
            else draw(st.sampled_from([f"{body}#{number}", f"{number}#{body}"]))
        )
        own: str | int = number * 7 - 3 if by_number else f"{identifier}-{number}"
        rows.append(Row(own, text, draw(st.sampled_from(names)), draw(_prices)))
    return tuple(rows)


def _is_ambiguous(rows: Sequence[Row], column: str, options: dict[str, Any]) -> bool:
    """Return whether a value that is not quoted ends in a carriage return, so that it looks like the end of a line."""
    values = [getattr(row, column, None) for row in rows]
    return options["line"] == "\n" and any(isinstance(value, str) and value.endswith("\r") for value in values)


def are_distinct(rows: Sequence[Row]) -> bool:
    """Return whether no two rows have texts that a model reads alike."""
    digests = [model_text_sha256(row.text, MAX_CHARS) for row in rows if row.text is not None and row.text.strip()]
    return len(set(digests)) == len(digests)


@st.composite
def tables(draw: st.DrawFn, writer: str) -> Table:
    """Draw a table of two to eight rows, and how this writer writes it."""
    rows = draw(_rows().filter(are_distinct))
    is_parquet = writer.startswith("parquet")
    of_lines = [codec for codec in sorted(CODECS) if codec != ".zst" or kit.spark_unpacks_zstd()]
    codec = draw(st.sampled_from(["none", "snappy", "gzip", "zstd"] if is_parquet else of_lines))
    files = draw(st.sampled_from([layout for layout in LAYOUTS if len(layout) <= len(rows)]))
    columns = draw(st.permutations([*COLUMNS, *draw(st.sampled_from([[], ["other"]]))]))
    options = {
        "text_type": draw(st.sampled_from([pa.string(), pa.large_string()])),
        "dictionary": draw(st.booleans()),
        "row_group": draw(st.sampled_from([1, 3, 1000])),
        "index": draw(st.booleans()),
        "sparse": draw(st.booleans()),
        "ascii": draw(st.booleans()),
        "line": draw(st.sampled_from(["\n", "\r\n"])),
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])),
        "utf8": draw(st.sampled_from(["utf-8", "utf-8-sig"])),
    }
    if writer.startswith("csv") and _is_ambiguous(rows, columns[-1], options):
        options |= {"line": "\r\n"}
    return Table(rows, writer, codec, files, tuple(columns), options)
