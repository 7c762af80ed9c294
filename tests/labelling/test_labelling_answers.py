"""Answers beside the labels: none is lost or overwritten, and what other commands read of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import kit
import pytest
from labelling_kit import answer, document, item, queue_of, sha256

from tlnlp.data.labels import LabelContract, read_labels
from tlnlp.errors import UsageError
from tlnlp.labelling.accuracy_estimate import estimate
from tlnlp.labelling.answers import FILE, Answers, conflicts
from tlnlp.labelling.queue_file import QueueItem


@pytest.fixture(params=["folder", "s3"])
def labels(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URI of a folder for labels: on this machine, and on an S3 server."""
    if request.param == "folder":
        yield str(tmp_path / "labels")
    else:
        yield f"{request.getfixturevalue('s3_bucket')}/{tmp_path.name}/labels"


def test_answers_stand_beside_the_other_labels_and_are_read_with_them(tmp_path: Path) -> None:
    kit.write_jsonl(tmp_path / "labels.jsonl", kit.labelled(10))
    stored = Answers(str(tmp_path), "text", "label")
    stored.add([(answer(number), f"text {number}") for number in range(5)])
    stored.add([(answer(number, "negative", "grace"), f"text {number}") for number in range(5, 10)])
    assert stored.read() == [
        *[answer(number) for number in range(5)],
        *[answer(number, "negative", "grace") for number in range(5, 10)],
    ]
    found = read_labels(str(tmp_path), LabelContract())
    assert found.faults == ()
    assert found.counts == {"negative": 10, "positive": 10}
    assert json.loads((tmp_path / FILE).read_text().splitlines()[0]) == asdict(answer(0)) | {"text": "text 0"}


def test_people_who_write_at_once_lose_nothing(labels: str) -> None:
    def write(number: int) -> None:
        Answers(labels, "text", "label").add([(answer(number, person=f"p{number % 4}"), f"text {number}")])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(40)))
    assert sorted(one.document_id for one in Answers(labels, "text", "label").read()) == sorted(
        f"d{number}" for number in range(40)
    )


def test_a_person_corrects_his_own_answer_and_no_one_elses(tmp_path: Path) -> None:
    stored = Answers(str(tmp_path), "text", "label")
    stored.add([(answer(1, "positive"), "text 1")])
    stored.add([(answer(1, "negative", "grace"), "text 1")])
    stored.add([(answer(1, "negative"), "text 1")])
    # They agree now, so the text stands there once.
    assert [(one.labelled_by, one.label) for one in stored.read()] == [("grace", "negative")]
    assert conflicts(stored.read()) == {}
    stored.add([(answer(1, "positive"), "text 1")])
    assert list(conflicts(stored.read())) == [sha256("text 1")]
    faults = read_labels(str(tmp_path), LabelContract(min_per_class=0)).faults
    assert {fault.kind for fault in faults} == {"conflicting labels"}


def test_what_is_taken_back_is_the_last_of_one_person(tmp_path: Path) -> None:
    stored, digests = Answers(str(tmp_path), "text", "label"), {sha256(f"text {number}") for number in range(5)}
    stored.add([(answer(1), "text 1")])
    at = answer(2).labelled_at
    stored.add([(answer(2), "text 2"), (answer(3, labelled_at=at), "text 3")])
    stored.add([(answer(4, person="grace"), "text 4")])
    last = stored.last("ada", digests)
    assert [one.document_id for one in last] == ["d2", "d3"]
    stored.remove(last)
    assert [one.document_id for one in stored.read()] == ["d1", "d4"]
    assert stored.last("nobody", digests) == []
    assert stored.last("ada", {sha256("text 4")}) == []


def test_a_text_stands_there_once_for_each_label(tmp_path: Path) -> None:
    stored = Answers(str(tmp_path), "text", "label")
    # Two ids of one text, as near-duplicates are; and texts that a model reads alike.
    stored.add([(answer(1), "text 1"), (answer(2, text_sha256=sha256("text 1")), "text 1"), (answer(3), " text  1")])
    stored.add([(answer(1, person="grace"), "text 1")])
    assert [(one.document_id, one.labelled_by) for one in stored.read()] == [("d1", "ada")]
    stored.add([(answer(1, "negative", "grace"), "text 1")])
    assert len(stored.read()) == 2


def test_other_encodings_of_the_labels_do_not_change_an_answer(tmp_path: Path) -> None:
    text = "Gr\u00fc\u00dfe aus K\u00f6ln"
    Answers(str(tmp_path), "text", "label").add([(answer(1), text)])
    found = read_labels(str(tmp_path), LabelContract(min_per_class=0, encoding="latin-1"))
    assert found.texts == [text]


def test_lines_of_others_stay_as_they_are(tmp_path: Path) -> None:
    own = b'{"text": "by hand", "label": "positive"}\nnot json\n{"labelled_at": 7}\n'
    (tmp_path / FILE).write_bytes(own)
    stored = Answers(str(tmp_path), "text", "label")
    assert stored.read() == []
    stored.add([(answer(1), "text 1")])
    stored.remove(stored.last("ada", {sha256("text 1")}))
    assert (tmp_path / FILE).read_bytes() == own


def test_labels_in_one_file_are_refused(tmp_path: Path) -> None:
    kit.write_jsonl(tmp_path / "labels", [])
    for uri in (str(tmp_path / "labels"), "s3://bucket/labels.csv"):
        with pytest.raises(UsageError, match="name the folder that the file is in"):
            Answers(uri, "text", "label")


def test_columns_that_would_hide_another_are_refused(tmp_path: Path) -> None:
    for columns in (("document_id", "label"), ("text", "why"), ("text", "text")):
        with pytest.raises(UsageError, match="choose others"):
            Answers(str(tmp_path), *columns)
    renamed = Answers(str(tmp_path), "body", "topic")
    renamed.add([(answer(1), "text 1")])
    assert renamed.read() == [answer(1)]
    assert json.loads((tmp_path / FILE).read_text())["topic"] == "positive"


def test_the_estimate_counts_random_documents_that_are_not_disputed() -> None:
    given = [answer(number) for number in range(8)] + [answer(8, "negative"), answer(9, "negative")]
    given += [answer(10, why="doubt"), answer(11, "negative", why="near_duplicate")]
    given += [answer(0, person="grace"), answer(1, "negative", "grace")]
    found = estimate(given, queue_of())
    assert found is not None
    assert (found.n, found.right) == (9, 7)
    assert (round(found.low, 3), round(found.high, 3)) == (0.453, 0.937)
    assert found.low < found.accuracy < found.high
    assert estimate([answer(20, model_version=2), answer(21, model="other")], queue_of()) is None
    assert estimate([], queue_of(item(1))) is None


def test_the_sample_keeps_documents_that_had_a_label_before() -> None:
    given = [answer(1, why="doubt"), answer(2, "negative", why="doubt"), answer(3, "negative", model_version=9)]
    found = estimate(given, queue_of(item(4), known=[document(1), document(2), document(3), document(5)]))
    assert found is not None
    assert (found.n, found.right) == (3, 1)


def test_each_of_several_documents_with_one_text_counts() -> None:
    same = [QueueItem(document(number, "text 1"), "random") for number in (1, 2, 3)]
    found = estimate([answer(1)], queue_of(*same))
    assert found is not None
    assert (found.n, found.right) == (3, 3)
