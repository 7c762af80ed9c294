"""The page where people label: what it shows, what it takes, and what it refuses."""

from __future__ import annotations

from html import unescape
from pathlib import Path
from typing import Any

import html_kit
import kit
import pytest
from explore_kit import pages
from labelling_kit import document, queue_of, scored_night
from starlette.testclient import TestClient

from tlnlp.labelling.answers import Answers
from tlnlp.labelling.queue_file import Queue, QueueFile, QueueItem

TEXTS = [*kit.texts(4), "<script>alert(1)</script> good", "<script>alert(1)</script> good good"]
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def place(tmp_path: Path, tiny_bundle: Path) -> Path:
    """A scored night of ``TEXTS``, without a queue."""
    scored_night(tmp_path, tiny_bundle, TEXTS)
    return tmp_path


def asked(place: Path, *items: QueueItem) -> TestClient:
    """Store a queue of the night, and open the pages."""
    QueueFile(str(place / "queue"), "scores").write(queue_of(*items))
    return opened(place)


def opened(place: Path) -> TestClient:
    places: dict[str, Any] = {name: str(place / name) for name in ("registry", "labels", "queue")}
    client = pages(place / "warehouse", **places)
    client.headers["origin"] = "http://127.0.0.1:8300"
    return client


def item(number: int, why: str = "doubt", duplicates: tuple[int, ...] = ()) -> QueueItem:
    others = tuple(document(other, TEXTS[other]) for other in duplicates)
    return QueueItem(document(number, TEXTS[number]), why, others)


def given(place: Path) -> list[tuple[str, str, str]]:
    """Return document, label and person of each answer."""
    found = Answers(str(place / "labels"), "text", "label").read()
    return [(one.document_id, one.label, one.labelled_by) for one in found]


def test_without_a_queue_the_page_says_what_to_do(place: Path) -> None:
    assert "<code>tlnlp queue</code>" in opened(place).get("/label").text


def test_documents_come_one_after_the_other(place: Path) -> None:
    client = asked(place, item(0), item(1))
    assert "Your name" in client.get("/label").text
    page = client.get("/label?who=ada").text
    assert TEXTS[0] in page
    assert "the model is in doubt" in page
    # What the model said would sway who labels.
    assert "0.6" not in page
    sent = client.post("/label", data={"who": "ada", "key": item(0).key, "label": "negative"})
    assert (sent.status_code, sent.headers["location"]) == (303, "/label?who=ada")
    assert given(place) == [("d0", "negative", "ada")]
    page = client.get("/label?who=ada").text
    assert TEXTS[1] in page
    assert "1 of 2 documents" in page
    client.post("/label", data={"who": "ada", "key": item(1).key, "action": "skip"})
    assert "Nothing is left for you." in client.get("/label?who=ada").text
    client.post("/label", data={"who": "ada", "action": "undo"})
    assert TEXTS[1] in client.get("/label?who=ada").text
    client.post("/label", data={"who": "ada", "action": "undo"})
    assert given(place) == []


def test_near_duplicates_get_the_label_if_that_is_asked_for(place: Path) -> None:
    client = asked(place, item(4, duplicates=(5,)), item(0))
    page = client.get("/label?who=ada").text
    assert html_kit.faults(page) == []
    assert "1 near-duplicates" in page
    client.post("/label", data={"who": "ada", "key": item(4).key, "label": "positive", "duplicates": "yes"})
    assert given(place) == [("d4", "positive", "ada"), ("d5", "positive", "ada")]


def test_random_documents_estimate_the_night(place: Path) -> None:
    client = asked(place, item(0, "random"), item(1, "random"))
    for number, label in ((0, "positive"), (1, "negative")):
        client.post("/label", data={"who": "ada", "key": item(number).key, "label": label})
    page = client.get("/label?who=ada").text
    sentence = "<b>50%</b> of the labels that version 1 gave are right (9% to 91% with 95% confidence), by 2 documents"
    assert sentence in page
    assert sentence in client.get("/night").text


def test_two_people_who_disagree_are_both_kept(place: Path) -> None:
    client = asked(place, item(0), item(1))
    for who, label in (("ada", "positive"), ("grace", "negative")):
        client.post("/label", data={"who": who, "key": item(0).key, "label": label})
    assert given(place) == [("d0", "positive", "ada"), ("d0", "negative", "grace")]
    assert "ada: positive, grace: negative" in client.get("/label?who=lin").text


def test_a_text_that_is_gone_is_not_labelled(place: Path) -> None:
    client = asked(place, item(0), item(1))
    kit.write_jsonl(place / "documents" / "part.jsonl", [{"id": "d0", "text": "another"}])
    page = client.get("/label?who=ada").text
    assert "another text under this id" in page
    assert 'data-key="1"' not in page
    assert client.post("/label", data={"who": "ada", "key": item(0).key, "label": "positive"}).status_code == 400
    assert given(place) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"key": item(0).key, "label": "positive"}, "names no person"),
        ({"who": "x" * 61, "key": item(0).key, "label": "positive"}, "at most 60 characters"),
        ({"who": "a\u0007", "key": item(0).key, "label": "positive"}, "all of which can be seen"),
        ({"who": "ada", "key": item(0).key, "label": HOSTILE}, "no such class"),
        ({"who": "ada", "key": item(0).key}, "no such class"),
        ({"who": "ada", "key": "0" * 64, "label": "positive"}, "no such document"),
        ({"who": "ada", "action": "drop", "key": item(0).key}, "none of its values"),
        ({"who": "ada", "label": "positive", "pad": "x" * 70_000}, "names no person"),
    ],
)
def test_what_is_refused(place: Path, fields: dict[str, str], message: str) -> None:
    answer = asked(place, item(0)).post("/label", data=fields)
    assert answer.status_code == 400
    assert message in unescape(answer.text)
    assert HOSTILE not in answer.text
    assert given(place) == []


def test_another_site_cannot_label(place: Path) -> None:
    client = asked(place, item(0))
    fields = {"who": "ada", "key": item(0).key, "label": "positive"}
    for origin in ("http://evil.example", "null", "http://127.0.0.1:8301"):
        assert client.post("/label", data=fields, headers={"origin": origin}).status_code == 403
    del client.headers["origin"]
    assert client.post("/label", data=fields).status_code == 403
    assert client.get("/label", params=fields | {"action": "label"}).status_code == 200
    assert given(place) == []


def test_hostile_names_are_shown_as_text(place: Path) -> None:
    QueueFile(str(place / "queue"), "scores").write(
        Queue("2026-11-21", "run", "moods", 1, (HOSTILE, "positive"), (item(0, HOSTILE),))
    )
    client = opened(place)
    client.post("/label", data={"who": HOSTILE, "key": item(0).key, "label": HOSTILE})
    client.post("/label", data={"who": "ada", "key": item(0).key, "label": "positive"})
    for path in ("/label", "/label?who=ada", f"/label?who={HOSTILE}"):
        assert html_kit.faults(client.get(path).text) == []


def test_a_damaged_queue_says_so(place: Path) -> None:
    client = asked(place, item(0))
    (place / "queue" / "scores.json").write_text("[]")
    answer = client.get("/label?who=ada")
    assert answer.status_code == 503
    assert "run `tlnlp queue` again" in answer.text
