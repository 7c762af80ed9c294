"""Say for a shown document what each of its sentences contributes to its label, by the version that scored it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlnlp.errors import BundleError, NotFoundError, StorageError, UsageError, sentence_of
from tlnlp.explore.explorer import Explorer
from tlnlp.registry import Registry
from tlnlp.warehouse.nights import ScoresTable

if TYPE_CHECKING:
    from tlnlp.model.classifier import Classifier
    from tlnlp.model.evidence import Evidence

# Strengths of a mark, from the weakest; a sentence has the strongest where it contributes most.
STRENGTHS = 4
NO_MODEL = "This machine cannot run the model: install the extra explore again (pip install 'tlnlp[explore]')."


@dataclass(frozen=True)
class Span:
    """A part of a text: a sentence with its contribution in log-odds and its mark, or what stands between sentences.

    ``mark`` is ``for-1`` (weak) to ``for-4``, ``against-1`` to ``against-4``, or None.
    """

    text: str
    log_odds: float | None = None
    mark: str | None = None


@dataclass(frozen=True)
class ShownEvidence:
    """The evidence of a text, or why there is none: one of ``spans`` and ``problem`` is empty.

    Fields:
        label: the class that the sentences contribute to.
        spans: the whole text, in order.
        ranked: the sentences that contribute most, for or against, with their contributions in probability.
        unmeasured: number of sentences that were not left out, since the text has too many.
    """

    label: str = ""
    spans: tuple[Span, ...] = ()
    ranked: tuple[tuple[str, float], ...] = ()
    unmeasured: int = 0
    problem: str | None = None


def evidence_of(explorer: Explorer, table: ScoresTable, row: Mapping[str, Any], text: str) -> ShownEvidence:
    """Return the evidence of the text of a row.

    The version is fetched and loaded once, which takes some seconds. A text is explained once.
    """
    key = ("evidence", row["text_sha256"], row["scored_by"], row["model_version"])
    try:
        return explorer.once(key, lambda: _explained(explorer, table, row, text))
    except (BundleError, NotFoundError, StorageError, UsageError) as error:
        return ShownEvidence(problem=f"The evidence cannot be computed. {sentence_of(error)}")
    except ImportError:
        return ShownEvidence(problem=NO_MODEL)


def _explained(explorer: Explorer, table: ScoresTable, row: Mapping[str, Any], text: str) -> ShownEvidence:
    from tlnlp.model.evidence import explain  # The pages need no model until evidence is asked for.

    classifier = load_classifier(explorer, table, int(row["model_version"]), str(row["scored_by"] or ""))
    return shown(text, explain(classifier, text, str(row["label"])))


def load_classifier(explorer: Explorer, table: ScoresTable, version: int, scored_by: str) -> Classifier:
    """Return the version of a row with the engine and the cascade that scored the row.

    Raises:
        NotFoundError: the registry has no such version, or another one under its number.
        UsageError: the row does not say what scored it.
        BundleError, StorageError: the version cannot be read.
    """
    from tlnlp.model.classifier import Classifier
    from tlnlp.model.profile import Profile

    profile, digest = Profile.parse(scored_by)

    def load() -> Classifier:
        """Fetch the version and load it."""
        registry = Registry(explorer.settings.registry)
        with tempfile.TemporaryDirectory(prefix="tlnlp-explore-") as scratch:
            folder = registry.fetch(registry.resolve(f"{table.model}@{version}"), Path(scratch) / "bundle")
            loaded = Classifier.load(folder, profile=profile)
        if not loaded.digest.startswith(digest):
            raise NotFoundError(
                f"registry {explorer.settings.registry}: version {version} of {table.model} is not the one that scored "
                "the document; name its registry with --set registry="
            )
        return loaded

    return explorer.models.get((table.model, version, scored_by), load)


def shown(text: str, evidence: Evidence, most: int = 5) -> ShownEvidence:
    """Return evidence as a page shows it.

    Args:
        most: most sentences that are ranked.
    """
    largest = max((abs(one.log_odds or 0.0) for one in evidence.sentences), default=0.0)
    spans, place = list[Span](), 0
    for one in evidence.sentences:
        spans += [Span(text[place : one.start]), Span(one.text, one.log_odds, _mark(one.log_odds, largest))]
        place = one.end
    spans.append(Span(text[place:]))
    measured = [one for one in evidence.sentences if one.contribution]
    ranked = sorted(measured, key=lambda one: -abs(one.log_odds or 0.0))[:most]
    return ShownEvidence(
        evidence.explained,
        tuple(span for span in spans if span.text),
        tuple((one.text, float(one.contribution or 0.0)) for one in ranked),
        evidence.unmeasured,
    )


def _mark(log_odds: float | None, largest: float) -> str | None:
    """Return the mark of a sentence; None if it says next to nothing."""
    strength = round(STRENGTHS * abs(log_odds or 0.0) / largest) if largest else 0
    return f"{'for' if (log_odds or 0.0) > 0 else 'against'}-{strength}" if strength else None
