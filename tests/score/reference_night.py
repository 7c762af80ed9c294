"""Say what the tables hold after each night: a slow, obvious model of scoring, without Spark, files or a classifier.

It shares no code with the package. So what both agree on was thought of twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

_CONTROLS = {chr(code) for code in (*range(0x20), 0x7F, 0xFFFD)} - set("\t\n\r")


@dataclass(frozen=True)
class Document:
    """Hold one input row: its id, the bytes of its text, and the value of a kept column."""

    identifier: str | None
    text: bytes | None
    kept: str


@dataclass(frozen=True)
class Night:
    """Hold what a night is given: the day, the documents, the model version and the mode."""

    day: str
    documents: Sequence[Document]
    version: int = 1
    mode: str = "full"


@dataclass(frozen=True)
class Row:
    """Hold a row of the table: the text, who scored it in which night (from 1), which night wrote it, a kept value."""

    text: str
    version: int
    scored_in: int
    night: int
    kept: str


@dataclass
class Reference:
    """Hold the tables: rows by day and document id, and the quarantined ids, each with its reason, by day.

    With ``merges``, each night merges the days before it, and of the days up to ``through`` knows the newest row of
    each document alone. That ends when one of these days is published again.
    """

    max_bytes: int
    max_quarantine_share: float
    merges: bool = False
    nights: int = 0
    through: str = ""
    scores: dict[str, dict[str, Row]] = field(default_factory=dict)
    quarantine: dict[str, Counter[tuple[str | None, str]]] = field(default_factory=dict)

    def run(self, night: Night) -> Counter[str] | None:
        """Run a night; return how many rows have each outcome, or None if the night publishes nothing."""
        self.nights += 1
        if self.merges:
            self.through = max([self.through, *(day for day, rows in self.scores.items() if rows and day < night.day)])
        texts: dict[str, set[bytes | None]] = {}
        for document in night.documents:
            if self.fault(document) is None:
                texts.setdefault(str(document.identifier), set()).add(document.text)
        counts, rejected = Counter[str](rows_in=len(night.documents)), Counter[tuple[str | None, str]]()
        rows, seen, read = dict[str, Row](), set[str](), set[str]()
        for document in night.documents:
            identifier = str(document.identifier)
            reason = self.fault(document) or ("conflicting_id" if len(texts[identifier]) > 1 else None)
            if reason is not None:
                rejected[document.identifier, reason] += 1
                outcome = "rows_quarantined"
            elif identifier in seen:
                outcome = "rows_duplicate"
            else:
                seen.add(identifier)
                text = (document.text or b"").decode("utf-8")
                known = self.scored_in(text, night.version, night.day)
                latest = self.latest_row(identifier, night.day)
                if night.mode == "incremental" and latest and (latest.text, latest.kept) == (text, document.kept):
                    counts["rows_unchanged"] += 1
                    outcome = "rows_reused"
                else:
                    outcome = "rows_scored" if known is None else "rows_reused"
                    rows[identifier] = Row(text, night.version, known or self.nights, self.nights, document.kept)
                    read |= {text} if known is None else set()
            counts[outcome] += 1
        if not night.documents or counts["rows_quarantined"] > self.max_quarantine_share * len(night.documents):
            return None
        counts["texts_scored"] = len(read)
        self.scores[night.day], self.quarantine[night.day] = rows, rejected
        if night.day <= self.through:
            self.through = ""
        return counts

    def fault(self, document: Document) -> str | None:
        """Return why a row is quarantined whatever the other rows are, or None."""
        if document.identifier is None or not document.identifier.strip():
            return "missing_id"
        if document.text is None:
            return "null_text"
        if document.text == b"":
            return "empty_text"
        if len(document.text) > self.max_bytes:
            return "over_max_bytes"
        try:
            text = document.text.decode("utf-8")
        except UnicodeDecodeError:
            return "not_text"
        if not text.strip():
            return "blank_text"
        controls = sum(letter in _CONTROLS for letter in text)
        return "not_text" if "\x00" in text or controls > 0.1 * len(text) else None

    def scored_in(self, text: str, version: int, today: str) -> int | None:
        """Return the night in which this version scored a text that a night of ``today`` knows, or None."""
        found = [
            row.scored_in
            for day, rows in self.scores.items()
            for name, row in rows.items()
            if (row.text, row.version) == (text, version) and (day == today or not self.is_outdated(name, day))
        ]
        return max(found, default=None)

    def is_outdated(self, identifier: str, day: str) -> bool:
        """Return whether merging has dropped the row of a document on a day for a newer one."""
        newer = (later for later in self.scores if day < later <= self.through)
        return any(identifier in self.scores[later] for later in newer)

    def latest_row(self, identifier: str, day: str) -> Row | None:
        """Return the row of a document on the last day before ``day`` on which it has one, or None."""
        days = [earlier for earlier in self.scores if earlier < day and identifier in self.scores[earlier]]
        return self.scores[max(days)][identifier] if days else None
