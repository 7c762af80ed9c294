"""One behaviour of all readers: labels and unlabelled documents find what each case of ``reader_cases`` says."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from reader_cases import CASES
from reader_kit import DAMAGED, ENCODING, MALFORMED, NO_TEXT, NOT_TEXT, REFUSED, ROW_FAULTS, Case

from tlnlp.config import CsvSettings
from tlnlp.data.csv_records import CsvDialect
from tlnlp.data.labels import LabelContract, read_labels
from tlnlp.data.pool import read_pool
from tlnlp.data.text import is_blank, is_text
from tlnlp.errors import InputDataError

KINDS = {
    "unreadable row": MALFORMED,
    "not text": NOT_TEXT,
    "empty text": NO_TEXT,
    "wrong encoding": ENCODING,
    "unreadable file": DAMAGED,
}


def dialect_of(case: Case) -> CsvDialect:
    return CsvDialect(**CsvSettings(**case.csv).model_dump())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_labels(case: Case, tmp_path: Path) -> None:
    _, text, label = case.columns
    contract = LabelContract(
        text, label, min_per_class=0, format=case.format, csv=dialect_of(case), encoding=case.encoding
    )
    uri = str(case.write(tmp_path))
    if case.rows in ([], [REFUSED]) or not any(case.files.values()):  # A set without a row is refused as a whole.
        with pytest.raises(InputDataError, match=case.says if case.rows == [REFUSED] else None):
            read_labels(uri, contract)
        return
    found = read_labels(uri, contract)
    faults = [KINDS[fault.kind] for fault in found.faults if fault.kind != "duplicate"]
    assert sorted(found.texts) == sorted({row for row in case.rows if not row.startswith("<")})
    assert sorted(faults) == sorted(row for row in case.rows if row.startswith("<"))
    assert found.rows == sum(row != DAMAGED for row in case.rows)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_unlabelled_documents(case: Case, tmp_path: Path) -> None:
    def read() -> tuple[list[str], int, int]:
        written = case.format, dialect_of(case), None, case.encoding
        found = read_pool(str(case.write(tmp_path)), case.columns[1], 100, 0, (), *written)
        return sorted(found.texts), found.unusable, found.unreadable

    if case.rows == [REFUSED]:
        with pytest.raises(InputDataError, match=case.says):
            read()
        return
    texts, unusable, unreadable = read()
    # Of a damaged file, the rows before the damage are used; an empty file is no damage here.
    damaged = DAMAGED in case.rows and len(case.files) == 1
    assert unreadable == (damaged and any(case.files.values()))
    assert unusable == sum(row in ROW_FAULTS for row in case.rows)
    if not damaged:
        assert texts == sorted({row for row in case.rows if not row.startswith("<")})


def test_white_space_is_the_same_as_python_has() -> None:
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        assert is_blank(character) == character.isspace()


def test_the_rule_of_control_characters_on_random_texts() -> None:
    generator = random.Random(0)
    alphabet = "ab\x01\x00\x0b\x1c\x85\ufffd\n\t \U0001f600"
    texts = ["".join(generator.choices(alphabet, k=generator.randint(1, 30))) for _ in range(2000)]
    control = [sum(c in "\x01\x00\x0b\x1c\ufffd" for c in text) for text in texts]
    for text, count in zip(texts, control, strict=True):
        assert is_text(text) == ("\x00" not in text and count * 10 <= len(text))
