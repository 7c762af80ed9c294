"""What a cell learns from and is tested on: labels, unlabelled pool and test texts, all functions of a seed."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SEEDS = (701, 702, 703)
# Recipes are chosen on cells of these seeds alone, which see no test file.
DEV_SEEDS = (0, 1, 2)
# So many development test texts, but no more than half of the texts that no draw of labels takes: the rest is the pool.
DEV_TEST_TEXTS = 4000
TEST_SEED = 7001


@dataclass(frozen=True)
class DataSet:
    """``counts``: labels in all, equally many of each class, or of each class where ``per_class``; 0: none at all.

    ``total_counts``: labels in all, drawn at random over the classes; ``max_length`` in tokens; ``budget_s``: what
    fine-tuning with a pool may take unless told otherwise; ``setfit_steps``: the most steps that SetFit takes on more
    than 100 labels; ``test_texts``: None for the whole test file.
    """

    name: str
    title: str
    counts: tuple[int, ...]
    per_class: bool
    max_length: int
    budget_s: float
    setfit_steps: int
    test_texts: int | None = None
    unlabelled: bool = False
    total_counts: tuple[int, ...] = ()

    @property
    def every_count(self) -> tuple[int, ...]:
        """A count means one kind of draw of a data set, so no number is of both kinds."""
        return (*self.counts, *self.total_counts)

    def title_of(self, count: int) -> str:
        if count == 0:
            return f"{self.title}, no labels"
        return f"{self.title}, {count} {'in all' if count in self.total_counts or not self.per_class else 'a class'}"


# SetFit's steps: at least what 100 labels get without a cap, and more wall time than fine-tuning on labels alone takes.
DATA_SETS = {
    one.name: one
    for one in (
        DataSet("trec", "TREC", (8, 16, 50), True, 64, 600.0, 1000, total_counts=(200,)),
        DataSet("agnews", "AG News", (8, 16, 50), True, 128, 600.0, 500, 4000),
        DataSet("imdb", "IMDb", (0, 20, 200), False, 256, 1800.0, 320, 4000, True),
    )
}


@dataclass(frozen=True)
class Rows:
    """Texts and their labels, in one order."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]

    def take(self, positions: Sequence[int]) -> Rows:
        return Rows(tuple(self.texts[i] for i in positions), tuple(self.labels[i] for i in positions))


@dataclass(frozen=True)
class Draw:
    """One draw. ``alone`` (test texts,): whether the text occurs nowhere else in the files of the data set.

    ``classes``: all of the data set, in order, also those that no label was drawn of.
    """

    labels: Rows
    pool: tuple[str, ...]
    test: Rows
    alone: tuple[bool, ...]
    classes: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """``labels.parquet`` (text, label), ``pool.parquet`` (id, text), ``test.parquet`` (text); none without rows."""
        labels = {"text": list(self.labels.texts), "label": list(self.labels.labels)}
        pool = {"id": [str(number) for number in range(len(self.pool))], "text": list(self.pool)}
        for name, columns in (("labels", labels), ("pool", pool), ("test", {"text": list(self.test.texts)})):
            if columns["text"]:
                pq.write_table(pa.table(columns), folder / f"{name}.parquet")


