"""Keep the labels that people give: JSON Lines beside the other labels, one line an answer.

Several people write at once: a line is added by compare-and-swap, so none is lost. An answer is replaced or taken back
only by the person who gave it. If two people give one text the same label, it stands there once, since a labelled set
holds each text once; if they disagree, both lines stay.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from tlnlp.data.tables import format_of
from tlnlp.data.text import MAX_CHARS, model_text_sha256
from tlnlp.errors import NotFoundError, UsageError
from tlnlp.storage import Storage, local_path, resolve_uri
from tlnlp.storage.updates import update

FILE = "answers.jsonl"


@dataclass(frozen=True)
class Answer:
    """A label that a person gave to a document.

    Fields:
        document_id, text_sha256: of the document, as its row in the table has them.
        label: the label.
        labelled_by, labelled_at: the name that the person typed, and the time (ISO, UTC).
        predicted, score, model, model_version, score_date: of the document's row.
        why: why the document was asked (see ``selection.REASONS``).
    """

    document_id: str
    text_sha256: str
    label: str
    labelled_by: str
    labelled_at: str
    predicted: str
    score: float
    model: str
    model_version: int
    score_date: str
    why: str


@dataclass(frozen=True)
class _Line:
    """A line of the file: its bytes, and the answer with the identity of its text; None if it is something else."""

    data: bytes
    answer: Answer | None = None
    text: str = ""


class Answers:
    """The answers beside the labels of a folder.

    Args:
        labels: URI of the folder.
        text_column, label_column: names of the columns of the labels.

    Raises:
        UsageError: the URI names a file, or a column has the name of another one.
    """

    def __init__(self, labels: str, text_column: str, label_column: str) -> None:
        own = set(Answer.__dataclass_fields__) - {"label"}
        for name in (text_column, label_column):
            if name in own or text_column == label_column:
                raise UsageError(
                    f"the columns {text_column!r} and {label_column!r} cannot hold texts and labels beside "
                    f"{', '.join(sorted(own))}; choose others with --set text_column= and --set label_column="
                )
        path = local_path(resolve_uri(labels))
        if path.is_file() if path is not None else format_of(labels) is not None:
            raise UsageError(
                f"labels={labels} is a file, and people's labels are added to a folder as {FILE}; name the folder that "
                "the file is in"
            )
        self._storage, self._text, self._label = Storage(labels), text_column, label_column
        self.uri = self._storage.url(FILE)

    def read(self) -> list[Answer]:
        """Return all answers in their order; lines that no page wrote are passed over. Raises StorageError."""
        try:
            data = self._storage.read(FILE)
        except NotFoundError:
            return []
        return [line.answer for line in self._lines(data) if line.answer is not None]

    def add(self, answers: Sequence[tuple[Answer, str]]) -> None:
        """Add answers, each with the text of its document; of several with one text, the first.

        What a person has answered of the same text before is replaced. What others have answered stays.

        Raises:
            StorageError: the store failed, or others wrote all the time.
        """
        new = dict[str, _Line]()
        for answer, text in answers:
            key = _identity(text)
            new.setdefault(key, _Line(self._written(answer, text), answer, key))

        def change(before: bytes | None) -> bytes:
            """Return the lines without those that are replaced, and those of the new ones that say more."""
            kept = [line for line in self._lines(before or b"") if not _is_replaced(line, new)]
            said = {(line.text, line.answer.label) for line in kept if line.answer is not None}
            added = [line for line in new.values() if line.answer and (line.text, line.answer.label) not in said]
            return _joined([*kept, *added])

        update(self._storage, FILE, change)

    def last(self, person: str, digests: Collection[str]) -> list[Answer]:
        """Return what a person has answered last of some texts, all of one time.

        Args:
            digests: the sha256 of the texts.

        Raises:
            StorageError: the store failed.
        """
        own = [one for one in self.read() if one.labelled_by == person and one.text_sha256 in digests]
        return [one for one in own if one.labelled_at == own[-1].labelled_at]

    def remove(self, gone: Collection[Answer]) -> None:
        """Remove answers. Raises StorageError: the store failed, or others wrote all the time."""
        update(
            self._storage,
            FILE,
            lambda before: _joined([line for line in self._lines(before or b"") if line.answer not in gone]),
        )

    def _lines(self, data: bytes) -> list[_Line]:
        return [self._parsed(line) for line in data.splitlines()]

    def _written(self, answer: Answer, text: str) -> bytes:
        values = asdict(answer)
        label = values.pop("label")
        # In ASCII, since the other labels, and so the settings of `tlnlp finetune`, may be in another encoding.
        return json.dumps({self._text: text, self._label: label} | values).encode("ascii")

    def _parsed(self, line: bytes) -> _Line:
        try:
            values = json.loads(line)
            text, label = values[self._text], values[self._label]
            found = {name: values[name] for name in Answer.__dataclass_fields__ if name != "label"}
            datetime.fromisoformat(found["labelled_at"])
        except (ValueError, KeyError, TypeError):
            return _Line(line)
        answer = Answer(label=label, **found)
        return _Line(line, answer, _identity(text)) if _is_sound(answer, text) else _Line(line)


def conflicts(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    """Return the answers to each text that people labelled differently, by its sha256."""
    by_text: dict[str, list[Answer]] = {}
    for answer in answers:
        by_text.setdefault(answer.text_sha256, []).append(answer)
    return {digest: found for digest, found in by_text.items() if len({one.label for one in found}) > 1}


def _identity(text: str) -> str:
    """Return what tells a text from others in a labelled set."""
    return model_text_sha256(text, MAX_CHARS)


def _is_replaced(line: _Line, new: dict[str, _Line]) -> bool:
    other = new.get(line.text)
    if line.answer is None or other is None or other.answer is None:
        return False
    return line.answer.labelled_by == other.answer.labelled_by


def _is_sound(answer: Answer, text: Any) -> bool:
    values = asdict(answer) | {"text": text}
    texts = all(isinstance(values[name], str) for name in values if name not in ("score", "model_version"))
    return texts and isinstance(answer.score, float | int) and isinstance(answer.model_version, int)


def _joined(lines: Sequence[_Line]) -> bytes:
    return b"".join(line.data + b"\n" for line in lines)
