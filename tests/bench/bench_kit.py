"""A tiny data set for the tests of the benchmark."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from draws import DataSet

TINY = DataSet("tiny", "Tiny", (0, 4, 20), False, 16, 60.0, 10, test_texts=12, unlabelled=True, total_counts=(9,))


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    """Write rows of (text, label) as a file of a data set."""
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    pq.write_table(pa.table({"id": [str(i) for i in range(len(rows))], "text": texts, "label": labels}), path)
