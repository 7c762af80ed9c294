"""Say as OpenLineage events which data a run has read and written; never fail a run by it.

Two events make a run: START, and COMPLETE or FAIL. They are kept as JSON Lines, one file for each run. With a URL in
the settings, each is also sent there when it happens, as ``POST``; OPENLINEAGE_API_KEY holds a bearer token for it.

Source: the OpenLineage specification, https://openlineage.io/spec/2-0-2/OpenLineage.json.
"""

from __future__ import annotations

import json
import os
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any

from tlnlp.config import LineageSettings
from tlnlp.errors import StorageError
from tlnlp.runs.ledger import Ledger
from tlnlp.runs.progress import say
from tlnlp.storage import Storage, join_uri, resolve_uri

PRODUCER = "https://pypi.org/project/tlnlp"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = "https://openlineage.io/spec/facets"
KEY_VARIABLE = "OPENLINEAGE_API_KEY"
FOLDER = "lineage"


class Lineage:
    """The events of one run.

    Args:
        ledger: the ledger of the run.
        settings: the name of this installation, and where events are sent.
        outputs: URIs of what the run writes, if it succeeds; a table is named below its warehouse.
    """

    def __init__(self, ledger: Ledger, settings: LineageSettings, outputs: Sequence[str]) -> None:
        self._ledger, self._settings, self._outputs = ledger, settings, outputs

    @contextmanager
    def sent(self) -> Iterator[None]:
        """Send START before the block, and what has become of the run after it, where the settings name a URL.

        The ledger must be finished when the block ends.
        """
        self._send(is_start=True)
        try:
            yield
        finally:
            self._send(is_start=False)

    def write(self, storage: Storage) -> None:
        """Store the events of the finished run in the folder ``lineage``. A failure is only logged."""
        run = self._ledger.to_json()
        lines = [json.dumps(self._event(kind, run), ensure_ascii=False) for kind in ("START", _end(run))]
        try:
            storage.write(f"{FOLDER}/{self._ledger.run_id}.jsonl", "".join(f"{line}\n" for line in lines).encode())
        except StorageError as error:
            say(f"warning: the lineage of {self._ledger.run_id} was not stored: {error}")

    def _event(self, kind: str, run: Mapping[str, Any]) -> dict[str, Any]:
        """Return an event, START, COMPLETE or FAIL, of what the ledger says."""
        at = run["started_at"] if kind == "START" else run["finished_at"]
        facets: dict[str, Any] = {"processing_engine": _engine(run)}
        if kind == "FAIL" and run["error"]:
            facets["errorMessage"] = _facet("1-0-1/ErrorMessageRunFacet") | {
                "message": str(run["error"].get("message") or run["error"].get("class")),
                "programmingLanguage": "python",
            }
        return {
            "eventType": kind,
            "eventTime": at,
            "run": {"runId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"tlnlp:{run['run_id']}")), "facets": facets},
            "job": {"namespace": self._settings.namespace, "name": f"tlnlp.{run['kind']}"},
            "inputs": [dataset(str(one["uri"])) | _input_facets(one) for one in run["inputs"]],
            "outputs": [self._output(uri, run["counts"]) for uri in self._outputs] if kind == "COMPLETE" else [],
            "producer": PRODUCER,
            "schemaURL": SCHEMA,
        }

    def _output(self, uri: str, counts: Mapping[str, int]) -> dict[str, Any]:
        rows = counts.get("rows_scored", 0) + counts.get("rows_reused", 0)
        if "rows_scored" not in counts or uri != self._outputs[0]:
            return dataset(uri)
        facet = _facet("1-0-2/OutputStatisticsOutputDatasetFacet") | {"rowCount": rows}
        return dataset(uri) | {"outputFacets": {"outputStatistics": facet}}

    def _send(self, is_start: bool) -> None:
        url = self._settings.url
        if url is None:
            return
        run = self._ledger.to_json()
        kind = "START" if is_start else _end(run)
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        try:
            data = json.dumps(self._event(kind, run)).encode()
            request = urllib.request.Request(url, data=data, headers=headers, method="POST")
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=self._settings.timeout_s) as answer:
                answer.read()
        except (OSError, ValueError, HTTPException) as error:
            # The message of an error may quote the URL, which may hold a password.
            say(f"warning: the lineage event {kind} was not taken by the URL of lineage.url ({type(error).__name__})")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follow no redirection, which would take the token to another address."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Return None, which makes the answer an error."""


def _end(run: Mapping[str, Any]) -> str:
    return "COMPLETE" if run["status"] == "succeeded" else "FAIL"


def dataset(uri: str) -> dict[str, Any]:
    """Return the namespace and the name of a URI, as the specification names datasets."""
    scheme, _, rest = resolve_uri(uri).partition("://")
    place, _, name = rest.partition("/")
    if scheme == "file":
        return {"namespace": "file", "name": f"/{name}"}
    return {"namespace": f"{scheme}://{place}", "name": name.strip("/") or "/"}


def table_uri(warehouse: str, table: str) -> str:
    """Return what names a table as a dataset."""
    return join_uri(resolve_uri(warehouse), table)


def _engine(run: Mapping[str, Any]) -> dict[str, Any]:
    return _facet("1-1-1/ProcessingEngineRunFacet") | {
        "version": str(run["versions"].get("tlnlp")),
        "name": "tlnlp",
    }


def _input_facets(one: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(one.get("rows"), int):
        return {}
    facet = _facet("1-0-0/InputStatisticsInputDatasetFacet") | {"rowCount": one["rows"]}
    return {"inputFacets": {"inputStatistics": facet}}


def _facet(name: str) -> dict[str, Any]:
    version, _, kind = name.partition("/")
    return {"_producer": PRODUCER, "_schemaURL": f"{_FACETS}/{version}/{kind}.json#/$defs/{kind}"}
