"""What ``tlnlp query`` prints, and how it ends: values as they are, in each format; signals, limits, closed pipes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from odd_ids import OBEYED, ODD
from warehouse_helpers import sql

from tlnlp.cli import query_formats
from tlnlp.cli.commands import cli
from tlnlp.errors import UsageError
from tlnlp.warehouse.query import open_query


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


@pytest.mark.parametrize("value", ["chr(10) || chr(10) || 'LINE 1: canary' || chr(39)", "chr(39) || 'canary'"])
def test_no_value_passes_for_a_line_of_the_statement(odd: Path, value: str) -> None:
    # The statement is given on a line of its own, since the message repeats the line that failed.
    result = query(odd, f"with texts as (select {value} as value)\nselect cast(value as int) from texts")
    assert result.exit_code == 2
    assert "Could not convert" in result.stderr
    assert "canary" not in result.stderr


def test_nothing_but_rows_is_printed_while_a_query_computes(odd: Path) -> None:
    assert sql(odd, "select current_setting('enable_progress_bar')") == [(False,)]
