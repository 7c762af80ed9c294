"""Explain the score of one text: the model version scores it as a night would, then without each of its sentences."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlnlp.config import ScoreSettings
from tlnlp.data.csv_records import CsvDialect
from tlnlp.data.document_texts import DocumentFiles, texts_by_id
from tlnlp.data.text import is_blank, is_text
from tlnlp.errors import InputDataError, counted
from tlnlp.model.bundle_spec import read_spec
from tlnlp.model.cascade import ENCODER, NGRAM, STUDENT
from tlnlp.model.classifier import Classifier
from tlnlp.model.evidence import MOST_SENTENCES, UNREAD, Evidence, SentenceEvidence, explain
from tlnlp.registry import ModelVersion, Registry
from tlnlp.runs.progress import say
from tlnlp.score.scoring_profile import scoring_profile

# The columns of the table of sentences, and the width of its longest bar.
COLUMNS = ("probability", "log-odds", "", "sentence")
BAR = 12
_DECIDED = {ENCODER: "both views", NGRAM: "the n-grams alone", STUDENT: "the student and the n-grams"}


@dataclass(frozen=True)
class Explanation:
    """The evidence of one text.

    Attributes:
        version: the version that has scored it.
        scored_by: engine, cascade and digest of the bundle, as rows of a table have them.
        document_id: the id of the document; None of a text that was given.
        evidence: what the version says of the text, and what each sentence contributes.
    """

    version: ModelVersion
    scored_by: str
    document_id: str | None
    evidence: Evidence

    def to_json(self) -> dict[str, Any]:
        """Return all values as a JSON object."""
        return {
            "model": self.version.name,
            "version": self.version.version,
            "scored_by": self.scored_by,
            "document_id": self.document_id,
            **self.evidence.to_json(),
        }

    def facts(self) -> dict[str, Any]:
        """Return what a terminal shows above the table of the sentences."""
        evidence = self.evidence
        explained, views = evidence.explained, {"encoder": evidence.encoder, "n-grams": evidence.ngram}
        return {
            "label": evidence.label,
            "probability": evidence.probabilities[evidence.label],
            "decided_by": _DECIDED[evidence.stage],
            f"probability_of_{explained}": {"model": evidence.probabilities[explained]}
            | {name: view[explained] for name, view in views.items() if view is not None},
        }

    def rows(self, most: int | None = None) -> list[list[str]]:
        """Return the cells of the table, by ``COLUMNS``: what speaks most for the class first.

        Args:
            most: most rows; the sentences that contribute least are left out. None means all.
        """
        ranked = self.evidence.ranked
        largest = max((abs(one.log_odds or 0.0) for one in ranked), default=0.0)
        shown = sorted(range(len(ranked)), key=lambda place: -abs(ranked[place].log_odds or 0.0))[:most]
        return [_row(ranked[place], largest) for place in sorted(shown)]


def _row(sentence: SentenceEvidence, largest: float) -> list[str]:
    """Return the cells of a sentence; the bar of the one that contributes most has ``BAR`` characters."""
    text = " ".join(sentence.text.split())
    if sentence.contribution is None or sentence.log_odds is None:
        return ["-", "-", "not measured", text]
    if sentence.read == UNREAD:
        return ["0", "0", UNREAD, text]
    length = round(BAR * abs(sentence.log_odds) / largest) if largest else 0
    bar = ("+" if sentence.log_odds > 0 else "-") * length
    return [f"{sentence.contribution:+.3f}", f"{sentence.log_odds:+.2f}", bar, text]


def explain_document(
    settings: ScoreSettings, document_id: str, label: str | None = None, most_sentences: int = MOST_SENTENCES
) -> Explanation:
    """Explain the score of a document, by the settings of a night; its text is read from the files of the night.

    Raises:
        InputDataError: no document has the id and a text, or several have the id and different texts; or the files
            cannot be read.
        UsageError, ModelNotFoundError, BundleError, StorageError: as ``explain_text`` does.
    """
    csv = CsvDialect.of(settings.csv)
    columns = (settings.id_column, settings.text_column)
    files = DocumentFiles(settings.documents, *columns, settings.format, csv, settings.encoding)
    texts = texts_by_id(files, {document_id}).get(document_id, ())
    if len(texts) != 1:
        problem = f"has {counted(len(texts), 'different text')}" if texts else "is in no row that has a text"
        raise InputDataError(
            f"{settings.documents}: the id {document_id!r} {problem}; check --id and the keys id_column and text_column"
        )
    return _explained(settings, texts[0], document_id, label, most_sentences)


def explain_text(
    settings: ScoreSettings, text: str, label: str | None = None, most_sentences: int = MOST_SENTENCES
) -> Explanation:
    """Explain the score of a text, by the settings of a night.

    Args:
        label: the class that sentences contribute to; None means the predicted one.
        most_sentences: as for ``tlnlp.model.evidence.explain``.

    Raises:
        UsageError: the model has no such class, or the text is not valid Unicode.
        ModelNotFoundError: there is no such model or version.
        BundleError: the bundle of the version is incomplete or altered.
        StorageError: the registry cannot be reached.
    """
    return _explained(settings, text, None, label, most_sentences)


def _explained(
    settings: ScoreSettings, text: str, document_id: str | None, label: str | None, most_sentences: int
) -> Explanation:
    """Load the version with the engine and the cascade of a night, and explain the text."""
    if is_blank(text) or not is_text(text):
        say(f"the text is {'blank' if is_blank(text) else 'no text, but binary'}: a night would not score it")
    registry = Registry(settings.registry)
    version = registry.resolve(settings.model)
    with tempfile.TemporaryDirectory(prefix="tlnlp-explain-") as scratch:
        folder = registry.fetch(version, Path(scratch) / "bundle")
        profile = scoring_profile(settings, read_spec(folder), folder, version)
        classifier = Classifier.load(folder, profile=profile)
        evidence = explain(classifier, text, label, most_sentences)
    return Explanation(version, profile.scored_by(classifier.digest), document_id, evidence)
