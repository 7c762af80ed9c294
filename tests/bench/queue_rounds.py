"""Measure how many labels the queue saves: four rounds of 50 from the queue against 50 at random, from 50 labels on.

    python tests/bench/queue_rounds.py run [--data imdb agnews trec] [--seeds 10]
    python tests/bench/queue_rounds.py table

All texts are of the training files: 4,000 measure (half of TREC's), 4,000 others can be labelled. In place of a
fine-tuned model, a logistic regression on the embeddings of the frozen encoder and the n-gram view learn from the
labels so far, and their probabilities are combined with equal weights. The queue is chosen by ``labelling.selection``
with the defaults of `tlnlp queue`, its random share included.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cells import commit, data_folder, machine, write_json
from draws import DATA_SETS, Rows, training_texts
from encoders import EncoderFiles
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from table import into_page
from tasks import ENCODER
from torch_methods import embed

from tlnlp.config import QueueSettings
from tlnlp.data.text import prepare
from tlnlp.labelling.selection import (
    DOUBT,
    NOVEL,
    VIEWS_DISAGREE,
    Candidates,
    choose,
    disagreement,
    few_labels,
    margin_doubt,
)
from tlnlp.labelling.signals import novelty
from tlnlp.model.combine import Floats, combine
from tlnlp.model.ngram import fit_ngram, ngram_features

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "queue_rounds.json", HERE.parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- queue:begin -->", "<!-- queue:end -->"
FIRST, STEP, ROUNDS = 50, 50, 4
TEXTS, SEED = 4000, 31
RANDOM, QUEUE = "random", "queue"


@dataclass(frozen=True)
class Bench:
    """A data set, read once: texts that can be labelled come first, then those that measure.

    Fields:
        embeddings: (texts, hidden).
        targets: class indices, (texts,).
        pool: number of texts that can be labelled.
    """

    texts: list[str]
    embeddings: Floats
    features: csr_matrix
    targets: NDArray[np.int64]
    classes: tuple[str, ...]
    pool: int


def main() -> None:
    """Run the command of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "table"])
    parser.add_argument("--data", choices=sorted(DATA_SETS), nargs="*", default=sorted(DATA_SETS))
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    if given.command == "run":
        for data in given.data:
            results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            write_json(RESULTS, results | {data: measure(data, given.seeds)})
    into_page(table(json.loads(RESULTS.read_text())), PAGE, BEGIN, END)


def measure(data: str, seeds: int) -> dict[str, Any]:
    """Return the accuracies of a data set: for each way to choose, (seeds, rounds)."""
    bench = read(data)
    ways: dict[str, Callable[[Bench, list[int], np.random.Generator], list[int]]] = {RANDOM: at_random, QUEUE: queued}
    found = {name: [rounds(bench, way, seed) for seed in range(seeds)] for name, way in ways.items()}
    for name, curves in found.items():
        print(data, name, np.round(np.mean(curves, axis=0), 4).tolist(), flush=True)
    n = len(bench.texts) - bench.pool
    return {"accuracies": found, "n": n, "pool": bench.pool, "commit": commit(), "machine": machine()}


