"""Measure what Spark costs beside the bare model, on the same documents: time, second core, cold start, broadcast.

    python tests/bench/overhead.py run --version FOLDER [--data imdb] [--documents 20000] [--optimise safe]
    python tests/bench/overhead.py table

``run`` scores the documents with one bare process for each core, with a night on all cores, with a night on one core,
and one document alone. The figures are of scoring: from the start of the first task to the last written row.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from cells import commit, data_folder, machine, write_json
from table import into_page

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "overhead.json", HERE.parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- overhead:begin -->", "<!-- overhead:end -->"
CORES = 2
BATCH_ROWS = 2048
TITLES = {"imdb": "IMDb", "agnews": "AG News"}


def main() -> None:
    """Run the command of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "bare", "table"])
    parser.add_argument("--version", type=Path, help="folder of a version")
    parser.add_argument("--data", choices=sorted(TITLES), default="imdb")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--optimise", choices=["none", "safe", "fast"], default="safe")
    parser.add_argument("--part", type=int, help="the part of the documents that a bare process scores")
    given = parser.parse_args()
    if given.command == "bare":
        print(bare(given.version, given.optimise, given.part))
        return
    if given.command == "run":
        found = measure(given.version.resolve(), given.data, given.documents, given.optimise)
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        write_json(RESULTS, results | {given.data: found | {"machine": machine(), "commit": commit()}})
    into_page(table(json.loads(RESULTS.read_text())), PAGE, BEGIN, END)


def measure(version: Path, data: str, documents: int, optimise: str) -> dict[str, Any]:
    """Return all figures of one version and data set."""
    from tlnlp.model import bundle
    from tlnlp.model.bundle_spec import read_spec
    from tlnlp.registry import Registry

    with tempfile.TemporaryDirectory(prefix="overhead-") as scratch:
        folder = Path(scratch)
        texts = pq.read_table(data_folder() / f"{data}_test.parquet")["text"].to_pylist()
        texts = list(dict.fromkeys(texts))[:documents]
        _write(folder / "documents.parquet", texts)
        _write(folder / "one.parquet", texts[:1])
        Registry(str(folder / "registry")).publish("overhead", version)
        bare_s = _bare(version, optimise, folder)
        nights = {
            name: _night(folder, name, source, optimise, cores)
            for name, source, cores in (
                ("all cores", "documents", CORES), ("one core", "documents", 1), ("one document", "one", CORES)
            )
        }  # fmt: skip
        spec = read_spec(version)
        files = bundle.scoring_files(version, spec.engine)
        return {
            "documents": len(texts), "optimise": optimise, "profile": str(spec.profile), "bare_s": bare_s,
            "nights": nights, "broadcast_bytes": sum(map(len, files.values())),
        }  # fmt: skip


def _write(path: Path, texts: list[str]) -> None:
    pq.write_table(pa.table({"id": [f"d{number}" for number in range(len(texts))], "text": texts}), path)


def _bare(version: Path, optimise: str, folder: Path) -> float:
    """Return the seconds in which one process for each core scores a part of the documents, without loading."""
    command = [sys.executable, str(HERE / "overhead.py"), "bare", "--version", str(version), "--optimise", optimise]
    started = [
        subprocess.Popen([*command, "--part", str(part)], cwd=folder, stdout=subprocess.PIPE, env=_one_thread())
        for part in range(CORES)
    ]
    return max(float(process.communicate()[0].split()[-1]) for process in started)


def _one_thread() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def bare(version: Path, optimise: str, part: int) -> float:
    """Return the seconds in which this process scores its part of the documents."""
    from tlnlp.model.bundle_spec import read_spec
    from tlnlp.model.classifier import Classifier
    from tlnlp.model.profile import ONNX_FP32, Profile

    spec = read_spec(version)
    profile = Profile(ONNX_FP32 if optimise == "none" else spec.engine, optimise)
    texts = pq.read_table("documents.parquet")["text"].to_pylist()[part::CORES]
    classifier = Classifier.load(version, 1, profile)
    classifier.predict_staged(texts[:8])
    started = time.monotonic()
    for first in range(0, len(texts), BATCH_ROWS):
        classifier.predict_staged(texts[first : first + BATCH_ROWS])
    return time.monotonic() - started


def _night(folder: Path, name: str, source: str, optimise: str, cores: int) -> dict[str, float]:
    """Return the seconds of a whole night and of its scoring."""
    warehouse = folder / name.replace(" ", "-")
    sets = {"documents": f"{source}.parquet", "registry": folder / "registry", "model": "overhead@1"}
    sets |= {
        "warehouse": warehouse,
        "score_date": "2026-01-01",
        "optimise": optimise,
        "spark.master": f"local[{cores}]",
    }
    command = [part for key, value in sets.items() for part in ("--set", f"{key}={value}")]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tlnlp", "score", "--json", *command], cwd=folder, stdout=subprocess.PIPE, check=True
    )
    whole_s = time.monotonic() - started
    run_id = json.loads(done.stdout)["run_id"]
    ledger = json.loads((warehouse / "ledgers" / f"{run_id}.json").read_text())
    stages = {stage["name"]: float(stage["duration_s"]) for stage in ledger["stages"]}
    print(name, round(whole_s, 1), stages, file=sys.stderr)
    return {"whole_s": whole_s} | stages


def table(results: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| | " + " | ".join(TITLES[data] for data in results) + " |", "|---|" + "---|" * len(results)]

    def row(title: str, cells: list[str]) -> None:
        lines.append(f"| {title} | " + " | ".join(cells) + " |")

    found = list(results.values())
    row("documents, profile", [f"{one['documents']:,}, {one['profile']}" for one in found])
    row("bare model, a process for each core", [f"{one['bare_s']:.1f} s" for one in found])
    row("scoring in Spark, two cores", [f"{one['nights']['all cores']['score']:.1f} s" for one in found])
    more = [one["nights"]["all cores"]["score"] / one["bare_s"] - 1 for one in found]
    row("Spark over the bare model", [f"{share:+.1%}" for share in more])
    gains = [one["nights"]["one core"]["score"] / one["nights"]["all cores"]["score"] for one in found]
    row("two cores over one", [f"{gain:.2f}" for gain in gains])
    row("scoring one document, from the cold", [f"{one['nights']['one document']['score']:.1f} s" for one in found])
    row("bytes broadcast", [f"{one['broadcast_bytes'] / 1e6:.1f} MB" for one in found])
    cpus = ", ".join(sorted({one["machine"]["cpu"] for one in found}))
    return "\n".join([*lines, "", f"Measured on: {cpus}, {CORES} cores.", ""])


if __name__ == "__main__":
    main()
