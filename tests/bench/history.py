"""Measure whether a night costs what its documents cost, whatever the history holds.

    PYTHONPATH=$PWD/tests python tests/bench/history.py run [--nights 400] [--documents 2000] [--rounds 6]
    PYTHONPATH=$PWD/tests python tests/bench/history.py table

Two tables get the same documents with a tiny model, in each mode: one has 4 nights, the other ``--nights`` less 1, and
was maintained each week. Then ``--rounds`` nights are scored on each, in turns, each in a process of its own. In the
incremental mode a twentieth of the documents is changed each night.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import kit
import pyarrow as pa
import pyarrow.parquet as pq
from cells import commit, machine, write_json
from history_kit import add_days
from table import into_page

from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.maintain import maintain

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "history.json", HERE.parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- history:begin -->", "<!-- history:end -->"
FIRST_DAY = date(2025, 1, 1)
SHORT_NIGHTS = 5
KEPT_DAYS, WEEK = 30, 7
CHANGED = 20
MODES = ("full", "incremental")


def main() -> None:
    """Run the command of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "night", "table"])
    parser.add_argument("--nights", type=int, default=400)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--settings", help="settings of one night, as JSON")
    given = parser.parse_args()
    if given.command == "night":
        print(json.dumps(measured_night(json.loads(given.settings))))
        return
    if given.command == "run":
        found = {mode: measure(mode, given.nights, given.documents, given.rounds) for mode in MODES}
        facts = {"nights": given.nights, "documents": given.documents, "rounds": given.rounds}
        write_json(RESULTS, facts | {"modes": found, "machine": machine(), "commit": commit()})
    write_table(json.loads(RESULTS.read_text()))


def measure(mode: str, nights: int, documents: int, rounds: int) -> dict[str, Any]:
    """Return the seconds and the bytes of nights with a short and with a long history, each a list."""
    with tempfile.TemporaryDirectory(prefix="history-") as scratch:
        folder = Path(scratch)
        bundle = kit.make_bundle(kit.make_encoder(folder / "encoder"), folder / "bundle")
        registry = _registry(bundle, folder)
        tables = {"short": SHORT_NIGHTS, "long": nights}
        for name, count in tables.items():
            _fill(folder, registry, name, mode, count - 1, documents)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in tables}
        for number in range(rounds + 1):
            for name, count in tables.items():
                _write_documents(folder, documents, number + 1)
                day = FIRST_DAY + timedelta(days=count - 1 + number)
                night = _night(folder, registry, name, mode, day)
                print(mode, name, day, night, file=sys.stderr)
                # The first night makes the state of all nights before, which in real life other nights have made.
                found[name] += [night] if number else []
        return {name: {key: [one[key] for one in all_] for key in all_[0]} for name, all_ in found.items()}


def _registry(bundle: Path, folder: Path) -> Path:
    from tlnlp.registry import Registry

    Registry(str(folder / "registry")).publish("tiny", bundle)
    return folder / "registry"


def _fill(folder: Path, registry: Path, name: str, mode: str, nights: int, documents: int) -> None:
    """Publish ``nights`` nights, the first one by scoring; maintain the table each week, as its schedule does."""
    _write_documents(folder, documents, 0)
    _night(folder, registry, name, mode, FIRST_DAY)
    warehouse = folder / name
    rows = documents // CHANGED if mode == "incremental" else 0
    old = max(1, nights - KEPT_DAYS)
    add_days(warehouse, FIRST_DAY + timedelta(days=1), old - 1, mode, rows)
    catalog = open_catalog(str(warehouse))
    if nights > KEPT_DAYS:  # What was published so far is more than KEPT_DAYS old.
        maintain(str(warehouse), catalog, now=datetime.now(UTC) + timedelta(days=KEPT_DAYS, hours=1))
    for done in range(old, nights, WEEK):
        add_days(warehouse, FIRST_DAY + timedelta(days=done), min(WEEK, nights - done), mode, rows)
        if nights > KEPT_DAYS:
            maintain(str(warehouse), catalog, now=datetime.now(UTC))


def _write_documents(folder: Path, count: int, changes: int) -> None:
    """Write the documents; of the first twentieth, texts differ with ``changes``."""
    texts = kit.texts(count)
    texts = [f"{text} v{changes}" if number < count // CHANGED else text for number, text in enumerate(texts)]
    pq.write_table(pa.table({"id": [f"d{n}" for n in range(count)], "text": texts}), folder / "documents.parquet")


def _night(folder: Path, registry: Path, name: str, mode: str, day: date) -> dict[str, float]:
    settings = {"documents": "documents.parquet", "registry": str(registry), "model": "tiny@1", "mode": mode}
    settings |= {"warehouse": str(folder / name), "score_date": day.isoformat()}
    command = [sys.executable, str(HERE / "history.py"), "night", "--settings", json.dumps(settings)]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def measured_night(settings: dict[str, Any]) -> dict[str, float]:
    """Score a night in this process; return its seconds without scoring, and the bytes of Iceberg metadata read."""
    from pyiceberg.io.pyarrow import PyArrowFile

    from tlnlp.config import ScoreSettings
    from tlnlp.runs import environment
    from tlnlp.score.job import score

    environment.apply_defaults()
    read, opened = 0, PyArrowFile.open

    def counting(file: PyArrowFile, seekable: bool = True) -> Any:
        nonlocal read
        if file.location.endswith((".avro", ".json")):
            read += len(file)
        return opened(file, seekable)

    PyArrowFile.open = counting  # type: ignore[assignment, method-assign]
    started = time.monotonic()
    result = score(ScoreSettings(**settings))
    seconds = time.monotonic() - started
    ledger = json.loads((Path(settings["warehouse"]) / "ledgers" / f"{result.run_id}.json").read_text())
    stages = {stage["name"]: float(stage["duration_s"]) for stage in ledger["stages"]}
    return {"seconds": seconds - stages["score"], "prepare_s": stages["prepare"], "metadata_bytes": float(read)}


def write_table(results: dict[str, Any]) -> None:
    """Write the table into docs/benchmarks.md."""
    into_page(f"{table(results)}\n", PAGE, BEGIN, END)


def table(results: dict[str, Any]) -> str:
    """Return the figures as a Markdown table: means of the nights, since not each night merges days."""
    nights, rounds = results["nights"], results["rounds"]
    lines = [
        f"| {results['documents']:,} documents a night | night {SHORT_NIGHTS} | night {nights} | ratio |",
        "|---|---|---|---|",
    ]
    for mode, found in results["modes"].items():
        for key, title, unit in (
            ("seconds", "time of all but scoring", "s"),
            ("metadata_bytes", "table metadata read", "KB"),
        ):
            short, long = (statistics.mean(found[name][key]) for name in ("short", "long"))
            scale = 1000 if unit == "KB" else 1
            shown = f"{short / scale:,.1f} {unit} | {long / scale:,.1f} {unit}"
            lines.append(f"| {mode}: {title} | {shown} | {long / short:.2f} |")
    facts = results["machine"]
    lines += ["", f"Means of {rounds} nights from there on, in turns, on {facts['cpu']}, {facts['cores']} cores."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
