"""Make up rows of nights, and open the pages over them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from nights_kit import publish
from starlette.testclient import TestClient

from tlnlp.config import ExploreSettings
from tlnlp.explore.app import create_app
from tlnlp.explore.explorer import Explorer
from tlnlp.explore.security import Access

FIRST, SECOND, THIRD = (date(2026, 11, 21) + timedelta(days=number) for number in range(3))
ROWS = 120


def row(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of a made-up document: its score grows with its number, and a third of them is negative."""
    positive = number % 3 > 0
    score = 0.5 + number / 250
    other = 1 - score
    made: dict[str, Any] = {
        "document_id": f"d{number:03}",
        "label": "positive" if positive else "negative",
        "score": score,
        "probabilities": [("negative", other if positive else score), ("positive", score if positive else other)],
        "text_sha256": f"{number:064x}",
        "stage": "ngram" if number % 4 else "encoder",
        "scored_by": "onnx-fp32@0123456789abcdef",
        "model": "moods",
        "model_version": 1,
        "scored_at": datetime(2026, 11, 21, 23, tzinfo=UTC),
        "shop": ("north", "south", None)[number % 3],
        "weight": number / 2,
    }
    return made | changes


def three_nights(warehouse: Path) -> Path:
    """Publish three nights of ``ROWS`` documents; in the last one, every tenth label is another one."""
    publish(warehouse, FIRST, [row(number) for number in range(ROWS)])
    publish(warehouse, SECOND, [row(number) for number in range(ROWS)], rejected=("null_text", "empty_text"))
    last = [row(number, label="neutral") if number % 10 == 0 else row(number) for number in range(ROWS)]
    publish(warehouse, THIRD, last, rejected=("null_text", "null_text", "conflicting_id"))
    return warehouse


def pages(warehouse: Path, access: Access | None = None, **settings: Any) -> TestClient:
    """Return a client of the pages over a warehouse."""
    places = {name: str(warehouse / name) for name in ("registry", "labels", "queue")}
    given = ExploreSettings(warehouse=str(warehouse), **places | settings)
    app = create_app(Explorer(given, fresh_s=0.0), access or Access("127.0.0.1"))
    return TestClient(app, base_url="http://127.0.0.1:8300", follow_redirects=False)
