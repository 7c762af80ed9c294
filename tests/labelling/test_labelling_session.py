"""People at one queue: who gets which document, skips, undo, near-duplicates, progress."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from labelling_kit import Clock, answer, document, item, queue_of, session

from tlnlp.errors import NotFoundError, StorageError, UsageError
from tlnlp.labelling.answers import Answers
from tlnlp.labelling.queue_file import CLAIM_S, QueueFile, QueueItem
from tlnlp.labelling.session import LabelSession


def labelled(at: LabelSession, one: QueueItem, person: str, label: str = "positive") -> None:
    at.answer(at.queue(), one, person, label, f"text {one.document.document_id[1:]}")


def test_two_people_get_different_documents(tmp_path: Path) -> None:
    at = session(tmp_path, item(0), item(1), item(2))
    queue = at.queue()
    first, second = at.next_item(queue, "ada"), at.next_item(queue, "grace")
    assert (first, second) == (item(0), item(1))
    # Who opens the page again gets the same document.
    assert at.next_item(queue, "ada") == item(0)
    labelled(at, item(0), "ada")
    assert at.next_item(queue, "ada") == item(2)
    assert at.next_item(queue, "lin") is None
    assert at.counts(queue, "lin").others == 2


def test_people_who_ask_at_once_get_different_documents(tmp_path: Path) -> None:
    at = session(tmp_path, *[item(number) for number in range(8)])
    queue = at.queue()
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: at.next_item(queue, f"p{number}"), range(8)))
    assert len({one.document.document_id for one in found if one}) == 8


def test_a_claim_ends_after_a_while(tmp_path: Path) -> None:
    clock = Clock()
    at = session(tmp_path, item(0), clock=clock)
    assert at.next_item(at.queue(), "ada") == item(0)
    assert at.next_item(at.queue(), "grace") is None
    clock.now += CLAIM_S + 1
    assert at.next_item(at.queue(), "grace") == item(0)


def test_a_skipped_document_is_for_others(tmp_path: Path) -> None:
    at = session(tmp_path, item(0), item(1))
    at.skip(item(0), "ada")
    assert at.next_item(at.queue(), "ada") == item(1)
    assert at.next_item(at.queue(), "grace") == item(0)
    assert at.counts(at.queue(), "ada").skipped == 1


def test_undo_takes_back_what_came_last(tmp_path: Path) -> None:
    at = session(tmp_path, item(0), item(1), item(2))
    labelled(at, item(0), "ada")
    at.skip(item(1), "ada")
    labelled(at, item(2), "ada")
    labelled(at, item(1), "grace")
    at.take_back(at.queue(), "ada")
    assert at.next_item(at.queue(), "ada") == item(2)
    at.take_back(at.queue(), "ada")
    assert at.counts(at.queue(), "ada").skipped == 0
    at.take_back(at.queue(), "ada")
    assert at.next_item(at.queue(), "ada") == item(0)
    at.take_back(at.queue(), "ada")
    assert at.counts(at.queue(), "ada").answered == 1


def test_near_duplicates_get_the_same_label(tmp_path: Path) -> None:
    at = session(tmp_path, item(0, duplicates=[5, 6]), item(1))
    at.answer(at.queue(), item(0, duplicates=[5, 6]), "ada", "negative", "text 0", [(document(5), "text 5")])
    found = Answers(str(tmp_path / "labels"), "text", "label").read()
    assert [(one.document_id, one.label, one.why) for one in found] == [
        ("d0", "negative", "random"),
        ("d5", "negative", "near_duplicate"),
    ]
    estimate = at.counts(at.queue(), "ada").estimate
    assert estimate is not None
    assert (estimate.n, estimate.right) == (1, 0)
    at.take_back(at.queue(), "ada")
    assert Answers(str(tmp_path / "labels"), "text", "label").read() == []


def test_what_people_label_differently_is_shown(tmp_path: Path) -> None:
    at = session(tmp_path, item(0))
    labelled(at, item(0), "ada")
    labelled(at, item(0), "grace", "negative")
    assert at.counts(at.queue(), "ada").disputed == {"d0": {"ada": "positive", "grace": "negative"}}
    assert at.counts(at.queue(), "ada").estimate is None


def test_only_classes_of_the_queue_are_taken(tmp_path: Path) -> None:
    at = session(tmp_path, item(0))
    with pytest.raises(UsageError, match="no such class"):
        labelled(at, item(0), "ada", "other")


def test_a_queue_survives_its_file_and_a_new_one_replaces_it(tmp_path: Path) -> None:
    file = QueueFile(str(tmp_path), "scores")
    assert file.read() is None
    queue = queue_of(item(0, "doubt", [1, 2]), item(3), known=[document(7)])
    file.write(queue)
    assert file.read() == queue
    assert "text 0" not in (tmp_path / "scores.json").read_text()
    (tmp_path / "scores.json").write_text('{"items": [1]}')
    with pytest.raises(StorageError, match="run `tlnlp queue` again"):
        file.read()


def test_without_a_queue(tmp_path: Path) -> None:
    at = LabelSession(Answers(str(tmp_path), "text", "label"), QueueFile(str(tmp_path), "scores"))
    with pytest.raises(NotFoundError, match="run `tlnlp queue`"):
        at.queue()


def test_answers_of_another_queue_count_for_the_estimate_alone(tmp_path: Path) -> None:
    at = session(tmp_path, item(0))
    stored = Answers(str(tmp_path / "labels"), "text", "label")
    stored.add([(answer(7), "text 7"), (answer(8, model_version=2), "text 8")])
    found = at.counts(at.queue(), "ada")
    assert (found.answered, found.own) == (0, 0)
    assert found.estimate is not None
    assert found.estimate.n == 1


def test_undo_leaves_answers_of_other_queues(tmp_path: Path) -> None:
    at = session(tmp_path, item(0))
    stored = Answers(str(tmp_path / "labels"), "text", "label")
    stored.add([(answer(7), "text 7")])
    labelled(at, item(0), "ada")
    for _ in range(3):
        at.take_back(at.queue(), "ada")
    assert [one.document_id for one in stored.read()] == ["d7"]


def test_a_skip_ends_only_ones_own_claim(tmp_path: Path) -> None:
    clock = Clock()
    at = session(tmp_path, item(0), clock=clock)
    assert at.next_item(at.queue(), "ada") == item(0)
    clock.now += CLAIM_S + 1
    assert at.next_item(at.queue(), "grace") == item(0)
    at.skip(item(0), "ada")
    assert at.next_item(at.queue(), "lin") is None


def test_a_document_with_another_text_is_another_item() -> None:
    assert item(0).key != QueueItem(document(0, "another text"), "random").key
    assert item(0).key == item(0, "doubt").key
