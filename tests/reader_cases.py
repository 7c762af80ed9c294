"""Small inputs, and what every reader makes of them: labels, unlabelled documents, and documents in Spark."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
from reader_cases_csv import CSV
from reader_cases_json import JSON
from reader_kit import (
    DAMAGED,
    ENCODING,
    NO_TEXT,
    NOT_TEXT,
    REFUSED,
    Case,
    csv_of,
    json_of,
    one,
    parquet_of,
)


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
    Case("a blank csv beside", {"a.csv": csv_of("bread"), "b.csv": b"\n"}, ["bread"]),
    one("empty json", "a.jsonl", b"", DAMAGED, spark=REFUSED),
    one("csv of a header alone", "a.csv", b"id,text,label\n"),
    one("capital endings", "A.CSV", PLAIN_CSV, *PLAIN),
    one("format that the name does not show", "a.txt", PLAIN_JSON, *PLAIN, format="json"),
    one("a column is missing", "a.csv", b"id,body,label\n1,bread,good\n", REFUSED),
    one("a column twice", "a.csv", b"id,text,text,label\n1,bread,boots,good\n", REFUSED),
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
    Case(
        "columns in another order, read in splits",
        {"a.csv": csv_of("bread"), "b.csv": b"text,n,label,id\nboots,7,good,1\n"},
        ["bread", "boots"],
        csv={"multiline": False},
    ),
    Case("a file without the column", {"a.csv": csv_of("bread"), "b.csv": b"body,label,id\nboots,good,1\n"}, [REFUSED]),
    Case("an empty file beside", {"a.jsonl": json_of('"bread"'), "b.jsonl": b""}, [DAMAGED, "bread"], spark="bread"),
]

CASES = [
    *FORMATS,
    *[replace(case, name=f"CSV: {case.name}") for case in CSV],
    *[replace(case, name=f"JSON: {case.name}") for case in JSON],
    *[replace(case, name=f"Parquet: {case.name}") for case in PARQUET],
    *TEXTS,
    *FOLDERS,
]
