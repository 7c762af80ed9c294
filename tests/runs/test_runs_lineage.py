"""OpenLineage events of runs: what they say, where they go, and that no failure of theirs is one of the run."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tlnlp.config import LineageSettings
from tlnlp.errors import BudgetError
from tlnlp.runs.ledger import Ledger
from tlnlp.runs.lineage import KEY_VARIABLE, Lineage, dataset, table_uri
from tlnlp.storage import Storage

Requests = list[tuple[str, str | None, dict[str, Any]]]


@contextmanager
def taken(status: int = 200) -> Iterator[tuple[str, Requests]]:
    """Run a server that takes events; yield its URL, and path, token and body of each request."""
    found: Requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.append((self.path, self.headers.get("Authorization"), body))
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api/v1/lineage", found
        finally:
            server.shutdown()
            thread.join()


def run(folder: Path, error: Exception | None = None, **settings: Any) -> list[dict[str, Any]]:
    """Record a run that scores 7 rows; return its stored events."""
    ledger, storage = Ledger("score", "20261123T230102-3f9a1c", {}), Storage(str(folder))
    outputs = [table_uri("s3://bucket/warehouse", name) for name in ("scores", "quarantine")]
    lineage = Lineage(ledger, LineageSettings(**settings), outputs)
    try:
        with lineage.sent(), ledger.recorded(lambda _: lineage.write(storage)):
            ledger.inputs("s3://bucket/documents/", None, rows=9)
            ledger.counts |= {"rows_scored": 5, "rows_reused": 2}
            if error is not None:
                raise error
    except BudgetError:
        assert error is not None
    (path,) = (folder / "lineage").iterdir()
    assert path.name == "20261123T230102-3f9a1c.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_is_two_events(tmp_path: Path) -> None:
    start, complete = run(tmp_path, namespace="shop")
    assert [one["eventType"] for one in (start, complete)] == ["START", "COMPLETE"]
    assert start["run"]["runId"] == complete["run"]["runId"]
    assert start["eventTime"] <= complete["eventTime"]
    assert start["job"] == {"namespace": "shop", "name": "tlnlp.score"}
    assert start["outputs"] == []
    (read,) = complete["inputs"]
    assert (read["namespace"], read["name"]) == ("s3://bucket", "documents")
    assert read["inputFacets"]["inputStatistics"]["rowCount"] == 9
    scores, quarantine = complete["outputs"]
    assert (scores["namespace"], scores["name"]) == ("s3://bucket", "warehouse/scores")
    assert scores["outputFacets"]["outputStatistics"]["rowCount"] == 7
    assert quarantine == {"namespace": "s3://bucket", "name": "warehouse/quarantine"}
    for event in (start, complete):
        assert {"eventType", "eventTime", "run", "job", "inputs", "outputs", "producer", "schemaURL"} == set(event)


def test_a_failed_run_has_written_nothing(tmp_path: Path) -> None:
    _, fail = run(tmp_path, BudgetError("it would cost 3 USD"))
    assert fail["eventType"] == "FAIL"
    assert fail["outputs"] == []
    assert fail["run"]["facets"]["errorMessage"]["message"] == "it would cost 3 USD"


def test_events_are_sent_when_they_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    with taken() as (url, requests):
        stored = run(tmp_path, url=url)
    assert [(path, token) for path, token, _ in requests] == [("/api/v1/lineage", "Bearer secret")] * 2
    assert [body["eventType"] for _, _, body in requests] == ["START", "COMPLETE"]
    assert requests[1][2] == stored[1]
    assert "secret" not in json.dumps(stored)


@pytest.mark.parametrize("status", [500, 302])
def test_a_refusal_does_not_fail_the_run(tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture) -> None:
    with taken(status) as (url, requests):
        assert run(tmp_path, url=url.replace("//", "//user:word@"))[1]["eventType"] == "COMPLETE"
    assert len(requests) in (0, 2)
    assert [path for path, _, _ in requests] == ["/api/v1/lineage"] * len(requests)
    assert "warning: the lineage event START was not taken" in caplog.text
    assert "word" not in caplog.text


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/", "http://127.0.0.1:port/x", "http://user:word@127.0.0.1/", "http:"]
)
def test_an_address_that_answers_nothing(tmp_path: Path, url: str, caplog: pytest.LogCaptureFixture) -> None:
    if url == "http:":
        with socket.create_server(("127.0.0.1", 0)) as server:

            def answer() -> None:
                for _ in range(2):
                    with server.accept()[0] as connection:
                        connection.sendall(b"no HTTP\r\n\r\n")

            thread = threading.Thread(target=answer)
            thread.start()
            found = run(tmp_path, url=f"http://127.0.0.1:{server.getsockname()[1]}/", timeout_s=2)
            thread.join()
    else:
        found = run(tmp_path, url=url, timeout_s=0.5)
    assert found[1]["eventType"] == "COMPLETE"
    assert "word" not in caplog.text


def test_a_store_that_fails_does_not_fail_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "lineage").write_text("a file in the place of the folder")
    ledger = Ledger("score", "run", {})
    ledger.finish("succeeded")
    Lineage(ledger, LineageSettings(), []).write(Storage(str(tmp_path)))
    assert "was not stored" in caplog.text


def test_names_of_datasets(tmp_path: Path) -> None:
    assert dataset(str(tmp_path / "a b")) == {"namespace": "file", "name": str(tmp_path / "a b")}
    assert dataset("s3://bucket") == {"namespace": "s3://bucket", "name": "/"}
    assert dataset(str(tmp_path / "a#b?c"))["name"] == str(tmp_path / "a#b?c")
    with pytest.raises(ValidationError):
        LineageSettings(url="file:///etc/passwd")
