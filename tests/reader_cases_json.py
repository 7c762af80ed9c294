"""Cases of JSON Lines: types, keys, numbers, encodings, and JSON that is not JSON Lines."""

from __future__ import annotations

import json

from reader_kit import DAMAGED, ENCODING, MALFORMED, NO_TEXT, NOT_TEXT, REFUSED, json_of, one

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
    one(
        "deep nesting", "a.jsonl", json_of('"bread"', '"boots", "x": ' + "[" * 10**5 + "]" * 10**5), "bread", MALFORMED
    ),
    one("a number of 5000 digits", "a.jsonl", json_of('"bread", "x": ' + "9" * 5000), "bread"),
    one(
        "a number of 5000 digits, cut off",
        "a.jsonl",
        json_of('"bread"', '"boots", "x": ' + "9" * 5000 + ","),
        "bread",
        MALFORMED,
    ),
    one("a number that no double holds", "a.jsonl", json_of('"bread", "x": 1e400'), "bread"),
    one(
        "texts that are large numbers", "a.jsonl", json_of('"bread"', "9" * 5000, "1e400"), "bread", NOT_TEXT, NOT_TEXT
    ),
    one("half a pair that nobody asked for", "a.jsonl", json_of(r'"bread", "\ud83d": "\ud83d"'), "bread"),
    one(
        "other bytes that nobody asked for", "a.jsonl", json_of('"bread", "n?": "caf?"').replace(b"?", b"\xe9"), "bread"
    ),
    one("latin-1", "a.jsonl", json_of('"caf\u00e9"').decode().encode("latin-1"), "caf\u00e9", encoding="latin-1"),
    *[
        one(f"an array {name}", "a.json", text, REFUSED, says="one JSON array.*jq -c")
        for name, text in {
            "in one line": b"[" + b", ".join(json_of('"bread"', '"boots"').splitlines()) + b"]\n",
            "of a record a line": b"[\n" + b",\n".join(json_of('"bread"', '"boots"').splitlines()) + b"\n]\n",
            "in short lines": json.dumps([{"id": "1", "text": "bread", "label": "good"}], indent=2).encode(),
        }.items()
    ],
    one(
        "objects over several lines",
        "a.jsonl",
        json.dumps({"id": "1", "text": "bread", "label": "good"}, indent=2).encode(),
        REFUSED,
        says="over several lines.*jq -c",
    ),
    one("utf-16 without the setting", "a.jsonl", json_of('"bread"').decode().encode("utf-16"), REFUSED, says="UTF-16"),
]