def read(data: str) -> Bench:
    """Return the texts of a data set with their embeddings."""
    rows: Rows = training_texts(DATA_SETS[data], data_folder())
    order = np.random.default_rng(SEED).permutation(len(rows.texts))
    measured = min(TEXTS, len(order) // 2)
    chosen = rows.take(order[: min(len(order), TEXTS + measured)].tolist())
    texts = [prepare(text, 10_000) for text in chosen.texts]
    classes = tuple(sorted(set(rows.labels)))
    targets = np.array([classes.index(label) for label in chosen.labels])
    embeddings = embed(EncoderFiles.of(ENCODER), texts, DATA_SETS[data].max_length)
    return Bench(texts, embeddings, ngram_features(texts), targets, classes, len(texts) - measured)


def rounds(bench: Bench, way: Callable[[Bench, list[int], np.random.Generator], list[int]], seed: int) -> list[float]:
    """Return the accuracy after each round; the first labels of a seed are the same for each way."""
    generator = np.random.default_rng(seed)
    labelled = generator.permutation(bench.pool)[:FIRST].tolist()
    found = [accuracy(bench, labelled)]
    for _ in range(ROUNDS):
        labelled += way(bench, labelled, generator)
        found.append(accuracy(bench, labelled))
    return found


def accuracy(bench: Bench, labelled: Sequence[int]) -> float:
    """Return the accuracy on the texts that measure."""
    measured = range(bench.pool, len(bench.texts))
    both, _, _ = predicted(bench, labelled, measured)
    return float((both.argmax(axis=1) == bench.targets[bench.pool :]).mean())


def predicted(bench: Bench, labelled: Sequence[int], asked: Sequence[int]) -> tuple[Floats, Floats, Floats]:
    """Return the probabilities (texts, classes) of both views together, of the encoder, and of the n-grams."""
    targets = bench.targets[list(labelled)]
    linear = LogisticRegression(C=100.0, max_iter=2000).fit(bench.embeddings[list(labelled)], targets)
    encoder = np.full((len(asked), len(bench.classes)), 1e-6)
    encoder[:, linear.classes_] = linear.predict_proba(bench.embeddings[list(asked)])
    view = fit_ngram([bench.texts[place] for place in labelled], targets.tolist(), len(bench.classes), seed=0)
    ngram = view.predict_features(bench.features[list(asked)])
    return combine(encoder, ngram, 0.5, 0.5), encoder, ngram


def at_random(bench: Bench, labelled: list[int], generator: np.random.Generator) -> list[int]:
    """Return texts at random."""
    return [int(place) for place in generator.permutation(sorted(set(range(bench.pool)) - set(labelled)))[:STEP]]


def queued(bench: Bench, labelled: list[int], generator: np.random.Generator) -> list[int]:
    """Return texts as `tlnlp queue` chooses them: of the most doubtful ones and of others at random."""
    defaults = QueueSettings()
    free = generator.permutation(sorted(set(range(bench.pool)) - set(labelled)))
    whole, _, _ = predicted(bench, labelled, free.tolist())
    half = defaults.candidates // 2
    doubtful = free[half:][np.argsort(whole[half:].max(axis=1), kind="stable")[:half]]
    asked = [*free[:half].tolist(), *doubtful.tolist()]
    both, encoder, ngram = predicted(bench, labelled, asked)
    features = bench.features[asked]
    signals = {
        DOUBT: margin_doubt(both),
        VIEWS_DISAGREE: disagreement(encoder, ngram),
        NOVEL: novelty(features, bench.features[labelled]),
    }
    counts = {name: int((bench.targets[labelled] == place).sum()) for place, name in enumerate(bench.classes)}
    candidates = Candidates(range(half), both, signals, features)
    chosen = choose(candidates, STEP, defaults.random_share, few_labels(counts, bench.classes))
    return [asked[one.position] for one in chosen]


def needed(curve: Sequence[float], goal: float) -> float | None:
    """Return the labels at which a curve of mean accuracies reaches a goal, between rounds by a line; None if never."""
    for place, value in enumerate(curve):
        if value >= goal:
            if place == 0:
                return float(FIRST)
            before = curve[place - 1]
            return FIRST + STEP * (place - 1 + (goal - before) / (value - before))
    return None


def table(results: dict[str, Any]) -> str:
    """Return the table of the page."""
    most = FIRST + STEP * ROUNDS
    lines = [
        f"| data | accuracy at {FIRST} labels | at {most}, at random | at {most}, from the queue | difference "
        "| labels from the queue for the accuracy at random |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in results.items():
        random, queue = (np.array(one["accuracies"][way]) for way in (RANDOM, QUEUE))
        gain = queue[:, -1] - random[:, -1]
        error = gain.std(ddof=1) / len(gain) ** 0.5
        reached = needed(queue.mean(axis=0).tolist(), float(random[:, -1].mean()))
        shares = [f"{share:.1%}" for share in (random[:, 0].mean(), random[:, -1].mean(), queue[:, -1].mean())]
        labels = "not reached" if reached is None else f"{reached:.0f}"
        difference = f"{100 * gain.mean():+.1f} ± {100 * error:.1f}"
        lines.append(f"| {DATA_SETS[name].title} | {' | '.join(shares)} | {difference} | {labels} |")
    n = ", ".join(
        f"{DATA_SETS[name].title} {one['n']:,} ({len(one['accuracies'][RANDOM])} seeds)"
        for name, one in results.items()
    )
    cpus = "; ".join(sorted({f"{one['machine']['cpu']}, {one['machine']['cores']} cores" for one in results.values()}))
    note = f"Means over seeds, ± the standard error; texts that measure: {n}. {cpus}."
    return "\n".join(lines) + f"\n\n{note}\n"


if __name__ == "__main__":
    main()
