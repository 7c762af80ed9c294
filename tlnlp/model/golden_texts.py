"""Hold texts whose probabilities are known: who loads a bundle predicts them again and compares.

Digests show that the files are those that were sealed. They do not show that they are a sound model, nor that this
machine computes what the machine of the training computed. The texts are part of this package, in several languages
and scripts, and short: the check must cost little where a worker loads a bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tlnlp.errors import BundleError
from tlnlp.model.bounded_json import AGAIN, parse_object, shown
from tlnlp.model.cascade import STUDENT
from tlnlp.model.combine import Floats
from tlnlp.model.profile import CTRANSLATE2_INT8, INT8_ENGINES

FORMAT = 1
TEXTS = (
    "",
    "Good.",
    "This was not what we had hoped for, and nobody could help!",
    "no problem",
    "Die Heizung ist kaputt, bitte schnell kommen.",
    "¿Cuánto cuesta el envío?",
    "Всё хорошо",
    "とても静かな店",
    "خدمة ممتازة",
    "🙂 🎉",
    "12.50 € <br/> #4711",
)
MOST_TEXTS = 64
MOST_CHARS = 1_000
# Largest difference of a view's probability. Processors add in another order: between SSE2, AVX2 and AVX-512, a
# probability of a twelve-layer encoder moved by 2e-7 at most (measured by
# tests/acceptance/test_acceptance_instruction_sets.py). The exported graph may differ from torch by 1e-4. With one
# matrix of turned sign, even an untrained encoder moved by 2e-3.
TOLERANCE = 3e-4
# The same for int8 weights: a last bit of an activation becomes a step of the next matrix's input. Of a twelve-layer
# encoder fine-tuned on AG News, a probability moved by 0.013 with AVX-512, 0.017 with AVX and 0.039 with none of them,
# against AVX2 (CT2_FORCE_CPU_ISA). Who alters int8 weights is found out by ``bundle_checks``, to the last bit.
INT8_TOLERANCE = 6e-2
CombinationRule = Callable[[Floats, Floats], Floats]
# Largest difference of a combined probability from the rule, applied to the two stored ones: float64 throughout.
RULE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class GoldenTexts:
    """Hold texts and their probabilities, of each view and of both combined; all (texts, classes).

    Fields:
        encoder: by the reference, float32 in ONNX Runtime.
        engines: the encoder's probabilities by other engines, by the engine's name; and those by the student.
    """

    classes: tuple[str, ...]
    texts: tuple[str, ...]
    encoder: Floats
    ngram: Floats
    combined: Floats
    engines: Mapping[str, Floats] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``golden_texts.json``."""
        arrays = {name: getattr(self, name).tolist() for name in ("encoder", "ngram", "combined")}
        engines = {name: rows.tolist() for name, rows in self.engines.items()}
        return {
            "format": FORMAT,
            "classes": list(self.classes),
            "texts": list(self.texts),
            "engines": engines,
            **arrays,
        }


def read_golden(data: bytes, where: str, classes: tuple[str, ...], rule: CombinationRule) -> GoldenTexts:
    """Read golden texts, and check that their combined probabilities follow from those of the views.

    Args:
        where: the file, for the message.
        classes: names of the classes, in the order of the probabilities.
        rule: combines the probabilities of the encoder and of the n-grams.

    Raises:
        BundleError: the data holds no golden texts, or the rule combines the views to other probabilities.
    """
    values = parse_object(data, where)
    texts = values.get("texts")
    known = {"format", "classes", "texts", "encoder", "ngram", "combined"}
    if values.keys() - {"engines"} != known or values["format"] != FORMAT:
        raise BundleError(f"{where}: holds no golden texts of format {FORMAT}; {AGAIN}")
    if values["classes"] != list(classes):
        raise BundleError(f"{where}: the classes are {shown(values['classes'])}, by bundle.json others; {AGAIN}")
    if not isinstance(texts, list) or not 1 <= len(texts) <= MOST_TEXTS:
        raise BundleError(f"{where}: texts must be a list of 1 to {MOST_TEXTS}; {AGAIN}")
    if not all(isinstance(text, str) and len(text) <= MOST_CHARS for text in texts):
        raise BundleError(f"{where}: a text must have at most {MOST_CHARS:,} characters; {AGAIN}")
    shape, engines = (len(texts), len(classes)), values.get("engines", {})
    if not isinstance(engines, dict):
        raise BundleError(f"{where}: engines is {shown(engines)}, no probabilities by engine; {AGAIN}")

    def read(rows: object, name: str) -> Floats:
        return _probabilities(rows, shape, f"{where}: {name}")

    views = [read(values[name], name) for name in ("encoder", "ngram", "combined")]
    others = {name: read(rows, f"engines: {shown(name)}") for name, rows in engines.items()}
    golden = GoldenTexts(classes, tuple(texts), views[0], views[1], views[2], others)
    ruled = rule(golden.encoder, golden.ngram)
    if place := _moved(ruled, golden.combined, RULE_TOLERANCE):
        raise BundleError(
            f"{where}: encoder_weight and ngram_weight of bundle.json combine the views to "
            f"{_compared(ruled, golden.combined, place)}; {AGAIN}"
        )
    return golden


