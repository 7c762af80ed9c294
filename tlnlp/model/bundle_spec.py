"""Describe a model bundle: what scoring needs beside the weights, as ``bundle.json`` holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tlnlp.errors import BundleError
from tlnlp.model.bounded_json import AGAIN, LIMIT_BYTES, check_size, parse_object, shown
from tlnlp.model.bundle import FORMAT, SPEC, dump_json
from tlnlp.model.bundle_values import check_values
from tlnlp.model.cascade import Cascade
from tlnlp.model.combine import Floats, combine
from tlnlp.model.profile import NONE, ONNX_FP32, Profile


@dataclass(frozen=True)
class StudentSpec:
    """Describe the student of a bundle: the number of its layers, and how many tokens of a text it reads at most."""

    layers: int
    max_length: int


@dataclass(frozen=True)
class BundleSpec:
    """Hold what scoring needs beside the weights: the content of ``bundle.json``.

    Fields:
        classes: class names, in the order of the probabilities.
        encoder: name, folder or URI of the pretrained encoder.
        max_length: longest input of the encoder, in tokens.
        head_share: share of the tokens of a cut text that come from its beginning; the rest come from its end.
        max_chars: longest text, in characters; a longer text is cut (see ``tlnlp.data.text``).
        input_names: names of the inputs of the exported graph.
        encoder_weight, ngram_weight: factors of the log-probabilities of the two views (see ``tlnlp.model.combine``).
        ngram_features: width of the hashed n-gram space.
        pooling, prompt, normalise, lower_case: the encoder's conventions (see ``tlnlp.model.encoder_conventions``).
            Older bundles have only ``pooling``.
        engine: the engine that scores unless another one is asked for: a name in ``ENGINES``.
        cascades: what the n-gram view may settle, by profile (``safe``, ``fast``); empty without documents to test it.
        optimise: the profile that scores unless another one is asked for; ``none`` has no cascade.
        student: the student that a cascade asks before the encoder; None without one.
    """

    classes: tuple[str, ...]
    encoder: str
    pooling: str
    max_length: int
    head_share: float
    max_chars: int
    pad_token_id: int
    input_names: tuple[str, ...]
    encoder_weight: float
    ngram_weight: float
    ngram_features: int
    prompt: str = ""
    normalise: bool = False
    lower_case: bool = False
    engine: str = ONNX_FP32
    cascades: Mapping[str, Cascade] = field(default_factory=dict)
    optimise: str = NONE
    student: StudentSpec | None = None
    format: int = FORMAT

    @property
    def profile(self) -> Profile:
        """Return the profile that scores unless another one is asked for."""
        return Profile(self.engine, self.optimise)

    def combined(self, encoder: Floats, ngram: Floats) -> Floats:
        """Return the combined probabilities (texts, classes) of the two views, both (texts, classes)."""
        return combine(encoder, ngram, self.encoder_weight, self.ngram_weight)

    def to_json(self) -> bytes:
        """Return the content of ``bundle.json``."""
        return dump_json(asdict(self))

    @staticmethod
    def from_json(data: bytes, where: str = SPEC) -> BundleSpec:
        """Read the content of ``bundle.json``.

        Args:
            where: the file, for messages.

        Raises:
            BundleError: the data is no bundle description, or one of another format, or a value is outside of its
                domain (see ``tlnlp.model.bundle_values``).
        """
        values = parse_object(data, where)
        if (found := values.get("format")) != FORMAT:
            raise BundleError(
                f"{where}: bundle format {shown(found)} is not {FORMAT}; use the tlnlp version that made it"
            )
        if unknown := sorted(values.keys() - {one.name for one in fields(BundleSpec)}):
            raise BundleError(f"{where}: not a bundle description, it has the key {shown(unknown[0])}; {AGAIN}")
        check_values(values, where)
        try:
            objects: dict[str, Any] = {"classes": tuple(values["classes"]), "input_names": tuple(values["input_names"])}
            objects |= {"cascades": _cascades(values, where)}
            student = values.get("student")
            objects |= {"student": StudentSpec(**student) if student else None}
            return BundleSpec(**values | objects)
        except (KeyError, TypeError) as error:
            raise BundleError(f"{where}: not a bundle description, a key is missing ({error}); {AGAIN}") from error


def read_spec(folder: Path) -> BundleSpec:
    """Read ``bundle.json``.

    Raises:
        BundleError: the file cannot be read, or is no bundle description, or a value is outside of its domain.
    """
    try:
        check_size((folder / SPEC).stat().st_size, str(folder / SPEC), LIMIT_BYTES)
        return BundleSpec.from_json((folder / SPEC).read_bytes(), str(folder / SPEC))
    except OSError as error:
        raise BundleError(f"{folder}: {SPEC} cannot be read; fetch the bundle from the registry again") from error


def _cascades(values: Mapping[str, Any], where: str) -> dict[str, Cascade]:
    cascades = {name: Cascade.from_json(fields_) for name, fields_ in values.get("cascades", {}).items()}
    for name, cascade in cascades.items():
        for part in (cascade.offsets, *([cascade.student.offsets] if cascade.student else [])):
            if len(part) != len(values["classes"]):
                raise BundleError(
                    f"{where}: cascades: {name} has {len(part)} offsets, and there are {len(values['classes'])} "
                    f"classes; {AGAIN}"
                )
        if cascade.student is not None and not values.get("student"):
            raise BundleError(f"{where}: cascades: {name} has a student, and the bundle has none; {AGAIN}")
    if (wanted := values.get("optimise", NONE)) != NONE and wanted not in cascades:
        raise BundleError(f"{where}: optimise is {wanted}, and there is no such cascade; {AGAIN}")
    return cascades
