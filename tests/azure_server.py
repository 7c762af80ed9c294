"""Run an Azure Blob emulator (Azurite) on a loopback address during a test session."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from s3_server import CACHE, REQUIRED, free_port

SERVER = CACHE / "azurite" / "node_modules" / ".bin" / "azurite-blob"
CONTAINER, ACCOUNT = "tlnlp-tests", "devstoreaccount1"
VERSION = "2021-12-02"


def require() -> None:
    """Skip the test if the emulator was not fetched; fail it if TLNLP_REQUIRE_S3 is set."""
    if not SERVER.exists():
        message = "no Azurite in .cache/: install Node.js with npm and run `make tools`"
        pytest.fail(message) if REQUIRED else pytest.skip(message)


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Run the emulator over ``folder`` with one container, and yield the environment variables that reach it."""
    folder.mkdir(parents=True)
    port, key = free_port(), base64.b64encode(os.urandom(64)).decode()
    command = [str(SERVER), "--blobPort", str(port), "--location", str(folder), "--silent", "--disableTelemetry"]
    account = os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen([*command, "--skipApiVersionCheck"], stdout=log, stderr=log, env=account)
    try:
        _make_container(port, key)
        yield {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": key,
            "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
        }
    finally:
        process.terminate()
        process.wait(10)


def _make_container(port: int, key: str) -> None:
    """Create the container by a request signed with the key (learn.microsoft.com/rest/api/storageservices)."""
    for _ in range(100):
        date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = f"x-ms-date:{date}\nx-ms-version:{VERSION}\n"
        resource = f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
        signed = hmac.new(base64.b64decode(key), f"PUT{chr(10) * 12}{headers}{resource}".encode(), hashlib.sha256)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/{ACCOUNT}/{CONTAINER}?restype=container",
            method="PUT",
            headers={
                "x-ms-date": date,
                "x-ms-version": VERSION,
                "Content-Length": "0",
                "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(signed.digest()).decode()}",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except urllib.error.HTTPError as error:
            raise RuntimeError(
                f"the Azure emulator refused to create the container: {error.read().decode()[:500]}"
            ) from error
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("the Azure emulator does not answer")
