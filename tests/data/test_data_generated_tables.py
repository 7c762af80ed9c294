"""Random tables in every format, by several writers: labels and unlabelled documents find every row."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from generated_tables import WRITERS, Table, tables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlnlp.data.label_names import label_name
from tlnlp.data.labels import LabelContract, read_labels
from tlnlp.data.pool import read_pool
from tlnlp.data.text import is_blank, is_text

EXAMPLES = 100
OF_LABELS = {"empty text": "blank", "not text": "not text", "unreadable row": "malformed"}


def kind_of(text: str | None) -> str:
    """Return what a reader has to make of a text."""
    return "blank" if text is None or is_blank(text) else "text" if is_text(text) else "not text"


@pytest.mark.parametrize("writer", sorted(WRITERS))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_labels_and_unlabelled_documents(writer: str, data: st.DataObject) -> None:
    table: Table = data.draw(tables(writer))
    expected = Counter(kind_of(row.text) for row in table.rows)
    texts = {row.text: label_name(row.label) for row in table.rows if kind_of(row.text) == "text"}
    with tempfile.TemporaryDirectory() as folder:
        uri = str(table.write(Path(folder)))
        found = read_labels(uri, LabelContract(min_per_class=0))
        pool = read_pool(uri, "text", 100, 0, ())
    assert {example.text: example.label for example in found.examples} == texts
    assert Counter(OF_LABELS[fault.kind] for fault in found.faults) == expected - Counter(text=expected["text"])
    assert found.rows == pool.rows == len(table.rows)
    assert set(pool.texts) == set(texts)
    assert pool.unusable == len(table.rows) - expected["text"]
    assert pool.unreadable == 0
