"""How often a decision "do these documents belong with these labels" is right, on draws that no recipe was chosen on.

    python tests/bench/documents_gate.py run [--function tlnlp.train.domain_shift.relevance] [--documents 500]

The function is called with the states of labelled texts (labels, hidden) and of documents (documents, hidden); what it
returns is true, or has a true ``same_source``, if the documents are kept. Own documents, of 12 draws of labels, should
be kept; 9 foreign pools, each tried on the 4 draws of its data set, should be refused, or be harmless (harmless.py). A
JSON line a trial, and one of the whole at the end. States are the frozen encoder's own embeddings; training files only.
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
    data: str
    seed: int
    documents: str
    kept: bool

    @property
    def right(self) -> bool:
        return self.kept == (self.documents == "own")


def function(path: str) -> Decide:
    """The function of an import path, ``package.module.name``."""
    module, _, name = path.rpartition(".")
    found: Decide = getattr(importlib.import_module(module), name)
    return found


def another_language(count: int, generator: np.random.Generator) -> list[str]:
    """Different sentences, German and Spanish in turn, of which few words are known to who knows English alone."""
    both = [[" ".join(words) for words in product(*parts)] for parts in (GERMAN, SPANISH)]
    orders = [generator.permutation(len(sentences)) for sentences in both]
    return [both[i % 2][orders[i % 2][i // 2]] for i in range(min(count, 2 * len(both[0])))]


def shuffled(texts: Sequence[str], generator: np.random.Generator) -> list[str]:
    return [" ".join(generator.permutation(text.split())) for text in texts]


def sample(texts: Sequence[str], count: int, generator: np.random.Generator) -> list[str]:
    return [texts[i] for i in generator.permutation(len(texts))[:count]]


def draws(folder: Path) -> dict[str, list[Draw]]:
    """Of each data set, a draw a seed, of as few labels as it counts; documents of the training file alone."""
    found = {}
    for name in OTHER:
        data = replace(DATA_SETS[name], unlabelled=False)
        fewest = min(count for count in data.counts if count)
        found[name] = [draw(data, fewest, seed, folder, dev=True) for seed in SEEDS]
    return found


def trials(decide: Decide, drawn: dict[str, list[Draw]], embed: Callable[[str], Embed], count: int) -> Iterator[Trial]:
    """``embed`` gives the embedding of a data set's texts, whose length differs; ``count``: documents of a trial."""
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
            own = states(sample(one.pool, count, generator))
            for kind, documents in {"own": own, **known}.items():
                decision = decide(labelled, documents)
                yield Trial(name, seed, kind, bool(getattr(decision, "same_source", decision)))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Do these documents belong with these labels: how often is it right?")
    run = parser.add_subparsers(required=True).add_parser("run")
    run.add_argument("--function", default=FUNCTION, help="import path of the decision")
    run.add_argument("--documents", type=int, default=500, help="documents of a trial")
    run.add_argument("--encoder", default=ENCODER)
    asked = parser.parse_args(arguments)
    decide, files = function(asked.function), EncoderFiles.of(asked.encoder)
    from torch_methods import embed  # Torch takes seconds to import, and a wrong option should not.

    def states(name: str) -> Embed:
        length = DATA_SETS[name].max_length
        return lambda texts: embed(files, [prepare(text, MAX_CHARS) for text in texts], length)

    found = []
    for trial in trials(decide, draws(data_folder()), states, asked.documents):
        found.append(trial)
        print(json.dumps(vars(trial) | {"right": trial.right}), flush=True)
    own, foreign = ([one for one in found if (one.documents == "own") == wanted] for wanted in (True, False))
    told = {"own": len(own), "own_kept": sum(one.kept for one in own)}
    print(json.dumps(told | {"foreign": len(foreign), "foreign_refused": sum(not one.kept for one in foreign)}))
    return 0


if __name__ == "__main__":
    environment.apply_defaults()
    sys.exit(main(sys.argv[1:]))
