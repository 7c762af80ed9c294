"""Measure whether a text's label rests on the sentences that its evidence ranks first.

    python tests/bench/faithfulness.py run --version FOLDER --other FOLDER [--reviews 500]
    python tests/bench/faithfulness.py table

The sentences of each review are ranked by their evidence. The first one is removed from the text, and so is a random
one of the others, and a judge predicts both rests. The evidence is right where the judge's probability of the predicted
label is lower without the first sentence. Long sentences move a probability more, so the first one is also compared
with the one of the others whose length is nearest. The same is done with the first three sentences.

Evidence of both views is defined by the same removal, so a judge that is the same model only checks the arithmetic. The
other judges had no part in the ranking: a view judges the evidence of the other view; and another model, of another
encoder and other labels, judges all.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from cells import commit, data_folder, machine, write_json
from draws import DATA_SETS, SEEDS, draw
from table import into_page

from tlnlp.data.sentences import split_sentences
from tlnlp.evaluate.intervals import wilson
from tlnlp.model.bundle_spec import read_spec
from tlnlp.model.classifier import Classifier
from tlnlp.model.combine import Floats
from tlnlp.model.evidence import Evidence, SentenceEvidence, explain
from tlnlp.model.profile import NONE, Profile
from tlnlp.runs import environment

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "faithfulness.json", HERE.parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- faithfulness:begin -->", "<!-- faithfulness:end -->"
SEED, LEAST_SENTENCES = 11, 3
# How many of the first sentences are removed; as many others must be left beside them.
COUNTS = (1, 3)
# After so many reviews the figures are written.
YIELDED = 20
# What each ranking is by, and the names of rankings and judges.
RANKINGS = {"both": "log_odds", "ngram": "ngram", "encoder": "encoder"}
TITLES = {"both": "both views", "ngram": "the n-grams", "encoder": "the encoder"}
JUDGES = TITLES | {"other": "another model"}
# The rows of the table: whose evidence, and who judges it.
PAIRS = (
    ("ngram", "encoder"), ("encoder", "ngram"), ("ngram", "other"), ("encoder", "other"), ("both", "other"),
    ("both", "both"),
)  # fmt: skip
Removed = frozenset[int]
# Returns a judge's probabilities of some texts, (texts, classes), by the name of the judge.
Judge = Callable[[Sequence[str]], dict[str, Floats]]


@dataclass(frozen=True)
class Trial:
    """Sentences that are removed from a text: the first ones of its evidence, and those that they are compared with.

    Fields:
        top: the first sentences.
        random: as many of the others.
        near: the one of the others whose length is nearest; where several are removed, the same as ``random``.
    """

    top: Removed
    random: Removed
    near: Removed


def main() -> None:
    """Run the command of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "table"])
    parser.add_argument("--version", type=Path, help="folder of a version whose evidence is tried")
    parser.add_argument("--other", type=Path, help="folder of a version of another encoder and other labels")
    parser.add_argument("--reviews", type=int, default=500)
    given = parser.parse_args()
    if given.command == "run":
        spec = read_spec(given.version)
        model = Classifier.load(given.version, profile=_whole(given.version))
        facts: dict[str, Any] = {
            "engine": spec.engine,
            "encoder": spec.encoder,
            "other": read_spec(given.other).encoder,
        }
        facts |= {"machine": machine(), "commit": commit()}
        # A run that is stopped leaves the figures of its first reviews.
        for found in measure(model, judges(given.version, given.other), reviews(given.reviews)):
            write_json(RESULTS, facts | found)
    into_page(table(json.loads(RESULTS.read_text())), PAGE, BEGIN, END)


def reviews(count: int) -> list[str]:
    """Return test reviews with enough sentences that occur nowhere else in the files."""
    drawn = draw(DATA_SETS["imdb"], 200, SEEDS[0], data_folder(), dev=False)
    texts = [text for text, alone in zip(drawn.test.texts, drawn.alone, strict=True) if alone]
    order = np.random.default_rng(SEED).permutation(len(texts))
    enough = (texts[place] for place in order if len(split_sentences(texts[place])) >= LEAST_SENTENCES)
    return list(islice(enough, count))


def judges(version: Path, other: Path) -> Judge:
    """Return a function that asks all judges: the version, each of its views, and the other version."""
    own, another = (Classifier.load(folder, profile=_whole(folder)) for folder in (version, other))

    def ask(texts: Sequence[str]) -> dict[str, Floats]:
        encoder, ngram = own.views(texts)
        both = own.spec.combined(encoder, ngram)
        order = [another.classes.index(label) for label in own.classes]
        return {"both": both, "ngram": ngram, "encoder": encoder, "other": another.predict(texts)[:, order]}

    return ask


