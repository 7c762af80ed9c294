"""Record which texts a model was trained on, as digests, and find these texts among others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tlnlp.data.text import model_text_sha256, text_sha256
from tlnlp.errors import BundleError
from tlnlp.model.bounded_json import AGAIN, LARGE_LIMIT_BYTES, check_size, parse_object
from tlnlp.model.bundle import TRAINING
from tlnlp.model.bundle_spec import read_spec

# Hex digits that are recorded of the digest of an unlabelled document: half of them.
UNLABELLED_DIGITS = 32


@dataclass(frozen=True)
class LearnedTexts:
    """Hold the digests of the texts that a model was trained on.

    Fields:
        labelled: digest of each labelled text, in hex.
        unlabelled: first half of the digest of each unlabelled document, in hex.
        max_chars: the digests are those of texts as this model reads them, with so many characters at most (see
            ``model_text_sha256``). None: they are those of raw texts, as earlier versions recorded them.
    """

    labelled: frozenset[str]
    unlabelled: frozenset[str]
    max_chars: int | None = None

    def labels_among(self, texts: Iterable[str]) -> int:
        """Count the texts that the model was trained on with a label."""
        return sum(self._digest(text) in self.labelled for text in texts)

    def documents_among(self, texts: Iterable[str]) -> int:
        """Count the texts that the model was trained on as unlabelled documents."""
        return sum(self._digest(text)[:UNLABELLED_DIGITS] in self.unlabelled for text in texts)

    def _digest(self, text: str) -> str:
        return text_sha256(text) if self.max_chars is None else model_text_sha256(text, self.max_chars)


def learned_digests(labels: Iterable[str], documents: Iterable[str], max_chars: int) -> dict[str, list[str]]:
    """Return what ``training.json`` records of the texts that a model was trained on; ``read_learned`` reads it.

    The digests of the raw labelled texts are for earlier versions of tlnlp, which compare texts by these.

    Args:
        labels: the labelled texts.
        documents: the unlabelled texts.
        max_chars: the most characters of a text that the model reads.
    """
    labels = list(labels)
    return {
        "text_sha256": sorted(text_sha256(text) for text in labels),
        "model_text_sha256": sorted(model_text_sha256(text, max_chars) for text in labels),
        "unlabelled_model_text_sha256": sorted(
            model_text_sha256(text, max_chars)[:UNLABELLED_DIGITS] for text in documents
        ),
    }


def read_learned(folder: Path) -> LearnedTexts:
    """Read the digests of the texts that a model was trained on, from ``training.json``.

    Raises:
        BundleError: the file cannot be read, or lacks the digests.
    """
    path = folder / TRAINING
    try:
        check_size(path.stat().st_size, str(path), LARGE_LIMIT_BYTES)
        found = parse_object(path.read_bytes(), str(path), LARGE_LIMIT_BYTES)
    except (OSError, BundleError) as error:
        reason = str(error) if isinstance(error, BundleError) else f"{path}: fetch the bundle from the registry again"
        raise BundleError(f"{TRAINING} cannot be read: {reason}") from error
    of_model_texts = "model_text_sha256" in found
    if of_model_texts:
        labelled, unlabelled = found["model_text_sha256"], found.get("unlabelled_model_text_sha256")
    else:
        labelled, unlabelled = found.get("text_sha256"), found.get("unlabelled_sha256", [])
    for digests in (labelled, unlabelled):
        if not isinstance(digests, list) or not all(isinstance(digest, str) for digest in digests):
            raise BundleError(f"{folder}: {TRAINING} cannot be read: it lacks the digests of the texts; {AGAIN}")
    max_chars = read_spec(folder).max_chars if of_model_texts else None
    return LearnedTexts(frozenset(labelled or ()), frozenset(unlabelled or ()), max_chars)