def draw(data: DataSet, count: int, seed: int, folder: Path, dev: bool) -> Draw:
    """The draw of a cell from the files in ``folder``. A larger one of ``counts`` holds the smaller ones.

    With ``dev`` the test texts come from the training file as well, the same for every count of a seed.
    """
    rows = _read(folder / f"{data.name}_train.parquet")
    more = _read_texts(folder / f"{data.name}_unlabelled.parquet") if data.unlabelled else ()
    train = _distinct(rows)
    chosen, reserved = _positions(data, train, count, seed)
    if dev:
        free = [i for i in range(len(train.texts)) if i not in reserved]
        test = train.take(_sample(free, min(DEV_TEST_TEXTS, len(free) // 2), _generator(data, seed, "dev test")))
        elsewhere = Counter([*rows.texts, *more])
    else:
        whole = _read(folder / f"{data.name}_test.parquet")
        places = range(len(whole.texts))
        test = whole.take(_sample(places, data.test_texts or len(places), _generator(data, TEST_SEED, "test")))
        elsewhere = Counter([*rows.texts, *more, *whole.texts])
    alone = tuple(elsewhere[text] == 1 for text in test.texts)
    labels = train.take(chosen)
    # Without dev a text of the test file may recur in the pool, as at a user's; ``alone`` tells those apart.
    taken = {*labels.texts, *(test.texts if dev else ())}
    pool = tuple(text for text in dict.fromkeys([*rows.texts, *more]) if text not in taken)
    return Draw(labels, pool, test, alone, tuple(sorted(set(train.labels))))


def every_label(data: DataSet, drawn: Draw, folder: Path) -> Draw:
    """The same draw with all labels of the training file whose texts are not among the test texts, and no pool."""
    tested = set(drawn.test.texts)
    train = _distinct(_read(folder / f"{data.name}_train.parquet"))
    labels = train.take([i for i, text in enumerate(train.texts) if text not in tested])
    return replace(drawn, labels=labels, pool=())


def _positions(data: DataSet, train: Rows, count: int, seed: int) -> tuple[list[int], set[int]]:
    """The positions of the labels drawn, shuffled, since a file sorted by class is not what users have.

    And those of the labels of every count of this seed.
    """
    order = _class_order(data, train, seed)
    at_random = _generator(data, seed, "at random").permutation(len(train.texts)).tolist()

    def drawn(count: int) -> list[int]:
        if count in data.total_counts:
            return list(at_random[:count])
        return [i for positions in order for i in positions[: _of_each(data, count, len(order))]]

    chosen = drawn(count)
    shuffled = [chosen[i] for i in _generator(data, seed, "labels").permutation(len(chosen))]
    return shuffled, {i for each in data.every_count for i in drawn(each)}


def _of_each(data: DataSet, count: int, classes: int) -> int:
    if data.per_class:
        return count
    if count % classes:
        raise ValueError(f"{count} labels are not equally many of {classes} classes")
    return count // classes


def _class_order(data: DataSet, train: Rows, seed: int) -> list[list[int]]:
    """Of each class, the positions of its texts in the order in which this seed draws them."""
    generator = _generator(data, seed, "train")
    order = []
    for label in sorted(set(train.labels)):
        positions = [i for i, other in enumerate(train.labels) if other == label]
        if len(positions) < _of_each(data, max(data.counts), len(set(train.labels))):
            raise ValueError(f"{data.name}: class {label} has {len(positions)} texts, too few for {max(data.counts)}")
        order.append([positions[i] for i in generator.permutation(len(positions))])
    return order


def _sample(positions: Sequence[int], count: int, generator: np.random.Generator) -> list[int]:
    """``count`` of the positions at most, in their order."""
    if count >= len(positions):
        return list(positions)
    return [positions[i] for i in sorted(generator.choice(len(positions), count, replace=False))]


def _generator(data: DataSet, seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng((seed, zlib.crc32(f"{data.name} {purpose}".encode())))


def _distinct(rows: Rows) -> Rows:
    """Each text once; a text with two labels not at all."""
    labels: dict[str, set[str]] = {}
    for text, label in zip(rows.texts, rows.labels, strict=True):
        labels.setdefault(text, set()).add(label)
    kept = {text: found.pop() for text, found in labels.items() if len(found) == 1 and text.strip()}
    return Rows(tuple(kept), tuple(kept.values()))


@lru_cache(maxsize=8)
def _read(path: Path) -> Rows:
    table = pq.read_table(path, columns=["text", "label"])
    return Rows(tuple(table["text"].to_pylist()), tuple(str(label) for label in table["label"].to_pylist()))


@lru_cache(maxsize=2)
def _read_texts(path: Path) -> tuple[str, ...]:
    return tuple(pq.read_table(path, columns=["text"])["text"].to_pylist())
