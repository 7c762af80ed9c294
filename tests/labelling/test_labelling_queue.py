"""The queue of a night: what is asked, what is left out, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import kit
import pytest
from labelling_kit import answer, scored_night, sha256

from tlnlp.data.labels import LabelContract, read_labels
from tlnlp.errors import InputDataError, ModelNotFoundError, NotFoundError
from tlnlp.labelling.answers import Answers
from tlnlp.labelling.build_queue import build_queue
from tlnlp.labelling.queue_file import Queue, QueueFile
from tlnlp.labelling.selection import RANDOM, REASONS


def stored(queue: str) -> Queue:
    found = QueueFile(queue, "scores").read()
    assert found is not None
    return found


def test_a_queue_of_a_night(tmp_path: Path, tiny_bundle: Path) -> None:
    texts = kit.texts(60, seed=3)
    settings = scored_night(tmp_path, tiny_bundle, texts)
    kit.write_jsonl(tmp_path / "labels" / "labels.jsonl", kit.labelled(20))
    result = build_queue(settings)
    queue = stored(settings.queue)
    assert result.documents == len(queue.items) == 10
    assert sum(result.why.values()) == 10
    assert result.why[RANDOM] == 2
    assert set(result.why) <= set(REASONS)
    assert result.estimate is None
    assert queue.classes == kit.CLASSES
    assert (queue.score_date, queue.model, queue.model_version) == ("2026-11-21", "moods", 1)
    for one in queue.items:
        assert one.document.text_sha256 == sha256(texts[int(one.document.document_id[1:])])
    written = "".join(path.read_text() for path in (tmp_path / "queue").iterdir())
    assert not [text for text in texts if text in written]


def test_the_random_documents_are_the_same_ones_each_time(tmp_path: Path, tiny_bundle: Path) -> None:
    settings = scored_night(tmp_path, tiny_bundle, kit.texts(60, seed=3))
    drawn = []
    for size in (10, 20):
        build_queue(settings.model_copy(update={"size": size}))
        drawn.append([one.document.document_id for one in stored(settings.queue).items if one.why == RANDOM])
    assert drawn[1][:2] == drawn[0]
    assert len(drawn[1]) == 4


def test_what_has_a_label_is_not_asked(tmp_path: Path, tiny_bundle: Path) -> None:
    texts = kit.texts(30, seed=3)
    settings = scored_night(tmp_path, tiny_bundle, texts).model_copy(update={"size": 30})
    labelled = [{"text": text + " ", "label": "positive"} for text in texts[:10]]
    kit.write_jsonl(tmp_path / "labels" / "labels.jsonl", labelled)
    given = [(answer(number, text_sha256=sha256(texts[number])), texts[number]) for number in range(10, 20)]
    Answers(settings.labels, "text", "label").add(given)
    result = build_queue(settings)
    asked = {int(one.document.document_id[1:]) for one in stored(settings.queue).items}
    assert asked <= set(range(20, 30))
    assert len(asked) >= 8
    assert result.answers == 10
    assert result.estimate is not None
    assert result.estimate.n == 10
    assert {one.document_id for one in stored(settings.queue).known} <= {f"d{number}" for number in range(10, 20)}
    assert read_labels(settings.labels, LabelContract(min_per_class=0)).faults == ()


def test_texts_that_are_gone_are_not_asked(tmp_path: Path, tiny_bundle: Path) -> None:
    texts = kit.texts(30, seed=3)
    settings = scored_night(tmp_path, tiny_bundle, texts)
    left = [{"id": f"d{number}", "text": texts[number]} for number in range(5)]
    path = kit.write_jsonl(tmp_path / "documents" / "part.jsonl", [*left, {"id": "d9", "text": "another"}])
    assert {one.document.document_id for one in (build_queue(settings), stored(settings.queue))[1].items} <= {
        f"d{number}" for number in range(5)
    }
    path.write_text('{"id": "d9", "text": "another"}\n')
    with pytest.raises(InputDataError, match="can be asked"):
        build_queue(settings)


def test_errors_say_what_is_missing(tmp_path: Path, tiny_bundle: Path) -> None:
    settings = scored_night(tmp_path, tiny_bundle, kit.texts(5))
    with pytest.raises(NotFoundError, match="no night of 2026-01-01"):
        build_queue(settings.model_validate({**settings.model_dump(), "score_date": "2026-01-01"}))
    with pytest.raises(ModelNotFoundError):
        build_queue(settings.model_copy(update={"registry": str(tmp_path / "nothing")}))
    with pytest.raises(NotFoundError, match="no such folder"):
        build_queue(settings.model_copy(update={"warehouse": str(tmp_path / "nothing")}))


def test_the_command(tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tlnlp.cli.commands import cli

    settings = scored_night(tmp_path, tiny_bundle, kit.texts(30))
    places = [f"{name}={tmp_path / name}" for name in ("registry", "warehouse", "labels", "queue")]
    sets = [part for place in [*places, "size=5"] for part in ("--set", place)]
    cli(["queue", "--json", *sets], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert found["documents"] == 5
    assert found["queue"].endswith("/queue/scores.json")
    cli(["queue", *sets], standalone_mode=False)
    assert "no random document is labelled yet" in capsys.readouterr().out
    assert len(stored(settings.queue).items) == 5
