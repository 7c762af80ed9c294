"""How ``tlnlp query`` ends before its end: by a signal, a closed pipe, a deadline, or for want of memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tlnlp.warehouse.query import open_query
from tlnlp.warehouse.query_worker import Limits

# Python and DuckDB end each of these without help only after minutes.
HEAVY = {
    "joins": "select count(*) from range(10000000) a, range(100000) b where a.range * b.range % 7 = 3",
    "a stream": "select range, repeat('y', 100) from range(1000000000)",
    "one long function": "select regexp_matches(repeat('a', 50000000) || 'b', '(a+)+c')",
}


@pytest.mark.parametrize(
    ("heavy", "number", "code"),
    [
        ("joins", signal.SIGINT, 130),
        ("a stream", signal.SIGTERM, 143),
        ("one long function", signal.SIGINT, 130),
        ("one long function", signal.SIGTERM, 143),
    ],
)
def test_a_signal_ends_a_heavy_query(odd: Path, tmp_path: Path, heavy: str, number: int, code: int) -> None:
    command = [sys.executable, "-m", "tlnlp", "query", HEAVY[heavy], "--set", f"warehouse={odd}", "--format", "csv"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    # A shell starts what it runs in the background without SIGINT, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=err, env=environment)
        _until(lambda: any(tmp_path.glob("tlnlp-query-*")), process)
        time.sleep(0.5)
        process.send_signal(number)
        began = time.monotonic()
        try:
            assert process.wait(20) == code
        finally:
            process.kill()
        assert time.monotonic() - began < 20  # A second, on a machine that has nothing else to do.
    assert "the command stopped before it was finished" in (tmp_path / "err").read_text()
    assert not list(tmp_path.glob("tlnlp-query-*"))


def _until(reached: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if reached():
            return
        assert process.poll() is None
        time.sleep(0.05)
    raise AssertionError("the process did not come so far")


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_reader_that_closes_the_pipe_ends_the_query_quietly(odd: Path, form: str) -> None:
    option = ["--json"] if form == "json" else ["--format", form]
    statement = "select range, repeat('y', 100) from range(3000000)"
    command = [sys.executable, "-m", "tlnlp", "query", statement, "--set", f"warehouse={odd}", *option]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(100)) == 100
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


def limited(warehouse: Path, statement: str, limit: str) -> subprocess.CompletedProcess[str]:
    """Run a query in a process of its own, which may end at once with a thread that does not; watch memory closely."""
    code = (
        "from tlnlp.cli.commands import main; from tlnlp.warehouse import query_worker; "
        "query_worker._BESIDE_BYTES = 64 << 20; main()"
    )
    command = [sys.executable, "-c", code, "query", statement, "--set", f"warehouse={warehouse}", "--set", limit]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_query_that_takes_too_long_names_the_key(odd: Path) -> None:
    done = limited(odd, HEAVY["joins"], "timeout_s=0.3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "it took more than 0.3 s and was stopped" in done.stderr
    assert "raise timeout_s" in done.stderr


def test_the_time_of_a_slow_reader_does_not_count(odd: Path) -> None:
    with open_query(str(odd), "select range from range(100000)", limits=Limits(timeout_s=5)) as stream:
        rows = 0
        for batch in stream.batches:
            rows += batch.num_rows
            time.sleep(0.6)
    assert rows == 100_000


@pytest.mark.parametrize(
    "statement",
    [
        "select list(range) from range(100000000)",
        # DuckDB does not count the memory of one long text, so the process is watched.
        "select max(length(repeat('x', 300000000 + range::int))) from range(20)",
    ],
)
def test_a_query_that_needs_too_much_memory_names_the_key(odd: Path, statement: str) -> None:
    done = limited(odd, statement, "memory_limit=100MB")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "it needs more memory than 0.1 GB and was stopped" in done.stderr
    assert "raise memory_limit" in done.stderr


def test_what_does_not_fit_into_memory_is_spilled(odd: Path) -> None:
    statement = (
        "select max(h) from (select hash(range) as h, row_number() over (order by hash(range)) from range(4000000))"
    )
    with open_query(str(odd), statement, limits=Limits(memory_bytes=60_000_000)) as stream:
        assert sum(batch.num_rows for batch in stream.batches) == 1
