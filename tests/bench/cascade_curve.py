"""Measure what a cascade costs and saves by the share of documents that the n-grams settle.

    python tests/bench/cascade_curve.py run --version FOLDER [--data imdb] [--documents 5000]
    python tests/bench/cascade_curve.py test --version FOLDER [--data imdb]
    python tests/bench/cascade_curve.py table

``run`` measures any share. Its documents are labelled texts of the training file that the version has not learned from.
The n-grams are calibrated as in the version's own cascade. The first 3,000 stand for those that are set aside when a
version is made: they choose the share for each limit.

``test`` measures the version's own cascades on every text of the test file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cells import commit, data_folder, machine, write_json
from draws import DATA_SETS, Rows, test_texts, training_texts
from table import into_page

from tlnlp.data.text import prepare
from tlnlp.evaluate.cascade_gate import fit_cascade
from tlnlp.evaluate.intervals import paired_interval
from tlnlp.model.bundle_spec import read_spec
from tlnlp.model.cascade import Cascade
from tlnlp.model.classifier import Classifier
from tlnlp.model.combine import Floats
from tlnlp.model.learned_texts import read_learned
from tlnlp.model.profile import CTRANSLATE2_INT8, NONE, Profile

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "cascade_curve.json", HERE.parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- curve:begin -->", "<!-- curve:end -->"
ASIDE, SEED, CORES = 3000, 5, 2
SETTLED = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
LIMITS = (0.005, 0.01, 0.02, 0.025, 0.03)
_AT_ONCE = 64


def main() -> None:
    """Run the command of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "test", "table"])
    parser.add_argument("--version", type=Path, help="folder of a version")
    parser.add_argument("--data", choices=sorted(DATA_SETS), default="imdb")
    parser.add_argument("--documents", type=int, default=5000)
    given = parser.parse_args()
    if given.command == "run":
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        write_json(RESULTS, results | {given.data: measure(given.version, given.data, given.documents)})
    if given.command == "test":
        results = json.loads(RESULTS.read_text())
        results[given.data]["test"] = test(given.version, given.data)
        write_json(RESULTS, results)
    into_page(table(json.loads(RESULTS.read_text())), PAGE, BEGIN, END)


def test(version: Path, data: str) -> dict[str, Any]:
    """Return what each cascade of a version does to the test file: the share that it settles, labels, accuracy."""
    rows, spec = test_texts(DATA_SETS[data], data_folder()), read_spec(version)
    encoder, ngram, _ = read(version, rows.texts)
    both = spec.combined(encoder, ngram)
    full, targets = both.argmax(axis=1), np.array([spec.classes.index(label) for label in rows.labels])
    found: dict[str, Any] = {"n": len(targets), "accuracy": float((full == targets).mean()), "commit": commit()}
    for name, cascade in spec.cascades.items():
        calibrated = cascade.calibrated(ngram)
        settled = cascade.settled(calibrated)
        labels = np.where(settled, calibrated.argmax(axis=1), full)
        found[name] = {
            "settled": float(settled.mean()),
            "changed": float((labels != full).mean()),
            "accuracy_change": paired_interval(labels == targets, full == targets),
        }
    return found


def read(version: Path, texts: Sequence[str]) -> tuple[Floats, Floats, list[float]]:
    """Return the probabilities (texts, classes) of both views, and the seconds of each for one text on one core."""
    with ProcessPoolExecutor(CORES) as processes:
        parts = list(processes.map(partial(views, version), [texts[place::CORES] for place in range(CORES)]))
    encoder, ngram = (np.empty((len(texts), parts[0][0].shape[1])) for _ in range(2))
    for place, (own, other, _, _) in enumerate(parts):
        encoder[place::CORES], ngram[place::CORES] = own, other
    return encoder, ngram, [float(np.mean([one[place] for one in parts])) for place in (2, 3)]


def measure(version: Path, data: str, documents: int) -> dict[str, Any]:
    """Return the figures of a version at each share, and the share that is chosen for each limit."""
    rows, spec = unseen(version, data, documents), read_spec(version)
    encoder, ngram, seconds = read(version, rows.texts)
    both = spec.combined(encoder, ngram)
    targets = np.array([spec.classes.index(label) for label in rows.labels])
    chosen = {limit: fit_cascade(ngram[:ASIDE], both[:ASIDE], limit) for limit in LIMITS}
    cascade = next(iter(spec.cascades.values()))
    return {
        "n": len(targets),
        "aside": min(ASIDE, len(targets)),
        "accuracy": {
            "both": float((both.argmax(axis=1) == targets).mean()),
            "ngram": float((ngram.argmax(axis=1) == targets).mean()),
        },
        "encoder_s": seconds[0],
        "ngram_s": seconds[1],
        "shares": {share: at(cascade, share, ngram, both, targets) for share in SETTLED},
        "limits": {limit: found[1].settled_share for limit, found in chosen.items() if found is not None},
        "machine": machine(),
        "commit": commit(),
    }


