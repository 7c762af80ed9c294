"""State which values ``bundle.json`` may hold: a description outside of them would give wrong scores, or none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from tlnlp.errors import BundleError
from tlnlp.model.bounded_json import AGAIN, shown
from tlnlp.model.profile import CASCADE_NAMES, ENGINE_NAMES, FAST, SAFE

# Longest name of a class, in characters; tlnlp's own labels are shorter.
CLASS_CHARS = 1_000
MOST_CLASSES = 100_000
# Largest factor of a view's log-probabilities. Those that are fitted are below 300.
MOST_WEIGHT = 10_000.0
INPUT_NAMES = frozenset({"input_ids", "attention_mask", "token_type_ids"})

_Rule = tuple[Callable[[Any], bool], str]


def check_values(values: Mapping[str, Any], where: str) -> None:
    """Check the values of ``bundle.json``; a key without a rule is left to the caller.

    Args:
        where: the file, for the message.

    Raises:
        BundleError: a value is outside of its domain; the message names the key and the value.
    """
    for key, (holds, domain) in _RULES.items():
        if key in values and not holds(values[key]):
            raise BundleError(f"{where}: {key} is {shown(values[key])}; it must be {domain}; {AGAIN}")
    if values.get("encoder_weight") == 0 and values.get("ngram_weight") == 0:
        raise BundleError(f"{where}: encoder_weight and ngram_weight are both 0, so no view counts; {AGAIN}")


def _is_text(value: object, least: int, most: int) -> bool:
    if not isinstance(value, str) or not least <= len(value) <= most:
        return False
    try:
        value.encode()  # An unpaired surrogate has no bytes in UTF-8, so no table could hold it.
    except UnicodeEncodeError:
        return False
    return True


def _are_classes(value: object) -> bool:
    if not isinstance(value, list) or not 2 <= len(value) <= MOST_CLASSES:
        return False
    return all(_is_text(name, 1, CLASS_CHARS) and name.strip() for name in value) and len(set(value)) == len(value)


def _are_inputs(value: object) -> bool:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return False
    return {"input_ids", "attention_mask"} <= set(value) <= INPUT_NAMES and len(set(value)) == len(value)


def _text(least: int, most: int) -> _Rule:
    return lambda value: _is_text(value, least, most), f"a text of {least} to {most:,} characters"


def _count(least: int, most: int) -> _Rule:
    return (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most,
        f"a whole number from {least} to {most:,}",
    )


def _number(least: float, most: float) -> _Rule:
    return (
        lambda value: (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and math.isfinite(value)
            and least <= value <= most
        ),
        f"a finite number from {least:g} to {most:g}",
    )


def _are_cascades(value: object) -> bool:
    if not isinstance(value, dict) or not value.keys() <= {SAFE, FAST}:
        return False
    return all(_is_cascade(one) for one in value.values())


def _is_cascade(value: object) -> bool:
    if not isinstance(value, dict) or value.keys() - {"student"} != {"factor", "offsets", "threshold", "limit"}:
        return False
    shares = all(_number(0.0, 1.0)[0](value[name]) for name in ("threshold", "limit"))
    ngram = {"factors": [value["factor"]], "offsets": value["offsets"]}
    student = value.get("student")
    return shares and _is_calibration(ngram, 1) and (student is None or _is_calibration(student, 2))


def _is_calibration(value: object, views: int) -> bool:
    if not isinstance(value, dict) or value.keys() != {"factors", "offsets"}:
        return False
    factors, offsets = value["factors"], value["offsets"]
    if not (isinstance(factors, list) and isinstance(offsets, list) and len(factors) == views):
        return False
    are_factors = all(_number(0.0, MOST_WEIGHT)[0](factor) for factor in factors)
    return are_factors and all(_number(-MOST_WEIGHT, MOST_WEIGHT)[0](offset) for offset in offsets)


def _is_student(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or value.keys() != {"layers", "max_length"}:
        return False
    return _count(1, 1_000)[0](value["layers"]) and _count(3, 1 << 20)[0](value["max_length"])


_FLAG: _Rule = (lambda value: isinstance(value, bool), "true or false")
_RULES: Mapping[str, _Rule] = {
    "classes": (_are_classes, f"a list of at least two distinct names of 1 to {CLASS_CHARS:,} characters"),
    "encoder": _text(1, 4_096),
    "pooling": (lambda value: value in ("mean", "cls", "max"), "mean, cls or max"),
    "max_length": _count(3, 1 << 20),
    "head_share": _number(0.0, 1.0),
    "max_chars": _count(1, 1 << 31),
    "pad_token_id": _count(0, (1 << 31) - 1),
    "input_names": (_are_inputs, "input_ids and attention_mask, and at most token_type_ids"),
    "encoder_weight": _number(0.0, MOST_WEIGHT),
    "ngram_weight": _number(0.0, MOST_WEIGHT),
    "ngram_features": _count(1, 1 << 28),
    "prompt": _text(0, 10_000),
    "normalise": _FLAG,
    "lower_case": _FLAG,
    "cascades": (_are_cascades, "cascades by profile, safe or fast, each with factor, offsets, threshold, limit"),
    "student": (_is_student, "null, or layers and max_length"),
    "optimise": (lambda value: value in CASCADE_NAMES, "none, safe or fast"),
    "engine": (lambda value: value in ENGINE_NAMES, "the name of an engine: " + " or ".join(ENGINE_NAMES)),
}
