"""The page where people label the documents of the queue, one at a time, and what it does with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import RedirectResponse, Response

from tlnlp.errors import NotFoundError, StorageError, UsageError
from tlnlp.explore.explorer import Explorer
from tlnlp.explore.pages.page import Page, Values
from tlnlp.explore.params import Params, address
from tlnlp.explore.related import rows_of_documents
from tlnlp.explore.texts import DocumentText, read_text, read_texts
from tlnlp.labelling.answers import Answers
from tlnlp.labelling.queue_file import Queue, QueueDocument, QueueFile, QueueItem
from tlnlp.labelling.selection import REASONS
from tlnlp.labelling.session import LONGEST_NAME, LabelSession

PATH = "/label"
_KEYS = "1234567890"
_DUPLICATES_SHOWN = 20
_LABEL, _SKIP, _UNDO = "label", "skip", "undo"


def values(explorer: Explorer, params: Params) -> Values:
    """Return the values of the page. Parameter: ``who``, the name of the person."""
    session, person = label_session(explorer), _person(params)
    shared: dict[str, Any] = {"person": person, "longest": LONGEST_NAME, "queue": None, "item": None}
    try:
        queue = session.queue()
    except NotFoundError:
        return shared
    item = session.next_item(queue, person) if person is not None else None
    shared |= {"queue": queue, "counts": session.counts(queue, person or ""), "item": item}
    if item is None:
        return shared
    keys = [*_KEYS[: len(queue.classes)], *("" for _ in queue.classes[len(_KEYS) :])]
    found = _texts(explorer, queue, item)
    return shared | {
        "why": REASONS.get(item.why, item.why),
        "text": found.text,
        "choices": list(zip(keys, queue.classes, strict=True)),
        "duplicates": [(one.document_id, text) for one, text in found.duplicates],
    }


def act(explorer: Explorer, params: Params) -> Response:
    """Do what a person asks for, and show him the next document.

    Parameters: ``who``; ``action``: ``label``, ``skip`` or ``undo``; ``key``, of the document; ``label``;
    ``duplicates``: ``yes`` to give its near-duplicates the same label.
    """
    session, person = label_session(explorer), _person(params)
    if person is None:
        raise UsageError("who: the request names no person; open the page Label again")
    action = params.choice("action", (_LABEL, _SKIP, _UNDO), _LABEL)
    if action == _UNDO:
        session.take_back(session.queue(), person)
    else:
        queue = session.queue()
        item = _item(queue, params)
        if action == _SKIP:
            session.skip(item, person)
        else:
            _label(explorer, session, queue, item, person, params)
    return RedirectResponse(address(PATH, {"who": person}), status_code=303)


def label_session(explorer: Explorer) -> LabelSession:
    """Return the session of the queue of the table."""
    settings = explorer.settings
    answers = Answers(settings.labels, settings.text_column, settings.label_column)
    return LabelSession(answers, QueueFile(settings.queue, settings.table))


def _label(
    explorer: Explorer, session: LabelSession, queue: Queue, item: QueueItem, person: str, params: Params
) -> None:
    found = _texts(explorer, queue, item)
    if found.text.text is None:
        raise UsageError(f"the document cannot be labelled, since its text cannot be read now: {found.text.problem}")
    others = found.duplicates if params.choice("duplicates", ("no", "yes"), "no") == "yes" else ()
    session.answer(queue, item, person, params.exact("label") or "", found.text.text, others)


def _person(params: Params) -> str | None:
    name = " ".join((params.text("who") or "").split())
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise UsageError(f"who: write a name of at most {LONGEST_NAME} characters, all of which can be seen")
    return name or None


def _item(queue: Queue, params: Params) -> QueueItem:
    for item in queue.items:
        if item.key == params.exact("key"):
            return item
    raise UsageError(
        "key: the queue has no such document any more, since a newer one was built; open the page Label again"
    )


@dataclass(frozen=True)
class _ItemTexts:
    """The text of a document of the queue, or why it cannot be shown, and the texts of near-duplicates."""

    text: DocumentText
    duplicates: tuple[tuple[QueueDocument, str], ...] = ()


def _texts(explorer: Explorer, queue: Queue, item: QueueItem) -> _ItemTexts:
    """Return the texts of an item, which are read once."""
    key = ("queue", queue.run_id, item)
    return explorer.once(key, lambda: _read(explorer, queue, item), lambda found: found.text.text is not None)


def _read(explorer: Explorer, queue: Queue, item: QueueItem) -> _ItemTexts:
    table = explorer.table()
    night = next((one for one in table.nights if str(one.day) == queue.score_date), None)
    documents = (item.document, *item.duplicates[:_DUPLICATES_SHOWN])
    rows = rows_of_documents(explorer, table, night, [one.document_id for one in documents]) if night else {}
    sound = [
        rows[one.document_id]
        for one in documents
        if one.document_id in rows and rows[one.document_id]["text_sha256"] == one.text_sha256
    ]
    if not sound or sound[0]["document_id"] != item.document.document_id:
        problem = f"The night of {queue.score_date} has no such document any more: run `tlnlp queue` again."
        return _ItemTexts(DocumentText(problem=problem))
    try:
        texts = read_texts(explorer, table, sound)
    except (StorageError, UsageError):
        texts = {}
    text = texts.get(item.document.document_id)
    # Why it cannot be read is found by looking for it alone.
    own = DocumentText(text) if text is not None else read_text(explorer, table, sound[0])
    return _ItemTexts(own, tuple((one, texts[one.document_id]) for one in documents[1:] if one.document_id in texts))


PAGE = Page(PATH, "Label", "label.html.jinja", values)
