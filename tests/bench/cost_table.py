"""Compare what one million documents cost elsewhere and here, and write the table into docs/benchmarks.md.

    python tests/bench/cost_table.py

Prices of others are in ``services.yaml``, each with its source and date, and the machine's in ``conf/prices.yaml``. The
own throughput is that of whole nights on IMDb, as ``speed.py`` measured it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from table import into_page

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE, SPEED, SERVICES = ROOT / "docs" / "benchmarks.md", HERE / "speed.json", HERE / "services.yaml"
BEGIN, END = "<!-- cost:begin -->", "<!-- cost:end -->"
INSTANCE = "m7i.large"
PROFILES = ("none", "safe", "fast")


def main() -> None:
    """Write the table."""
    prices = yaml.safe_load((ROOT / "conf" / "prices.yaml").read_text())
    (machine,) = (one for one in prices["instances"] if one["name"] == INSTANCE)
    made = table(yaml.safe_load(SERVICES.read_text()), json.loads(SPEED.read_text())["imdb"], machine)
    into_page(made, PAGE, BEGIN, END)


def usd(documents: int, tokens: int, measured: Mapping[str, Any], profile: str, usd_per_hour: float) -> float:
    """Return what scoring so many documents of so many tokens costs, by the throughput on shorter texts.

    The throughput is that of all test texts where it was measured: of fewer, the start of Spark is a large part. Time
    is taken as proportional to the tokens, though reading, n-grams and publishing depend on them less.
    """
    profiles = measured["profiles"] | measured.get("whole", {}).get("profiles", {})
    rate = profiles[profile]["whole_documents_per_s"] * measured["engines"]["tokens"] / tokens
    return documents / float(rate) / 3600 * usd_per_hour


def table(services: Mapping[str, Any], measured: Mapping[str, Any], machine: Mapping[str, Any]) -> str:
    """Return the table as Markdown."""
    documents, tokens = services["documents"], services["tokens"]
    lines = [
        f"| {documents:,} documents of {tokens} tokens | USD | price | date, source |",
        "|---|---|---|---|",
    ]
    for one in sorted(services["services"], key=lambda one: -one["usd"]):
        lines.append(
            f"| {one['name']} | {one['usd']:,.2f} | {one['price']} ({one['how']}) | {one['date']}, {one['source']} |"
        )
    for profile in PROFILES:
        cost = usd(documents, tokens, measured, profile, machine["usd_per_hour"])
        hour = f"{machine['usd_per_hour']} USD an hour for {machine['name']}"
        lines.append(
            f"| **tlnlp score, {profile}** | **{cost:,.2f}** | {hour} | {machine['date']}, {machine['source']} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