def compare(
    golden: GoldenTexts,
    encoder: Floats,
    ngram: Floats,
    engine: str,
    where: dict[str, str],
    student: Floats | None = None,
) -> None:
    """Compare the probabilities of the views on this machine with the stored ones.

    Args:
        encoder, ngram: probabilities of the golden texts, both (texts, classes).
        engine: name of the encoder's engine.
        where: the file of each view, for the message.
        student: probabilities of the golden texts by the student, (texts, classes); None without one.

    Raises:
        BundleError: a probability differs by more than ``TOLERANCE`` (``INT8_TOLERANCE`` with another engine than
            the reference). A GPU is held to what the same int8 weights gave on a processor.
    """
    stored = CTRANSLATE2_INT8 if engine in INT8_ENGINES else engine
    own, tolerance = (
        (golden.engines[stored], INT8_TOLERANCE) if stored in golden.engines else (golden.encoder, TOLERANCE)
    )
    views = [("encoder", encoder, own, tolerance), ("ngram", ngram, golden.ngram, TOLERANCE)]
    if student is not None and STUDENT in golden.engines:
        views.append((STUDENT, student, golden.engines[STUDENT], INT8_TOLERANCE))
    for name, found, expected, most in views:
        if place := _moved(found, expected, most):
            raise BundleError(
                f"{where[name]}: this machine computes {_compared(found, expected, place)} (tolerance {most:g}): "
                "the weights, the tokenizer or the golden texts were altered, or this machine's libraries compute "
                f"wrongly; {AGAIN}"
            )


def check_probabilities(found: Floats, shape: tuple[int, int], where: str) -> None:
    """Check that probabilities have a shape, are finite and sum to 1. Raises BundleError."""
    if found.shape != shape:
        raise BundleError(f"{where}: probabilities of shape {list(found.shape)}, expected {list(shape)}; {AGAIN}")
    if not (np.isfinite(found).all() and (found >= 0).all() and np.allclose(found.sum(axis=1), 1.0, atol=1e-6)):
        raise BundleError(f"{where}: some probabilities are not finite, negative or do not sum to 1; {AGAIN}")


def _probabilities(rows: object, shape: tuple[int, int], where: str) -> Floats:
    try:
        found = np.asarray(rows, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise BundleError(f"{where} is {shown(rows)}, no table of probabilities; {AGAIN}") from error
    check_probabilities(found, shape, where)
    return found


def _moved(found: Floats, expected: Floats, tolerance: float) -> tuple[int, int] | None:
    """Return the text and class of the largest difference; None if it is within the tolerance."""
    difference = np.abs(found - expected)
    text, column = np.unravel_index(int(np.argmax(difference)), difference.shape)
    return None if difference[text, column] <= tolerance else (int(text), int(column))


def _compared(found: Floats, expected: Floats, place: tuple[int, int]) -> str:
    return f"{found[place]:.6f} for class {place[1]} of golden text {place[0]}, which was {expected[place]:.6f}"