def unseen(version: Path, data: str, most: int) -> Rows:
    """Return labelled texts of the training file that a version has not learned from, in random order."""
    learned, found = read_learned(version), training_texts(DATA_SETS[data], data_folder())
    fresh = list[int]()
    for place in np.random.default_rng(SEED).permutation(len(found.texts)).tolist():
        text = [found.texts[place]]
        if len(fresh) < most and not learned.labels_among(text) and not learned.documents_among(text):
            fresh.append(place)
    return found.take(fresh)


def views(version: Path, texts: Sequence[str]) -> tuple[Floats, Floats, float, float]:
    """Return the probabilities (texts, classes) of both views on one core, and their seconds for one text."""
    classifier = Classifier.load(version, threads=1, profile=Profile(CTRANSLATE2_INT8, NONE))
    prepared = [prepare(text, classifier.spec.max_chars) for text in texts]
    found: list[tuple[Floats, Floats]] = []
    seconds = [0.0, 0.0]
    for start in range(0, len(prepared), _AT_ONCE):
        part, began = prepared[start : start + _AT_ONCE], time.monotonic()
        encoder = classifier.engine.predict(classifier.encoder.encode(part))
        between = time.monotonic()
        found.append((encoder, classifier.ngram.predict(part)))
        seconds[0] += between - began
        seconds[1] += time.monotonic() - between
    encoder, ngram = (np.vstack(parts) for parts in zip(*found, strict=True))
    return encoder, ngram, seconds[0] / len(texts), seconds[1] / len(texts)


def at(cascade: Cascade, share: float, ngram: Floats, both: Floats, targets: Any) -> dict[str, float]:
    """Return what settling a share of the documents changes: labels, and accuracy."""
    calibrated = cascade.calibrated(ngram)
    confidence = calibrated.max(axis=1)
    settled = confidence >= np.quantile(confidence, 1 - share)
    full = both.argmax(axis=1)
    labels = np.where(settled, calibrated.argmax(axis=1), full)
    return {
        "changed": float((labels != full).mean()),
        "accuracy_change": float((labels == targets).mean() - (full == targets).mean()),
    }


def table(results: dict[str, Any]) -> str:
    """Return the tables of the page."""
    parts = []
    for name, one in results.items():
        alone = one["encoder_s"] + one["ngram_s"]
        lines = [
            f"**{DATA_SETS[name].title}**, {one['n']:,} documents; both views right on {one['accuracy']['both']:.1%}, "
            f"n-grams alone on {one['accuracy']['ngram']:.1%}",
            "",
            "| settled by n-grams | decided otherwise | accuracy, points | faster than both views on every document |",
            "|---|---|---|---|",
        ]
        for share, found in one["shares"].items():
            times = alone / (one["ngram_s"] + (1 - float(share)) * one["encoder_s"])
            change = f"{100 * found['accuracy_change']:+.2f}"
            lines.append(f"| {float(share):.0%} | {found['changed']:.2%} | {change} | {times:.1f} |")
        limits = ", ".join(f"{float(limit):.1%}: {share:.0%}" for limit, share in one["limits"].items())
        lines += ["", f"What {one['aside']:,} documents that are set aside allow to settle, by limit: {limits}.", ""]
        lines += [_tested(name, one["test"]), ""] if "test" in one else []
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _tested(name: str, found: dict[str, Any]) -> str:
    """Return the sentence about the version's own cascades on the test file."""
    said = []
    for profile, own in found.items():
        if isinstance(own, dict):
            change, low, high = (100 * value for value in own["accuracy_change"])
            said.append(
                f"`{profile}` settles {own['settled']:.0%}, decides {own['changed']:.2%} otherwise and moves the "
                f"accuracy by {change:+.2f} points (95% interval {low:+.2f} to {high:+.2f})"
            )
    texts = f"{found['n']:,} test texts of {DATA_SETS[name].title}"
    return f"On all {texts}, both views are right on {found['accuracy']:.1%}; {'; '.join(said)}."


if __name__ == "__main__":
    main()
