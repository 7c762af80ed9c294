"""What ``tlnlp query`` prints, and how it ends: values as they are, in each format; signals, limits, closed pipes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from warehouse_helpers import publish, score_row, sql, write_rows

from tlnlp.cli import query_formats
from tlnlp.cli.commands import cli
from tlnlp.errors import UsageError
from tlnlp.warehouse.query import open_query
from tlnlp.warehouse.query_worker import Limits

# Ids that a printer might obey, decode, trim or cut.
ODD = [
    "[a]1", "[/b]2", "order:100:7", ":smile:", " d1 ", "d1", "L" * 1500, "café", "cafe\u0301", "NULL", "-", "", "a\\nb",
    '"quoted", twice', "\u200b\u200d\ufe0f", "\U0001f469\u200d\U0001f467",
]  # fmt: skip
OBEYED = {
    "new\nline": "new\\nline",
    "\x1b[31mred": "\\x1b[31mred",
    "\x9b31m": "\\x9b31m",
    "\u202eabc": "\\u202eabc",
    "\u2066x\u2069": "\\u2066x\\u2069",
    "bell\x07\x7f\r\t": "bell\\x07\\x7f\\r\\t",
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse of documents with odd ids."""
    warehouse = tmp_path_factory.mktemp("odd") / "warehouse"
    rows = [score_row(number, "r1", document_id=name) for number, name in enumerate([*ODD, *OBEYED])]
    publish(warehouse, "r1", 0, files=[write_rows(warehouse, "r1", rows)])
    return warehouse


def query(warehouse: Path, statement: str, *options: str) -> Result:
    return CliRunner().invoke(cli, ["query", statement, *options, "--set", f"warehouse={warehouse}"])


IDS = "select document_id, 1 from scores order by text_sha256"


def test_a_table_shows_values_as_they_are_and_escapes_what_a_terminal_obeys(odd: Path) -> None:
    result = query(odd, IDS)
    assert result.exit_code == 0, result.output
    shown = [line[: -len(" 1")] for line in result.stdout.split("\n")[1:-1]]
    assert [line.rstrip() for line in shown] == [name.rstrip() for name in [*ODD, *OBEYED.values()]]
    assert all(line.startswith(name) for line, name in zip(shown, [*ODD, *OBEYED.values()], strict=True))


def test_csv_and_json_hold_every_value_unchanged(odd: Path) -> None:
    names = [*ODD, *OBEYED]
    rows = list(csv.reader(query(odd, IDS, "--format", "csv").stdout.splitlines(keepends=True)))
    assert rows == [["document_id", "1"], *([name, "1"] for name in names)]
    for option in (["--format", "jsonl"], ["--json"]):
        text = query(odd, IDS, *option).stdout
        assert not set(text) & set("\x1b\x9b\x7f\u202e\u2066")
        found = json.loads(text) if option == ["--json"] else [json.loads(line) for line in text.splitlines()]
        assert [row["document_id"] for row in found] == names


FORMS = {
    "null": ("NULL", "", None),
    "''": ("", '""', ""),
    "true": ("true", "true", True),
    "2.50::decimal(4,2)": ("2.50", "2.50", 2.5),
    "12345678901234567.123456789::decimal(38,9)": ("12345678901234567.123456789",) * 2 + (12345678901234567.1,),
    "(2::hugeint**100)::hugeint": (str(2**100), str(2**100), 2**100),
    "0.1::float": ("0.1", "0.1", 0.1),
    "0.123456789012345678": ("0.123456789012345678", "0.123456789012345678", 0.12345678901234568),
    "99999.99996::double": ("99999.99996", "99999.99996", 99999.99996),
    "'nan'::double": ("NaN", "NaN", "NaN"),
    "'-inf'::float": ("-Infinity", "-Infinity", "-Infinity"),
    "date '2026-01-02'": ("2026-01-02", "2026-01-02", "2026-01-02"),
    "date '10000-01-01'": ("10000-01-01", "10000-01-01", "10000-01-01"),
    "date '-infinity'": ("-infinity", "-infinity", "-infinity"),
    "timestamp 'infinity'": ("infinity", "infinity", "infinity"),
    "timestamptz '2026-01-02 03:04:05+02'": ("2026-01-02T01:04:05+00:00",) * 3,
    "timestamp_ns '2026-01-02 03:04:05.123456789'": ("2026-01-02T03:04:05.123456789",) * 3,
    "time '03:04:05'": ("03:04:05", "03:04:05", "03:04:05"),
    "interval '14 months 3 days 4.5 seconds'": ("P14M3DT4.5S",) * 3,
    "'a\\xff'::blob": ("61ff", "61ff", "61ff"),
    "map{'p': 0.25}": ('{"p": 0.25}', '"{""p"": 0.25}"', {"p": 0.25}),
    "map{1: [date '10000-01-01']}": (
        '{"1": ["10000-01-01"]}', '"{""1"": [""10000-01-01""]}"', {"1": ["10000-01-01"]}
    ),
    "[1, null]": ("[1, null]", '"[1, null]"', [1, None]),
    "{'k': 'a\"b'}": ('{"k": "a\\"b"}', '"{""k"": ""a\\""b""}"', {"k": 'a"b'}),
}  # fmt: skip


