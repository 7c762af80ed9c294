"""Texts that a model reads alike are one text: for duplicates, conflicts, labels set aside, and documents."""

from __future__ import annotations

import random
import re
import sys
from dataclasses import replace
from pathlib import Path

import kit
import pytest
from labels_kit import ANY, faults, rows_of, write

from tlnlp.config import FinetuneSettings, load_settings
from tlnlp.data.held_out import hold_out
from tlnlp.data.labels import read_labels
from tlnlp.data.pool import read_pool
from tlnlp.data.text import model_text_sha256, normalise, prepare, text_sha256
from tlnlp.runs.ledger import Ledger
from tlnlp.train.inputs import read_documents, read_labelled

SPELLINGS = ("{}", "{} ", "\t{}", "{}\n")
LONG = [f"{'warm bread ' * 60}{number} {'late ferry ' * 60}" for number in range(3)]


def alike(text: str) -> list[str]:
    """Return spellings of a text that differ in white space and line-break tags."""
    return [*(spelling.format(text) for spelling in SPELLINGS), text.replace(" ", "  "), text.replace(" ", "<BR />")]


def test_every_spelling_of_a_text_but_the_first_is_a_duplicate(tmp_path: Path) -> None:
    # Else a text stands on both sides of a fold, and nonsense with random labels is predicted perfectly.
    texts, generator = kit.texts(24), random.Random(3)
    rows = [
        {"text": spelt, "label": label} for text in texts for label in [generator.choice("ab")] for spelt in alike(text)
    ]
    found = read_labels(str(write(tmp_path / "a.jsonl", rows)), ANY)
    assert found.texts == texts
    assert len(found.faults) == 5 * 24
    assert {fault.kind for fault in found.faults} == {"duplicate"}
    assert found.faults[0].detail == (
        "the same text as row 1, but for white space, line-break tags or what max_chars cuts out"
    )
    assert texts[0] not in " ".join(map(str, found.faults))


def test_opposite_labels_of_spellings_are_conflicts(tmp_path: Path) -> None:
    rows = rows_of(("warm bread", "a"), ("warm bread ", "b"), ("boots", "a"), ("ferry", "b"))
    found = read_labels(str(write(tmp_path / "a.jsonl", rows)), ANY)
    assert faults(found) == [("a.jsonl", 1, "conflicting labels"), ("a.jsonl", 2, "conflicting labels")]
    assert found.faults[0].detail.startswith("'a' here, 'b' in row 2, whose text is the same but for white space")
    assert found.texts == ["boots", "ferry"]


def test_a_text_that_is_spelt_alike_is_named_first(tmp_path: Path) -> None:
    rows = rows_of(("warm bread", "a"), ("warm  bread", "a"), ("warm  bread", "a"), ("boots", "b"))
    found = read_labels(str(write(tmp_path / "a.jsonl", rows)), ANY)
    assert [fault.detail.split(",")[0] for fault in found.faults] == [
        "the same text as row 3",
        "the same text as row 2",
    ]


def test_texts_that_are_cut_alike_are_one_text(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.jsonl", [{"text": text, "label": "a"} for text in LONG]))
    assert read_labels(path, ANY).faults == ()
    found = read_labels(path, replace(ANY, max_chars=400))
    assert faults(found) == [("a.jsonl", 2, "duplicate"), ("a.jsonl", 3, "duplicate")]


@pytest.mark.parametrize("other", ["Warm café", "warm cafe\u0301", "warm-café", "warm café!", "<b>warm</b> café"])
def test_what_encoders_may_tell_apart_is_another_text(tmp_path: Path, other: str) -> None:
    assert model_text_sha256("warm café", 100) != model_text_sha256(other, 100)
    path = write(tmp_path / "a.jsonl", rows_of(("warm café", "a"), (other, "b")))
    assert read_labels(str(path), ANY).faults == ()


def test_the_identity_is_that_of_the_text_that_a_model_reads() -> None:
    for text in (*LONG, *alike("warm bread"), "<br>", "café", "x" * 401):
        assert model_text_sha256(text, 400) == text_sha256(prepare(text, 400))


def test_texts_set_aside_are_not_learned_from_in_another_spelling(tmp_path: Path) -> None:
    texts = kit.texts(60)
    rows = [{"text": spelt, "label": "ab"[i % 2]} for i, text in enumerate(texts) for spelt in alike(text)]
    parted = hold_out(read_labels(str(write(tmp_path / "a.jsonl", rows)), ANY), 0.3, 0, 10_000)
    sides = [{prepare(example.text, 10_000) for example in side} for side in (parted.examples, parted.held_out)]
    assert not sides[0] & sides[1]
    assert len(sides[0]) + len(sides[1]) == len(parted.examples) + len(parted.held_out) == 60


def test_a_labelled_text_in_another_spelling_is_no_unlabelled_document(tmp_path: Path) -> None:
    documents = [*alike("warm bread"), *alike("cold boots"), "late ferry"]
    path = str(write(tmp_path / "pool.jsonl", [{"text": text} for text in documents]))
    found = read_pool(path, "text", 100, 0, {model_text_sha256("warm bread", 10_000)})
    assert {prepare(text, 100) for text in found.texts} == {"cold boots", "late ferry"}
    assert (len(found.texts), found.labelled_inside) == (2, 6)
    long = str(write(tmp_path / "long.jsonl", [{"text": text} for text in LONG]))
    assert len(read_pool(long, "text", 100, 0, (), max_chars=400).texts) == 1
    assert len(read_pool(long, "text", 100, 0, ()).texts) == 3


def test_white_space_is_normalised_as_a_pattern_would() -> None:
    def by_pattern(text: str) -> str:
        return re.sub(r"\s+", " ", re.sub(r"<br\s*/?>", " ", text, flags=re.IGNORECASE)).strip()

    every = "".join(f"a{chr(number)}" for number in range(sys.maxunicode + 1))
    assert normalise(every) == by_pattern(every)
    generator = random.Random(0)
    for _ in range(2000):
        text = "".join(generator.choices(["a", "<", "<br", "<BR>", "/>", " ", "\n", "\x1c", "\u2028", "\u200b"], k=12))
        assert normalise(text) == by_pattern(text)


def test_a_run_leaves_out_documents_that_it_reads_like_a_label(tmp_path: Path) -> None:
    labels = write(
        tmp_path / "labels.jsonl", rows_of(*[(text, "ab"[n % 2]) for n, text in enumerate([*LONG[:1], "boots"])])
    )
    documents = write(
        tmp_path / "pool.jsonl", [{"text": text} for text in [*LONG, "boots ", "late ferry", "late\nferry"]]
    )
    given = {"labels": str(labels), "unlabelled": str(documents), "min_per_class": 1, "max_chars": 400}
    settings, ledger = load_settings(FinetuneSettings, given=given), Ledger("finetune", "r", {})
    pool = read_documents(settings, read_labelled(settings, ledger), ledger)
    assert pool is not None
    assert (pool.texts, pool.rows, pool.labelled_inside) == (("late ferry",), 6, 4)