def _whole(version: Path) -> Profile:
    """Return the profile of a version without its cascade."""
    return Profile(read_spec(version).engine, NONE)


def measure(model: Classifier, ask: Judge, texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield how often the evidence of each ranking was right, by each judge: now and then, and of all texts at last."""
    generator = np.random.default_rng(SEED)
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for number, text in enumerate(texts, 1):
        evidence = explain(model, text)
        made = trials(evidence, generator)
        removed = list({each: None for trial in made.values() for each in (trial.top, trial.random, trial.near)})
        probabilities = ask([text, *(without(text, evidence, each) for each in removed)])
        for judge, rows in probabilities.items():
            column = rows[:, model.classes.index(evidence.label)].tolist()
            rests = dict(zip(removed, column[1:], strict=True))
            for name, trial in made.items():
                found[f"{name}, {judge}"].append(outcome(column[0], trial, rests))
        if number % YIELDED == 0 or number == len(texts):
            print(f"{number} of {len(texts)} reviews", file=sys.stderr, flush=True)
            yield {"reviews": number, "pairs": {pair: means(each) for pair, each in found.items()}}


def means(outcomes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the number of outcomes, and the mean of each of their values."""
    return {"n": len(outcomes)} | {key: float(np.mean([one[key] for one in outcomes])) for key in outcomes[0]}


def trials(evidence: Evidence, generator: np.random.Generator) -> dict[str, Trial]:
    """Return what is removed from a text, by the ranking and the number of sentences."""
    sentences, made = evidence.sentences, dict[str, Trial]()
    shuffled = generator.permutation(len(sentences)).tolist()
    for ranking, key in RANKINGS.items():
        order = sorted(range(len(sentences)), key=lambda i: -_value(sentences[i], key))
        for count in COUNTS:
            top, others = order[:count], order[count:]
            if len(others) < count:
                continue
            random = [i for i in shuffled if i in others][:count]
            length = len(sentences[top[0]].text)
            near = [min(others, key=lambda i: abs(len(sentences[i].text) - length))] if count == 1 else random
            made[f"{ranking}, {count}"] = Trial(frozenset(top), frozenset(random), frozenset(near))
    return made


def _value(sentence: SentenceEvidence, key: str) -> float:
    """Return what a sentence is ranked by; one that was not measured comes last."""
    value = getattr(sentence, key)
    return float("-inf") if value is None else float(value)


def without(text: str, evidence: Evidence, removed: Removed) -> str:
    """Return the text without these sentences."""
    for position in sorted(removed, reverse=True):
        sentence = evidence.sentences[position]
        text = f"{text[: sentence.start]} {text[sentence.end :]}"
    return text


def outcome(whole: float, trial: Trial, rests: Mapping[Removed, float]) -> dict[str, float]:
    """Return whether the probability of the label falls or moves more without the first sentences than without others.

    Args:
        whole: a judge's probability of the label with all sentences.
        rests: the same without some.
    """
    top, random, near = rests[trial.top], rests[trial.random], rests[trial.near]
    return {
        "lower": top < random,
        "moves": abs(whole - top) > abs(whole - random),
        "lower_than_near": top < near,
        "fall": whole - top,
        "fall_random": whole - random,
    }


def table(results: dict[str, Any]) -> str:
    """Return the shares of reviews as a Markdown table, with the interval of each."""
    lines = [
        "| evidence of | judge | first sentence, against a random one | against one of like length "
        "| first three, against three random ones |",
        "|---|---|---|---|---|",
    ]
    for ranking, judge in PAIRS:
        one, three = (results["pairs"].get(f"{ranking}, {count}, {judge}") for count in COUNTS)
        cells = [_share(one, "lower"), _share(one, "lower_than_near"), _share(three, "lower")]
        judged = "the same (a check alone)" if (ranking, judge) == ("both", "both") else JUDGES[judge]
        lines.append(f"| {TITLES[ranking]} | {judged} | {' | '.join(cells)} |")
    machine_ = f"{results['machine']['cpu']}, {results['machine']['cores']} cores"
    return "\n".join(
        [
            *lines,
            "",
            f"Share of IMDb test reviews, with its 95 % interval (Wilson). Evidence by {results['engine']} with "
            f"{results['encoder']}; another model: {results['other']}, other labels. Measured on {machine_}.",
            "",
        ]
    )


def _share(found: Mapping[str, float] | None, key: str) -> str:
    if found is None:
        return ""
    low, high = wilson(round(found[key] * found["n"]), int(found["n"]))
    return f"{found[key]:.1%} ({low:.0%} to {high:.0%}; n = {int(found['n'])})"


if __name__ == "__main__":
    environment.apply_defaults()
    main()
