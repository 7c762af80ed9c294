"""A warehouse of documents whose ids a printer might obey, decode, trim or cut."""

from __future__ import annotations

from pathlib import Path

from warehouse_helpers import publish, score_row, write_rows

ODD = [
    "[a]1", "[/b]2", "order:100:7", ":smile:", " d1 ", "d1", "L" * 1500, "café", "cafe\u0301", "NULL", "-", "", "a\\nb",
    '"quoted", twice', "\u200b\u200d\ufe0f", "\U0001f469\u200d\U0001f467",
]  # fmt: skip
OBEYED = {
    "new\nline": "new\\nline",
    "\x1b[31mred": "\\x1b[31mred",
    "\x9b31m": "\\x9b31m",
    "\u202eabc": "\\u202eabc",
    "\u2066x\u2069": "\\u2066x\\u2069",
    "bell\x07\x7f\r\t": "bell\\x07\\x7f\\r\\t",
}


def odd_warehouse(warehouse: Path) -> Path:
    """Publish a document for each odd id; return the warehouse."""
    rows = [score_row(number, "r1", document_id=name) for number, name in enumerate([*ODD, *OBEYED])]
    publish(warehouse, "r1", 0, files=[write_rows(warehouse, "r1", rows)])
    return warehouse
