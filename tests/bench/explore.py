"""Measure how long the pages of `tlnlp explore` take on a large table, and how much memory they need.

    PYTHONPATH=$PWD/tests python tests/bench/explore.py run [--rows 10000000] [--folder DIR]
    PYTHONPATH=$PWD/tests python tests/bench/explore.py table

The table has two nights of half of the rows each, in real Iceberg. It is made anew unless ``--folder`` has it already.
Each page is asked for by HTTP from a server in a process of its own: first cold, then five times warm.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cells import commit, machine, write_json
from explore_table import document_id, make_table
from table import into_page

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "explore.json", HERE.parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- explore:begin -->", "<!-- explore:end -->"
NIGHTS, WARM = 2, 5
# In the order in which a person opens them: the first page is the night, and lists of documents follow.
PAGES = {
    "night": "night",
    "groups of 400 values": "groups?column=store",
    "groups of 5,000 values": "groups?column=product&sort=change",
    "documents": "documents",
    "documents of a label and a group": "documents?label=praise&column=store&value=store+7&sort=confidence",
    "documents by a part of the id": "documents?words=7777",
    "documents, far down the list": "documents?after=0.9%3Aticket",
    "changed labels": "changes",
    "a document": f"document?id={document_id(77_777)}",
}


def main() -> None:
    """Run the command of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "table"])
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the whole table")
    parser.add_argument("--folder", type=Path, help="keeps the table for another run")
    given = parser.parse_args()
    if given.command == "run":
        with tempfile.TemporaryDirectory(prefix="explore-") as scratch:
            folder = given.folder or Path(scratch)
            if not (folder / "warehouse").exists():
                make_table(folder / "warehouse", given.rows // NIGHTS, NIGHTS)
            facts = {"rows": given.rows, "nights": NIGHTS, "machine": machine(), "commit": commit()}
            write_json(RESULTS, facts | measure(folder / "warehouse"))
    into_page(f"{table(json.loads(RESULTS.read_text()))}\n", PAGE, BEGIN, END)


def measure(warehouse: Path) -> dict[str, Any]:
    """Return the seconds of each page, and the peak memory of the server in bytes."""
    found: dict[str, dict[str, float]] = {}
    with served(warehouse) as (url, process):
        for name, path in PAGES.items():
            cold, *warm = [seconds(url + path) for _ in range(1 + WARM)]
            found[name] = {"cold_s": cold, "warm_s": statistics.median(warm), "slowest_s": max(warm)}
            print(name, found[name], file=sys.stderr)
        return {"pages": found, "peak_bytes": peak_bytes(process.pid)}


@contextmanager
def served(warehouse: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the server; yield its URL and its process."""
    command = [sys.executable, "-m", "tlnlp", "explore", "--set", f"warehouse={warehouse}", "--set", "port=0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def seconds(url: str) -> float:
    """Return how long the answer to a request takes."""
    began = time.monotonic()
    with urllib.request.urlopen(url, timeout=600) as answer:
        answer.read()
    return time.monotonic() - began


def peak_bytes(pid: int) -> int:
    """Return the largest resident memory that a living process has had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def table(results: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    lines = [f"| page, {results['rows']:,} rows in {results['nights']} nights | first time | again |", "|---|---|---|"]
    lines += [f"| {name} | {one['cold_s']:.1f} s | {one['warm_s']:.2f} s |" for name, one in results["pages"].items()]
    facts = results["machine"]
    lines += [
        "",
        f"Peak memory of the server: {results['peak_bytes'] / 1e6:,.0f} MB. {facts['cpu']}, {facts['cores']} cores.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
