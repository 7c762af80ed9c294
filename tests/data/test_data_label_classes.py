"""The classes of a labelled set: their names in every format, warnings about them, and lists of labels."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from labels_kit import ANY, faults, rows_of, write

from tlnlp.data.label_names import class_positions, is_several, label_name
from tlnlp.data.label_warnings import label_warnings
from tlnlp.data.labels import LabelContract, read_labels, require_sound
from tlnlp.errors import LabelFaultsError

FORMATS = ["a.parquet", "a.jsonl", "a.csv"]


def written(frame: pd.DataFrame, path: Path) -> str:
    """Write a frame by pandas, in the format of the file's ending; return the path."""
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True)
    return str(path)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([True, False, True], ("false", "true")),
        ([1.0, 0.0, math.nan], ("0", "1")),  # Integers with a missing one.
        ([1, 0, 1], ("0", "1")),
        (["True", "False", "True"], ("false", "true")),
        (["1.0", "2.0", "2.5"], ("1", "2", "2.5")),
        ([1.5, -2.0, -0.0], ("-2", "0", "1.5")),
        (["01", "1", "1.10"], ("01", "1", "1.10")),
        ([" kept apart ", "no", "null"], ("kept apart", "no", "null")),
    ],
    ids=str,
)
def test_a_frame_has_the_same_classes_in_every_format(
    tmp_path: Path, name: str, labels: list[Any], names: tuple[str, ...]
) -> None:
    frame = pd.DataFrame({"text": ["bread", "boots", "ferry"], "label": labels})
    assert read_labels(written(frame, tmp_path / name), ANY).classes == names


def test_values_that_users_write_by_hand_are_named_like_typed_ones(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nbread,True\nboots,TRUE\nferry,1.0\nnight,1\n")
    (tmp_path / "a.jsonl").write_text(
        '{"text": "bread", "label": true}\n{"text": "boots", "label": "True"}\n'
        '{"text": "ferry", "label": 1.0}\n{"text": "night", "label": 1}\n'
    )
    table = pa.table({"text": ["ferry", "night"], "label": pa.array([Decimal("1.00"), None], pa.decimal128(5, 2))})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    for name in ("a.csv", "a.jsonl"):
        assert read_labels(str(tmp_path / name), ANY).counts == {"1": 2, "true": 2}
    assert read_labels(str(tmp_path / "a.parquet"), ANY).counts == {"1": 1}


def test_allowed_classes_are_named_as_labels_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", rows_of(("bread", True), ("boots", False)))
    found = read_labels(str(path), LabelContract(classes=("True", "False"), min_per_class=1))
    assert (found.classes, found.faults) == (("false", "true"), ())


def test_names_of_values_of_python() -> None:
    given = [
        np.True_,
        np.float32(2.0),
        np.int64(3),
        np.str_(" a "),
        None,
        math.nan,
        np.nan,
        pd.NA,
        pd.NaT,
        math.inf,
        "-0.0",
    ]
    assert [label_name(value) for value in given] == ["true", "2", "3", "a", "", "", "", "", "", "Infinity", "0"]


def test_classes_of_an_earlier_version_are_found_by_the_names_of_labels() -> None:
    assert class_positions(("False", "True")) == {"False": 0, "True": 1, "false": 0, "true": 1}
    assert class_positions(("1", "1.0")) == {"1": 0, "1.0": 1}


# --- several labels of one text


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_lists_of_labels_are_refused_with_another_way(tmp_path: Path, name: str) -> None:
    rows = [{"text": f"soup {number}", "label": ["a", "b"][: 1 + number % 2]} for number in range(12)]
    found = read_labels(str(write(tmp_path / name, rows)), ANY)
    assert faults(found) == [(name, number, "several labels") for number in range(1, 13)]
    with pytest.raises(
        LabelFaultsError, match=r"\(multi-label\) are not supported: write one label a text, or train a"
    ):
        require_sound(found, "fail")


def test_lists_as_csv_has_them_and_labels_in_brackets(tmp_path: Path) -> None:
    rows = rows_of(("soup", ["a", "b"]), ("bread", ["a"] * 60), ("boots", "[urgent]"), ("ferry", "a, b"))
    frame = pd.DataFrame(rows)
    found = read_labels(written(frame, tmp_path / "a.csv"), ANY)
    assert faults(found) == [("a.csv", 1, "several labels"), ("a.csv", 2, "several labels")]
    assert found.classes == ("[urgent]", "a, b")


def test_what_is_a_list() -> None:
    for value in ([], ["a"], ("a", "b"), {"a"}, {"a": 1}, np.array(["a"]), '["a", "b"]', "['a' 'b']", " [1, 2] "):
        assert is_several(value), value
    for other in ("[a]", "a", "[", "['a', 'b'", "['a'] and ['b']", "(1, 2)", "[" * 5000 + "]" * 5000, 1, None, True):
        assert not is_several(other), other


# --- warnings


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Positive", "positive"), ("very good", "verygood"), ("very good", "very  good"), ("stra\u00dfe", "STRASSE"),
        ("good\u200b", "good"), ("\ufb01ne", "fine"), ("very\u00a0good", "very good"),
    ],
)  # fmt: skip
def test_classes_that_look_alike(one: str, other: str) -> None:
    (warning,) = label_warnings({one: 8, other: 6, "negative": 9})
    first, second = sorted([one, other])
    counts = {one: 8, other: 6}
    assert warning.startswith(
        f"the classes {first!r} ({counts[first]} labels) and {second!r} ({counts[second]} labels) differ in case, "
    )
    assert warning.endswith("if they are one class, write all its labels alike")


def test_unicode_forms_that_look_the_same_are_written_out() -> None:
    (warning,) = label_warnings({"caf\u00e9": 8, "cafe\u0301": 7})
    assert "the classes 'cafe\\u0301' (7 labels) and 'caf\\xe9' (8 labels) differ" in warning


def test_three_that_look_alike_are_named_together() -> None:
    (warning,) = label_warnings({"Yes": 8, "no": 9, "YES": 7, "yes": 6})
    assert "the classes 'YES' (7 labels), 'Yes' (8 labels) and 'yes' (6 labels) differ" in warning


def test_a_single_class_and_a_small_class() -> None:
    assert label_warnings({"a": 1}) == ("the set has one class only, 'a' (1 label): a classifier needs two",)
    (warning,) = label_warnings({"rare": 6, "usual": 1200, "other": 300})
    assert warning.startswith("the class 'rare' has 6 labels, 'usual' has 1,200: a model seldom predicts such a class")
    for counts in ({"a": 6, "b": 60}, {"a": 20, "b": 2000}, {"a": 5, "b": 5}, {}):
        assert label_warnings(counts) == ()


def test_a_set_carries_its_warnings(tmp_path: Path) -> None:
    rows = [{"text": f"soup {n}", "label": ("Positive", "positive", "negative", "positive ")[n % 4]} for n in range(24)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_labels(str(path), ANY)
    assert found.counts == {"Positive": 6, "negative": 6, "positive": 12}
    assert ["'Positive' (6 labels) and 'positive' (12 labels)" in warning for warning in found.warnings] == [True]
