"""Labels that are set aside: how many, which, and that they are the same for every later version."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import kit
import pytest
from labels_kit import ANY, rows_of, write

from tlnlp.data.held_out import hold_out
from tlnlp.data.labels import LabelledSet, read_labels


def labelled(path: Path, rows: list[dict[str, str]]) -> LabelledSet:
    return read_labels(str(write(path, rows)), ANY)


def aside(found: LabelledSet) -> set[str]:
    return {example.text for example in found.held_out}


def test_a_share_of_each_class_is_set_aside_and_nothing_is_lost(tmp_path: Path) -> None:
    found = labelled(tmp_path / "a.jsonl", kit.labelled(600, 3))
    parted = hold_out(found, 0.2, 0, 10_000)
    assert sorted([*parted.examples, *parted.held_out], key=lambda one: one.row) == list(found.examples)
    for count in Counter(example.label for example in parted.held_out).values():
        assert 40 <= count <= 80  # Of 300, three standard deviations around 60.
    assert (parted.classes, parted.digest, parted.rows) == (found.classes, found.digest, found.rows)
    assert aside(hold_out(found, 0.2, 0, 10_000)) == aside(parted)
    assert aside(hold_out(found, 0.2, 1, 10_000)) != aside(parted)
    assert hold_out(found, 0.0, 0, 10_000) is found


def test_a_text_stays_on_its_side_when_labels_are_added(tmp_path: Path) -> None:
    rows = kit.labelled(300, 3)
    before = hold_out(labelled(tmp_path / "a.jsonl", rows[:100]), 0.2, 0, 10_000)
    after = hold_out(labelled(tmp_path / "b.jsonl", rows), 0.2, 0, 10_000)
    assert aside(before) < aside(after)
    # So the earlier version learned from none of the texts that the later one sets aside.
    assert not set(before.texts) & aside(after)


def test_every_class_has_a_label_set_aside_however_small_the_share(tmp_path: Path) -> None:
    found = labelled(tmp_path / "a.jsonl", kit.labelled(30, 3, ("negative", "mixed", "positive")))
    parted = hold_out(found, 1e-9, 0, 10_000)
    assert Counter(example.label for example in parted.held_out) == {"negative": 1, "mixed": 1, "positive": 1}


@pytest.mark.parametrize("seed", range(6))
def test_texts_that_a_model_reads_as_equal_stay_on_one_side(tmp_path: Path, seed: int) -> None:
    same = [("warm  bread", "a"), ("warm bread", "a"), (" warm<br />bread ", "b"), ("warm\tbread\n", "b")]
    rows = rows_of(*same, *[(f"text {number}", "ab"[number % 2]) for number in range(20)])
    for share in (0.3, 1e-9):
        parted = hold_out(labelled(tmp_path / "a.jsonl", rows), share, seed, 10_000)
        assert len([text for text, _ in same if text in aside(parted)]) in (0, 4)
