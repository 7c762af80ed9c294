"""Draw the labels, the unlabelled pool and the test texts of a cell. A draw depends on the seed alone."""

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
# Seeds of development cells. Recipes are chosen on these cells alone; they do not read the test file.
DEV_SEEDS = (0, 1, 2)
# Most test texts of a development cell; at most half of the texts that no draw takes. The others are the pool.
DEV_TEST_TEXTS = 4000
TEST_SEED = 7001


@dataclass(frozen=True)
class DataSet:
    """One data set, and how cells use it.

    ``counts``: numbers of labels, with the same number for each class; of each class if ``per_class``, else in all; 0
    means no labels. ``total_counts``: numbers of labels in all, drawn at random over the classes. ``max_length``:
    tokens. ``budget_s``: default seconds of fine-tuning with a pool. ``setfit_steps``: most steps of SetFit with more
    than 100 labels. ``test_texts``: number of test texts; None for the whole test file. ``unlabelled``: whether there
    is a file of unlabelled texts.
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
        """Return all counts. No number is in both ``counts`` and ``total_counts``, since a count names one draw."""
        return (*self.counts, *self.total_counts)

    def title_of(self, count: int) -> str:
        """Return the title of a row of the table."""
        if count == 0:
            return f"{self.title}, no labels"
        return f"{self.title}, {count} {'in all' if count in self.total_counts or not self.per_class else 'a class'}"


# SetFit's steps are at least those of 100 labels without a limit, and take longer than fine-tuning on labels alone.
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
    """Texts and their labels, in the same order."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]

    def take(self, positions: Sequence[int]) -> Rows:
        """Return the rows at these positions."""
        return Rows(tuple(self.texts[i] for i in positions), tuple(self.labels[i] for i in positions))


@dataclass(frozen=True)
class Draw:
    """One draw.

    ``alone``: for each test text, whether it occurs nowhere else in the files of the data set. ``classes``: all classes
    of the data set, sorted, with those that have no label in this draw.
    """

    labels: Rows
    pool: tuple[str, ...]
    test: Rows
    alone: tuple[bool, ...]
    classes: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write labels.parquet (text, label), pool.parquet (id, text) and test.parquet (text), unless empty."""
        labels = {"text": list(self.labels.texts), "label": list(self.labels.labels)}
        pool = {"id": [str(number) for number in range(len(self.pool))], "text": list(self.pool)}
        for name, columns in (("labels", labels), ("pool", pool), ("test", {"text": list(self.test.texts)})):
            if columns["text"]:
                pq.write_table(pa.table(columns), folder / f"{name}.parquet")


def draw(data: DataSet, count: int, seed: int, folder: Path, dev: bool) -> Draw:
    """Draw a cell from the files in ``folder``. Labels of a larger count contain those of a smaller one.

    With ``dev`` the test texts too are from the training file, the same for every count of a seed.
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
    # Without dev, a test text may also be in the pool, as with real users; ``alone`` is False for such a text.
    taken = {*labels.texts, *(test.texts if dev else ())}
    pool = tuple(text for text in dict.fromkeys([*rows.texts, *more]) if text not in taken)
    return Draw(labels, pool, test, alone, tuple(sorted(set(train.labels))))


def training_texts(data: DataSet, folder: Path) -> Rows:
    """Return each text of the training file once, without texts that have two labels."""
    return _distinct(_read(folder / f"{data.name}_train.parquet"))


def test_texts(data: DataSet, folder: Path) -> Rows:
    """Return every text of the test file."""
    return _read(folder / f"{data.name}_test.parquet")


def every_label(data: DataSet, drawn: Draw, folder: Path) -> Draw:
    """Return the draw with every label of the training file, except of test texts, and without a pool."""
    tested = set(drawn.test.texts)
    train = _distinct(_read(folder / f"{data.name}_train.parquet"))
    labels = train.take([i for i, text in enumerate(train.texts) if text not in tested])
    return replace(drawn, labels=labels, pool=())


def _positions(data: DataSet, train: Rows, count: int, seed: int) -> tuple[list[int], set[int]]:
    """Return the positions of the labels of a count, shuffled, and the positions of the labels of all counts."""
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
    """Return for each class the positions of its texts, in the order in which this seed draws them."""
    generator = _generator(data, seed, "train")
    order = []
    for label in sorted(set(train.labels)):
        positions = [i for i, other in enumerate(train.labels) if other == label]
        if len(positions) < _of_each(data, max(data.counts), len(set(train.labels))):
            raise ValueError(f"{data.name}: class {label} has {len(positions)} texts, too few for {max(data.counts)}")
        order.append([positions[i] for i in generator.permutation(len(positions))])
    return order


def _sample(positions: Sequence[int], count: int, generator: np.random.Generator) -> list[int]:
    """Return at most ``count`` of the positions, in their order."""
    if count >= len(positions):
        return list(positions)
    return [positions[i] for i in sorted(generator.choice(len(positions), count, replace=False))]


def _generator(data: DataSet, seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng((seed, zlib.crc32(f"{data.name} {purpose}".encode())))


def _distinct(rows: Rows) -> Rows:
    """Return each text once, without texts that have two labels."""
    labels: dict[str, set[str]] = {}
    for text, label in zip(rows.texts, rows.labels, strict=True):
        labels.setdefault(text, set()).add(label)
    distinct = {text: found.pop() for text, found in labels.items() if len(found) == 1 and text.strip()}
    return Rows(tuple(distinct), tuple(distinct.values()))


@lru_cache(maxsize=8)
def _read(path: Path) -> Rows:
    table = pq.read_table(path, columns=["text", "label"])
    return Rows(tuple(table["text"].to_pylist()), tuple(str(label) for label in table["label"].to_pylist()))


@lru_cache(maxsize=2)
def _read_texts(path: Path) -> tuple[str, ...]:
    return tuple(pq.read_table(path, columns=["text"])["text"].to_pylist())
