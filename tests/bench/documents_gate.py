"""Measure how often the decision whether documents belong with labels is right, on draws used for nothing else.

    python tests/bench/documents_gate.py run [--function tlnlp.train.domain_shift.relevance] [--documents 500]

The function gets embeddings of labelled texts (labels, hidden) and of documents (documents, hidden). The documents are
accepted if its result is true or has a true ``same_source``, and if their words are in order (``train/word_order.py``).
The documents of the same data set should be accepted, in
12 draws of labels. Foreign documents (9 pools, each with the 4 draws of its data set) should be refused, unless they do
no harm (harmless.py). The program prints a JSON line for each trial, and one for all at the end. Embeddings are those
of the frozen encoder. All texts are from training files.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from cells import data_folder
from draws import DATA_SETS, Draw, draw
from encoders import EncoderFiles
from tasks import ENCODER, MAX_CHARS

from tlnlp.data.text import prepare
from tlnlp.model.combine import Floats
from tlnlp.runs import environment
from tlnlp.train.word_order import word_order

FUNCTION = "tlnlp.train.domain_shift.relevance"
SEEDS = (11, 12, 13, 14)
OTHER = {"imdb": "agnews", "agnews": "trec", "trec": "imdb"}
GERMAN = (
    ("Der Nachbar", "Meine Schwester", "Ein alter Lehrer", "Die Ärztin", "Unser Bäcker", "Das Kind"),
    ("kauft", "sucht", "vergisst", "bemalt", "verschenkt", "findet"),
    ("ein rotes Fahrrad", "den Schlüssel", "frisches Brot", "die alte Karte", "einen Regenschirm", "viele Bücher"),
    ("am Bahnhof.", "vor dem Frühstück.", "im kalten Garten.", "jeden Dienstag.", "hinter der Kirche.", "ohne Grund."),
)
SPANISH = (
    ("El vecino", "Mi hermana", "Un viejo maestro", "La doctora", "Nuestro panadero", "El niño"),
    ("compra", "busca", "olvida", "pinta", "regala", "encuentra"),
    ("una bicicleta roja", "la llave", "pan fresco", "el mapa antiguo", "un paraguas", "muchos libros"),
    (
        "en la estación.",
        "antes del desayuno.",
        "en el jardín frío.",
        "cada martes.",
        "detrás de la iglesia.",
        "sin razón.",
    ),
)
Decide = Callable[[Floats, Floats], Any]
Embed = Callable[[Sequence[str]], Floats]


@dataclass(frozen=True)
class Trial:
    """One decision. ``documents`` is the kind of documents; ``kept`` says whether they were accepted."""

    data: str
    seed: int
    documents: str
    kept: bool

    @property
    def right(self) -> bool:
        """Return whether own documents were accepted, or foreign ones refused."""
        return self.kept == (self.documents == "own")


def function(path: str) -> Decide:
    """Return the function of an import path ``package.module.name``."""
    module, _, name = path.rpartition(".")
    found: Decide = getattr(importlib.import_module(module), name)
    return found


def another_language(count: int, generator: np.random.Generator) -> list[str]:
    """Return different sentences, German and Spanish in turn, for an encoder trained on English."""
    both = [[" ".join(words) for words in product(*parts)] for parts in (GERMAN, SPANISH)]
    orders = [generator.permutation(len(sentences)) for sentences in both]
    return [both[i % 2][orders[i % 2][i // 2]] for i in range(min(count, 2 * len(both[0])))]


def shuffled(texts: Sequence[str], generator: np.random.Generator) -> list[str]:
    """Return the texts with their words in random order."""
    return [" ".join(generator.permutation(text.split())) for text in texts]


def sample(texts: Sequence[str], count: int, generator: np.random.Generator) -> list[str]:
    """Return at most ``count`` of the texts, in random order."""
    return [texts[i] for i in generator.permutation(len(texts))[:count]]


def draws(folder: Path) -> dict[str, list[Draw]]:
    """Return a draw for each data set and seed, of the smallest label count, with documents of the training file."""
    found = {}
    for name in OTHER:
        data = replace(DATA_SETS[name], unlabelled=False)
        fewest = min(count for count in data.counts if count)
        found[name] = [draw(data, fewest, seed, folder, dev=True) for seed in SEEDS]
    return found


def trials(decide: Decide, drawn: dict[str, list[Draw]], embed: Callable[[str], Embed], count: int) -> Iterator[Trial]:
    """Yield the trials of every draw.

    ``embed``: maps the name of a data set to its embedding function, since lengths differ. ``count``: documents in a
    trial.
    """
    for place, (name, each) in enumerate(drawn.items()):
        generator, states = np.random.default_rng((SEEDS[0], place)), embed(name)
        foreign = {
            "another data set's": sample(drawn[OTHER[name]][0].pool, count, generator),
            "own, words shuffled": shuffled(sample(each[0].pool, count, generator), generator),
            "another language": another_language(count, generator),
        }
        known = {kind: states(texts) for kind, texts in foreign.items()}
        for seed, one in zip(SEEDS, each, strict=True):
            labelled = states(one.labels.texts)
            own = sample(one.pool, count, generator)
            texts = {"own": own, **foreign}
            for kind, documents in {"own": states(own), **known}.items():
                decision = decide(labelled, documents)
                ordered = word_order(one.labels.texts, texts[kind]).is_kept
                yield Trial(name, seed, kind, ordered and bool(getattr(decision, "same_source", decision)))


def main(arguments: Sequence[str]) -> int:
    """Run the trials, print them, and return the exit code."""
    parser = argparse.ArgumentParser(
        description="How often is the decision whether documents belong with labels right?"
    )
    run = parser.add_subparsers(required=True).add_parser("run")
    run.add_argument("--function", default=FUNCTION, help="import path of the function that decides")
    run.add_argument("--documents", type=int, default=500, help="documents in one trial")
    run.add_argument("--encoder", default=ENCODER)
    asked = parser.parse_args(arguments)
    decide, files = function(asked.function), EncoderFiles.of(asked.encoder)
    from torch_methods import embed  # Imported late: torch takes seconds, and a wrong option should fail at once.

    def states(name: str) -> Embed:
        length = DATA_SETS[name].max_length
        return lambda texts: embed(files, [prepare(text, MAX_CHARS) for text in texts], length)

    found = []
    for trial in trials(decide, draws(data_folder()), states, asked.documents):
        found.append(trial)
        print(json.dumps(vars(trial) | {"right": trial.right}), flush=True)
    own, foreign = ([one for one in found if (one.documents == "own") == wanted] for wanted in (True, False))
    summary = {"own": len(own), "own_kept": sum(one.kept for one in own)}
    print(json.dumps(summary | {"foreign": len(foreign), "foreign_refused": sum(not one.kept for one in foreign)}))
    return 0


if __name__ == "__main__":
    environment.apply_defaults()
    sys.exit(main(sys.argv[1:]))
