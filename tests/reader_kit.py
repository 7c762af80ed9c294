"""What a case of the readers is: a small input, and what labels, unlabelled documents and Spark make of it.

A case is a folder of files, or one file, with the columns ``id``, ``text`` and ``label``. What a reader has to find is
a list of rows, each a text or the kind of its fault.
"""

from __future__ import annotations

import io
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
        encoding: of the files.
        says: what the message of a refusal holds, as a regular expression.
    """

    name: str
    files: dict[str, bytes]
    rows: list[str]
    csv: dict[str, Any] = field(default_factory=dict)
    format: str = "auto"
    spark: str | None = None
    columns: tuple[str, str, str] = ("id", "text", "label")
    encoding: str = "utf-8"
    says: str = "."

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