def test_every_type_has_its_form(odd: Path) -> None:
    statement = "select " + ", ".join(f"{value} as c{number}" for number, value in enumerate(FORMS))
    documents = json.loads(query(odd, statement, "--json").stdout)
    (row,) = documents
    assert list(row.values()) == [form[2] for form in FORMS.values()]
    assert "2.50," in query(odd, statement, "--json").stdout
    for value, (table, in_csv, _) in FORMS.items():
        assert query(odd, f"select {value} as c", "--format", "csv").stdout == f"c\n{in_csv}\n", value
        assert query(odd, f"select {value} as c").stdout == f"c\n{table}\n", value


def test_no_column_is_lost_when_names_repeat(odd: Path) -> None:
    result = query(odd, "select 1 as a, 2 as a, 3 as a_1, 4 as a", "--json")
    assert json.loads(result.stdout) == [{"a": 1, "a_2": 2, "a_1": 3, "a_3": 4}]


def test_no_rows(odd: Path) -> None:
    empty = "select label from scores where false"
    assert query(odd, empty).stdout == "label\n"
    assert query(odd, empty, "--format", "csv").stdout == "label\n"
    assert query(odd, empty, "--format", "jsonl").stdout == ""
    assert query(odd, empty, "--json").stdout == "[]\n"


def test_json_and_another_format_exclude_each_other(odd: Path) -> None:
    result = query(odd, "select 1", "--json", "--format", "csv")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "give one of the two" in result.stderr


def test_a_terminal_shows_the_first_rows_and_counts_the_others(
    odd: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(query_formats, "TERMINAL_ROWS", 3)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")
    statement = "select '[b]' || range || repeat('x', 40) as wide, range as n from range(25000)"
    with open_query(str(odd), statement) as stream:
        query_formats.print_query(stream, "table")
    printed = capsys.readouterr()
    assert printed.out.count("[b]") == 3
    assert printed.out.count("x") == 120
    assert max(map(len, printed.out.splitlines()[1:])) <= 30  # The first line holds the codes of bold text.
    assert "24,997 more rows not shown" in printed.err


def test_a_million_rows_do_not_stay_in_memory(odd: Path) -> None:
    code = """if True:
        import resource, sys
        from tlnlp.cli.query_formats import print_query
        from tlnlp.warehouse.query import open_query
        with open_query(sys.argv[1], f"select range, repeat('y', 300) from range({sys.argv[2]})") as stream:
            print_query(stream, sys.argv[3])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"""

    def peak(rows: int, form: str) -> int:
        command = [sys.executable, "-c", code, str(odd), str(rows), form]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
        return int(done.stderr)

    few = peak(20_000, "json")
    for form in ("table", "json"):
        assert peak(120_000, form) < few + 24 * 1024  # KiB; the rows alone are 36 MB


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


@pytest.mark.parametrize(
    "statement",
    [
        "explain analyze copy (select 1) to '{folder}/x.csv'",
        "explain analyze create table x as select 1",
        "explain analyze drop view scores",
        "/* a */ explain /* b */ analyze drop view scores",
        "explain (analyze) create table x as select 1",
        "with x as (copy (select 1) to '{folder}/x.csv') select * from x",
        "with x as (insert into scores select * from scores returning 1) select * from x",
        "from 'https://example.org/a.csv'",
        "select * from read_csv('/etc/passwd')",
        "select * from read_blob('/etc/passwd')",
        "select * from parquet_metadata('{folder}/x.parquet')",
        "select * from enable_logging(storage='file', storage_path='{folder}/x.log')",
        "pragma database_list",
        "pragma temp_directory='{folder}'",
        "call pragma_version()",
        "load httpfs",
        "set enable_external_access=true",
        "reset lock_configuration",
        "export database '{folder}/x'",
        "import database '{folder}'",
        "detach memory",
        "use memory",
        "checkpoint",
    ],
)
def test_no_statement_reads_or_writes_elsewhere(odd: Path, tmp_path: Path, statement: str) -> None:
    with pytest.raises(UsageError) as raised:
        sql(odd, statement.format(folder=tmp_path))
    assert "root:" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_explain_of_a_select_is_allowed(odd: Path) -> None:
    for words in (
        "explain",
        "explain analyze",
        "EXPLAIN (ANALYZE, FORMAT JSON)",
        "/* why */ explain",
        "explain /* a */",
    ):
        assert sql(odd, f"{words} select label from scores"), words


def test_a_value_that_cannot_be_converted_is_not_quoted(odd: Path) -> None:
    result = query(odd, "select cast(document_id || 'canary' as int) from scores")
    assert result.exit_code == 2
    assert "Could not convert" in result.stderr
    assert "canary'" not in result.stderr.partition("LINE 1")[0]


def test_nothing_but_rows_is_printed_while_a_query_computes(odd: Path) -> None:
    assert sql(odd, "select current_setting('enable_progress_bar')") == [(False,)]
