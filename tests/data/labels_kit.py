"""Write small labelled sets, and list their faults in short."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tlnlp.data.labels import LabelContract, LabelledSet

ANY = LabelContract(min_per_class=1)
Rows = Sequence[dict[str, Any]]


def write(path: Path, rows: Rows) -> Path:
    """Write rows in the format of the file's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".jsonl" in path.name:
        data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        return path
    table = pa.Table.from_pylist(list(rows))
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        sink = pa.BufferOutputStream()
        pyarrow.csv.write_csv(table, sink)
        data = sink.getvalue().to_pybytes()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def faults(found: LabelledSet) -> list[tuple[str, int, str]]:
    return [(Path(fault.file).name, fault.row, fault.kind) for fault in found.faults]


def rows_of(*pairs: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"text": text, "label": label} for text, label in pairs]
