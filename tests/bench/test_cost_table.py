"""The table of costs adds up, from its own prices."""

from __future__ import annotations

import cost_table
import pytest
import yaml

MACHINE = {"name": "m", "usd_per_hour": 0.36, "date": "2026-01-31", "source": "a list"}
MEASURED = {
    "engines": {"tokens": 128.0},
    "profiles": {
        name: {"whole_documents_per_s": rate} for name, rate in (("none", 20.0), ("safe", 100.0), ("fast", 200.0))
    },
}


def test_the_cost_of_a_night_follows_from_rate_price_and_length() -> None:
    # Texts twice as long take twice as long: 50 documents a second, 20,000 seconds, a tenth of a thousandth USD each.
    assert cost_table.usd(1_000_000, 256, MEASURED, "safe", 0.36) == pytest.approx(2.0)
    text = cost_table.table({"documents": 1_000_000, "tokens": 256, "services": []}, MEASURED, MACHINE)
    whole = MEASURED | {"whole": {"profiles": {"safe": {"whole_documents_per_s": 200.0}}}}
    assert cost_table.usd(1_000_000, 256, whole, "safe", 0.36) == pytest.approx(1.0)
    assert cost_table.usd(1_000_000, 256, whole, "fast", 0.36) == pytest.approx(1.0)
    assert "| **tlnlp score, fast** | **1.00** | 0.36 USD an hour for m | 2026-01-31, a list |" in text


def test_the_prices_of_others_are_computed_as_they_say() -> None:
    given = yaml.safe_load(cost_table.SERVICES.read_text())
    usd = {one["name"].partition(":")[2].strip() or one["name"]: one["usd"] for one in given["services"]}
    read, written = (256 + 60), 5
    assert usd["GPT-5.4 nano"] == pytest.approx(0.20 * read + 1.25 * written)
    assert usd["Gemini 2.5 Flash-Lite"] == pytest.approx(0.10 * read + 0.40 * written)
    assert usd["text-embedding-3-small"] == pytest.approx(0.02 * 256)
    assert usd["Amazon Comprehend, custom classification, asynchronous"] == pytest.approx(0.0005 * 11 * 1_000_000)
    assert all(one["source"].startswith("https://") and one["date"] for one in given["services"])
