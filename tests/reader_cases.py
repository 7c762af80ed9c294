"""Small inputs, and what every reader makes of them: labels, unlabelled documents, and documents in Spark.

A case is a folder of files, or one file, with the columns ``id``, ``text`` and ``label``. What a reader has to find is
a list of rows, each a text or the kind of its fault.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# Kinds of fault, of a row and of the input as a whole.
MALFORMED, NOT_TEXT, NO_TEXT, ENCODING = "<malformed>", "<not text>", "<no text>", "<encoding>"
REFUSED, DAMAGED = "<refused>", "<damaged>"
ROW_FAULTS = (MALFORMED, NOT_TEXT, NO_TEXT, ENCODING)


@dataclass(frozen=True)
class Case:
    """One input.

    Fields:
        name: what is special about it.
        files: the bytes of the files by their names. One file without a folder is read by its own path.
        rows: the texts and the kinds of fault, of all rows; sorted before they are compared.
        settings: ``format`` and keys of ``csv``, where they are not the defaults.
        spark: what Spark finds, where it must refuse the whole input instead; None: the same.
        columns: names of the columns of id, text and label.
    """

    name: str
    files: dict[str, bytes]
    rows: list[str]
    csv: dict[str, Any] = field(default_factory=dict)
    format: str = "auto"
    spark: str | None = None
    columns: tuple[str, str, str] = ("id", "text", "label")

    def write(self, folder: Path) -> Path:
        """Write the files; return the path that a reader is given."""
        for name, data in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        alone = next(iter(self.files))
        return folder / alone if len(self.files) == 1 and "/" not in alone else folder


def csv_of(*texts: str) -> bytes:
    """Return a CSV file with these fields of text, as they are to stand in it."""
    return ("id,text,label\n" + "".join(f"{n},{text},good\n" for n, text in enumerate(texts))).encode()


def json_of(*texts: str) -> bytes:
    """Return JSON Lines with these values of ``text``, as they are to stand in it."""
    return "".join(f'{{"id": "{n}", "text": {text}, "label": "good"}}\n' for n, text in enumerate(texts)).encode()


def parquet_of(texts: pa.Array) -> bytes:
    """Return a Parquet file with this column of texts."""
    sink = io.BytesIO()
    ids = pa.array([str(n) for n in range(len(texts))])
    pq.write_table(pa.table({"id": ids, "text": texts, "label": ["good"] * len(texts)}), sink)
    return sink.getvalue()


def one(name: str, file: str, data: bytes, *rows: str, **more: Any) -> Case:
    """Return a case of one file."""
    return Case(name, {file: data}, list(rows), **more)


def _zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


CODECS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".zst": _zstd}
PLAIN = ["warm bread", "the ferry, late\nagain", 'a "quiet" night']
PLAIN_CSV = csv_of("warm bread", '"the ferry, late\nagain"', '"a ""quiet"" night"')
PLAIN_JSON = json_of(*map(json.dumps, PLAIN))
PLAIN_PARQUET = parquet_of(pa.array(PLAIN))
BROKEN = pa.array([b"bread", b"caf\xe9"]).view(pa.string())

FORMATS = [
    *[one(f"csv{end}", f"a.csv{end}", pack(PLAIN_CSV), *PLAIN) for end, pack in CODECS.items()],
    *[one(f"json{end}", f"a.jsonl{end}", pack(PLAIN_JSON), *PLAIN) for end, pack in CODECS.items()],
    one("parquet", "a.parquet", PLAIN_PARQUET, *PLAIN),
    one("truncated gzip", "a.csv.gz", gzip.compress(PLAIN_CSV * 50)[:-20], DAMAGED, spark=REFUSED),
    one("truncated parquet", "a.parquet", PLAIN_PARQUET[:-20], DAMAGED, spark=REFUSED),
    one("empty csv", "a.csv", b"", DAMAGED, spark=REFUSED),
    one("empty json", "a.jsonl", b"", DAMAGED, spark=REFUSED),
    one("csv of a header alone", "a.csv", b"id,text,label\n"),
    one("capital endings", "A.CSV", PLAIN_CSV, *PLAIN),
    one("format that the name does not show", "a.txt", PLAIN_JSON, *PLAIN, format="json"),
    one("a column is missing", "a.csv", b"id,body,label\n1,bread,good\n", REFUSED),
    one("a column twice", "a.csv", b"id,text,text,label\n1,bread,boots,good\n", REFUSED),
]

CSV = [
    one("byte order mark", "a.csv", b"\xef\xbb\xbf" + csv_of("bread"), "bread"),
    one("crlf", "a.csv", csv_of("bread", '"two\nlines"').replace(b"\n", b"\r\n"), "bread", "two\r\nlines"),
    one("carriage returns alone", "a.csv", csv_of("bread", "boots").replace(b"\n", b"\r"), "bread", "boots"),
    one("blank lines", "a.csv", b"\n" + csv_of("bread", "boots").replace(b"\n", b"\n\n"), "bread", "boots"),
    one("blank lines in quotes", "a.csv", csv_of('"two\n\n\nlines"'), "two\n\n\nlines"),
    one("no end of the last line", "a.csv", csv_of("bread").rstrip(b"\n"), "bread"),
    one(
        "line breaks not allowed",
        "a.csv",
        csv_of("bread", '"two\nlines"', "boots"),
        "bread",
        MALFORMED,
        MALFORMED,
        "boots",
        csv={"multiline": False},
    ),
    one("lines, each a record", "a.csv", csv_of("bread", '"a, b"'), "bread", "a, b", csv={"multiline": False}),
    one(
        "semicolon",
        "a.csv",
        b"id;text;label\n1;a,b;good\n2;'c;d';good\n",
        "a,b",
        "c;d",
        csv={"delimiter": ";", "quote": "'", "escape": "'"},
    ),
    one("tab", "a.csv", b"id\ttext\tlabel\n1\ta,b\tgood\n", "a,b", csv={"delimiter": "\\t"}),
    one(
        "backslash before a quote",
        "a.csv",
        csv_of(r'"a \"b\" c"', r'"C:\temp \\ \n"', r"C:\\temp", '"end\\\\"'),
        'a "b" c',
        r"C:\temp \ \n",
        r"C:\\temp",
        "end\\",
        csv={"escape": "\\"},
    ),
    one(
        "backslash and line break",
        "a.csv",
        csv_of('"a\\\nb \\" c"', "boots"),
        'a\\\nb " c',
        "boots",
        csv={"escape": "\\"},
    ),
    one("no quotes at all", "a.csv", csv_of('"bread"', 'a "b'), '"bread"', 'a "b', csv={"quote": "", "escape": ""}),
    one("quotes inside an unquoted field", "a.csv", csv_of('6" nails'), '6" nails'),
    one("text after a closing quote", "a.csv", csv_of('"bread" crumbs', "boots"), MALFORMED, "boots"),
    one("unclosed quote, closed by another row", "a.csv", csv_of('"bread', '"boots"', "ferry"), MALFORMED, "ferry"),
    one("unclosed quote to the end", "a.csv", csv_of("bread", '"boots', "ferry"), "bread", MALFORMED),
    one(
        "no header",
        "a.csv",
        b"1,bread,good\n2,boots,good\n",
        "bread",
        "boots",
        csv={"header": False},
        columns=("_c0", "_c1", "_c2"),
    ),
    one("too few fields", "a.csv", b"id,text,label\n1,bread\n2,boots,good\n", MALFORMED, "boots"),
    one("too many fields", "a.csv", b"id,text,label\n1,bread,good,x\n2,boots,good\n", MALFORMED, "boots"),
    one(
        "wrong encoding", "a.csv", b"id,text,label\n1,caf\xe9 au lait and more,good\n2,boots,good\n", ENCODING, "boots"
    ),
    one("no text", "a.csv", csv_of("", '""', "  ", "boots"), NO_TEXT, NO_TEXT, NO_TEXT, "boots"),
    one("numbers are text", "a.csv", csv_of("12", "1.50", "NA", "null"), "12", "1.50", "NA", "null"),
    one("spaces around a field", "a.csv", csv_of("  bread ", ' "boots"'), "  bread ", ' "boots"'),
]

JSON = [
    one("byte order mark", "a.jsonl", b"\xef\xbb\xbf" + json_of('"bread"'), "bread"),
    one(
        "crlf and blank lines", "a.jsonl", json_of('"bread"', '"boots"').replace(b"\n", b"\r\n \r\n"), "bread", "boots"
    ),
    one(
        "other types",
        "a.jsonl",
        json_of("12", "true", "null", '{"a": 1}', "[1]", "NaN", '"bread"'),
        NOT_TEXT,
        NOT_TEXT,
        NO_TEXT,
        NOT_TEXT,
        NOT_TEXT,
        NOT_TEXT,
        "bread",
    ),
    one("missing key", "a.jsonl", b'{"id": "1", "label": "good"}\n' + json_of('"bread"'), NO_TEXT, "bread"),
    one(
        "two values on a line",
        "a.jsonl",
        json_of('"bread"').strip() + b" {}\n" + json_of('"boots"'),
        MALFORMED,
        "boots",
    ),
    one("not an object", "a.jsonl", b"[1, 2]\n12\n" + json_of('"boots"'), MALFORMED, MALFORMED, "boots"),
    one(
        "trailing comma",
        "a.jsonl",
        b'{"id": "1", "text": "bread", "label": "good",}\n' + json_of('"boots"'),
        MALFORMED,
        "boots",
    ),
    one("cut off", "a.jsonl", json_of('"boots"') + b'{"id": "1", "text": "bre', MALFORMED, "boots"),
    one(
        "a key twice",
        "a.jsonl",
        b'{"id": "1", "text": "bread", "text": "boots", "label": "good"}\n' + json_of('"boots"'),
        MALFORMED,
        "boots",
    ),
    one("another key twice", "a.jsonl", b'{"id": "1", "n": 1, "n": 2, "text": "bread", "label": "good"}\n', "bread"),
    one("nested", "a.jsonl", b'{"id": "1", "m": {"text": 1}, "text": "bread", "label": "good"}\n', "bread"),
    one(
        "escapes",
        "a.jsonl",
        json_of(r'"caf\u00e9 \ud83d\ude00"', r'"a \ud83d b"', r'"a \udc00"', r'"a\u0000b"'),
        "café \U0001f600",
        NOT_TEXT,
        NOT_TEXT,
        NOT_TEXT,
    ),
    one(
        "wrong encoding", "a.jsonl", json_of('"caf\u00e9"', '"boots"').replace("é".encode(), b"\xe9"), ENCODING, "boots"
    ),
    one("no json at all", "a.jsonl", b"hello\nworld\n", DAMAGED, spark=REFUSED),
]

PARQUET = [
    one("large strings", "a.parquet", parquet_of(pa.array(PLAIN, pa.large_string())), *PLAIN),
    one("dictionary", "a.parquet", parquet_of(pa.array(PLAIN).dictionary_encode()), *PLAIN),
    one("bytes", "a.parquet", parquet_of(pa.array([b"bread", b"caf\xe9"])), "bread", ENCODING),
    one("strings that are not utf-8", "a.parquet", parquet_of(BROKEN), "bread", ENCODING),
    one("null", "a.parquet", parquet_of(pa.array(["bread", None])), "bread", NO_TEXT),
    one("numbers", "a.parquet", parquet_of(pa.array([1, 2])), NOT_TEXT, NOT_TEXT, spark=REFUSED),
]

TEXTS = [
    one(
        "control characters",
        "a.jsonl",
        json_of(*map(json.dumps, ["a\x01" + "b" * 9, "a\x01" + "b" * 7, "\ufffd" * 2])),
        "a\x01" + "b" * 9,
        NOT_TEXT,
        NOT_TEXT,
    ),
    one(
        "white space",
        "a.jsonl",
        json_of(*map(json.dumps, ["\u3000\u00a0\n", "\u200b", " " * 20 + "\x1c", "\x85"])),
        NO_TEXT,
        "\u200b",
        NO_TEXT,
        NO_TEXT,
    ),
]

FOLDERS = [
    Case(
        "hidden files", {"d/a.csv": csv_of("bread"), "d/_x.csv": b"?", "d/.x.csv": b"?", "d/_t/a.csv": b"?"}, ["bread"]
    ),
    Case(
        "sub-folders",
        {"a.csv": csv_of("bread"), "b/c/a.csv": csv_of("boots"), "b/a.csv.gz": gzip.compress(csv_of("ferry"))},
        ["bread", "boots", "ferry"],
    ),
    Case(
        "sub-folders of json", {"a/a.jsonl": json_of('"bread"'), "b/c/b.json": json_of('"boots"')}, ["bread", "boots"]
    ),
    Case("sub-folders of parquet", {"a/a.parquet": PLAIN_PARQUET, "b/c/b.parquet": PLAIN_PARQUET}, PLAIN * 2),
    Case("partitions", {"day=1/a.csv": csv_of("bread"), "_day=2/a.csv": csv_of("boots")}, ["bread", "boots"]),
    Case(
        "other files beside",
        {"a.csv": csv_of("bread"), "README.md": b"hello\n", "b/notes.txt": b"id,text\n"},
        ["bread"],
    ),
    Case(
        "several formats", {"a.csv": csv_of("bread"), "b.jsonl": json_of('"boots"')}, ["bread", "boots"], spark=REFUSED
    ),
    Case("one of several formats", {"a.csv": csv_of("bread"), "b.jsonl": json_of('"boots"')}, ["boots"], format="json"),
    Case(
        "names that show no format",
        {"p/part-0": csv_of("bread"), "p/q/part-1": csv_of("boots")},
        ["bread", "boots"],
        format="csv",
    ),
    Case(
        "columns in another order",
        {"a.csv": csv_of("bread"), "b.csv": b"text,label,id\nboots,good,1\n"},
        ["bread", "boots"],
    ),
    Case("a file without the column", {"a.csv": csv_of("bread"), "b.csv": b"body,label,id\nboots,good,1\n"}, [REFUSED]),
    Case("an empty file beside", {"a.jsonl": json_of('"bread"'), "b.jsonl": b""}, [DAMAGED, "bread"], spark="bread"),
]

CASES = [
    *FORMATS,
    *[
        one("CSV: " + case.name, *next(iter(case.files.items())), *case.rows, csv=case.csv, columns=case.columns)
        for case in CSV
    ],
    *[one("JSON: " + case.name, *next(iter(case.files.items())), *case.rows, spark=case.spark) for case in JSON],
    *[one("Parquet: " + case.name, *next(iter(case.files.items())), *case.rows, spark=case.spark) for case in PARQUET],
    *TEXTS,
    *FOLDERS,
]
