"""The command: it prints where the pages are once it serves them, asks others for a token, and ends quietly."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from serve_kit import served

PATIENCE_S = 120


def status(url: str) -> int:
    """Return the status of the answer to a GET request."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_pages_are_served_until_a_signal(warehouse: Path, number: int) -> None:
    with served(warehouse) as (url, process):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        assert status(f"{url}night") == 200
        assert status(f"{url}documents?words=d00") == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out) == (0, "")
        assert err == "the pages are served until Ctrl-C\n"


def test_others_need_the_token_of_the_url(warehouse: Path) -> None:
    with served(warehouse, "--set", "host=0.0.0.0", "--json") as (line, process):
        url = json.loads(line)["url"]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", url)
        place = url.partition("?")[0]
        assert status(f"{place}night") == 401
        jar = urllib.request.HTTPCookieProcessor()
        with urllib.request.build_opener(jar).open(url, timeout=PATIENCE_S) as answer:
            assert answer.status == 200
            assert "token" not in answer.url
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert url.partition("token=")[2] not in err


def test_a_token_of_the_environment_is_asked_for_on_loopback_too(warehouse: Path) -> None:
    with served(warehouse, TLNLP_EXPLORE_TOKEN="of-the-tests") as (url, _):
        assert "of-the-tests" not in url
        assert status(url) == 401
        jar = urllib.request.HTTPCookieProcessor()
        with urllib.request.build_opener(jar).open(f"{url}?token=of-the-tests", timeout=PATIENCE_S) as answer:
            assert answer.status == 200


def test_a_table_that_does_not_exist_is_named_at_the_start(warehouse: Path) -> None:
    with served(warehouse, "--set", "table=nope") as (_, process):
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert re.search(r"warning: there is nothing to show yet: .*nope", err)


def test_a_port_that_is_taken_is_named(warehouse: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "tlnlp", "explore", "--set", f"warehouse={warehouse}", "--set", f"port={port}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "--set port=" in done.stderr
    assert done.stdout == ""
