"""The names of classes: what a value of the label column is called, in every format of file."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

import numpy as np

from tlnlp.data.values import value_text

_WHOLE = re.compile(r"(-?(?:0|[1-9]\d{0,17}))\.0+")
_TRUTH = ("true", "false")
# Longer than any list of labels that somebody writes by hand or by ``str``.
_LIST_CHARS = 10_000


def label_name(value: object) -> str:
    """Return the name of a label; empty for null and NaN.

    CSV has no types, JSON and Parquet have. So that a table has the same classes in each of them, a truth value is
    ``true`` or ``false``, however it is written (``True`` by pandas, ``TRUE`` by spreadsheets), and a whole number has
    no decimals (``1.0`` is ``1``: pandas turns a column of integers with a missing value into floats). Any other text
    is the name as it is written, without blanks around it.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if _is_missing(value):
        return ""
    name = (value_text(value) or "").strip()
    if name.lower() in _TRUTH:
        return name.lower()
    whole = _WHOLE.fullmatch(name)
    return str(int(whole[1])) if whole is not None else name


def is_several(value: object) -> bool:
    """Return whether a label is a list or another collection, or the text of a list, as CSV has it: ``['a', 'b']``."""
    if not isinstance(value, str):
        return isinstance(value, (list, tuple, set, frozenset, dict, np.ndarray))
    text = value.strip()
    if not (text.startswith("[") and text.endswith("]") and len(text) <= _LIST_CHARS):
        return False
    try:
        return isinstance(ast.literal_eval(text), list)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def class_positions(classes: Sequence[str]) -> dict[str, int]:
    """Return the position of each class by its own name, and by the name that its label has (see ``label_name``).

    A class of an earlier version may be called ``True`` or ``1.0``, as CSV had it.
    """
    positions = {name: position for position, name in enumerate(classes)}
    return {label_name(name): position for name, position in positions.items()} | positions


def _is_missing(value: object) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # Of ``pandas.NA`` it is unknown; an array has several values.
        return type(value).__name__ == "NAType"
