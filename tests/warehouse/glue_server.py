"""A loopback server for the part of Glue's JSON protocol that announcing uses, with Glue's own rules.

Each update increments an entry's version, an update of another version is refused, and names are unique in a database
(https://docs.aws.amazon.com/glue/latest/webapi/API_UpdateTable.html).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class RefusalError(Exception):
    """Make the server answer with this error code."""


class Glue:
    """The state of the server: ``databases`` holds entries by database and name, ``asked`` the requests received.

    ``before`` is called with the name of each operation before the operation is done.
    """

    def __init__(self) -> None:
        self.databases: dict[str, dict[str, dict[str, Any]]] = {"analytics": {}}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.before: Callable[[str], None] = lambda operation: None

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((operation, request))
        self.before(operation)
        tables = self.databases.get(request["DatabaseName"])
        if tables is None:
            raise RefusalError("EntityNotFoundException")
        if operation == "GetTable":
            if request["Name"] not in tables:
                raise RefusalError("EntityNotFoundException")
            return {"Table": tables[request["Name"]]}
        given = request["TableInput"]
        name = given["Name"]
        if operation == "CreateTable":
            if name in tables:
                raise RefusalError("AlreadyExistsException")
            self.put(request["DatabaseName"], given, version=0)
            return {}
        assert operation == "UpdateTable"
        if name not in tables:
            raise RefusalError("EntityNotFoundException")
        if request.get("VersionId") != tables[name]["VersionId"]:
            raise RefusalError("ConcurrentModificationException")
        self.put(request["DatabaseName"], given, version=int(tables[name]["VersionId"]) + 1)
        return {}

    def put(self, database: str, given: dict[str, Any], version: int) -> None:
        self.databases[database][given["Name"]] = given | {"DatabaseName": database, "VersionId": str(version)}

    def operations(self) -> list[str]:
        return [operation for operation, _ in self.asked]


@contextmanager
def running(glue: Glue) -> Iterator[dict[str, str]]:
    """Serve ``glue`` and yield the environment variables that reach it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            operation = self.headers["X-Amz-Target"].removeprefix("AWSGlue.")
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, answer = 200, glue.answer(operation, request)
            except RefusalError as error:
                status, answer = 400, {"__type": str(error), "Message": "a canary in the message"}
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield {
            "AWS_ENDPOINT_URL_GLUE": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": "tlnlp-test",
            "AWS_SECRET_ACCESS_KEY": "canary-secret",
            "AWS_REGION": "eu-central-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
