"""Announcing a snapshot to other catalogs: commands with real programs, and the whole step with a warehouse on S3."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import glue_server
import pytest
from pyiceberg.catalog import Catalog
from warehouse_helpers import DAY

from tlnlp.config import AnnounceSettings
from tlnlp.errors import NotFoundError, StorageError, UsageError
from tlnlp.warehouse.announce import announce, announce_now, check_targets, names_of, raise_failures, run_command
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.publish import Publication, publish_day
from tlnlp.warehouse.published import published
from tlnlp.warehouse.schema import QUARANTINE

STATEMENT = "ALTER ICEBERG TABLE a.b.scores REFRESH 'x y/$HOME;`id`.json'"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A client that appends its arguments and stdin to ``calls``, prints a line, and fails if ``broken`` exists."""
    path = tmp_path / "warehouse client"
    path.write_text(
        f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\nhere = Path(__file__).parent\n"
        "with (here / 'calls').open('a') as file:\n"
        "    file.write(repr(sys.argv[1:]) + '|' + sys.stdin.read() + '\\n')\n"
        "print('printed by the client')\nsys.exit(3 if (here / 'broken').exists() else 0)\n"
    )
    path.chmod(0o755)
    return path


def calls(program: Path) -> list[str]:
    path = program.parent / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_the_statement_goes_to_stdin_or_where_the_command_says(
    program: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command([str(program), "sql", "--stdin"], STATEMENT, 30) == "notified"
    assert run_command([str(program), "-q", "{statement}"], STATEMENT, 30) == "notified"
    assert calls(program) == [f"['sql', '--stdin']|{STATEMENT};", "", f"['-q', {STATEMENT!r}]|"]
    captured = capfd.readouterr()
    assert captured.out == ""  # stdout is for our own result
    assert captured.err.count("printed by the client") == 2


def test_a_command_that_fails_or_is_missing(program: Path) -> None:
    (program.parent / "broken").touch()
    with pytest.raises(StorageError, match="warehouse client ended with code 3"):
        run_command([str(program)], STATEMENT, 30)
    with pytest.raises(UsageError, match=r"no-such-client: cannot be started \(No such file or directory\)"):
        run_command(["no-such-client"], STATEMENT, 30)


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"still running after 1 s and was killed"):
        run_command(["sh", "-c", f'sleep 60 & echo $! > "{pids}"; wait'], STATEMENT, 1)
    assert time.monotonic() - began < 20
    child = int(pids.read_text())
    for _ in range(100):
        if not _runs(child):
            return
        time.sleep(0.1)
    raise AssertionError("the child process of the command still runs")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def s3_warehouse(s3_bucket: str) -> str:
    return f"{s3_bucket}/announced/{uuid4().hex[:8]}"


@pytest.fixture
def catalog(s3_warehouse: str) -> Catalog:
    """A catalog in which one night without rows was published to both tables."""
    opened = open_catalog(s3_warehouse)
    empty_night(opened, "r1")
    return opened


def empty_night(catalog: Catalog, run_id: str) -> None:
    owner: dict[str, Any] = {"source": "s3://x/y", "model": "reviews", "run_id": run_id, "summary": {}, "files": ()}
    publish_day(catalog, Publication("scores", DAY, **owner))
    publish_day(catalog, Publication("quarantine", DAY, columns=QUARANTINE, **owner))


@pytest.fixture
def glue(monkeypatch: pytest.MonkeyPatch, s3_environment: bool) -> Iterator[glue_server.Glue]:
    served = glue_server.Glue()
    with glue_server.running(served) as environment:
        monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", environment["AWS_ENDPOINT_URL_GLUE"])
        yield served


def targets(**given: Any) -> AnnounceSettings:
    return AnnounceSettings(**given)


def test_every_target_is_notified_of_both_tables(
    catalog: Catalog, s3_warehouse: str, glue: glue_server.Glue, program: Path
) -> None:
    wanted = targets(glue={"database": "analytics"}, snowflake={"command": [str(program)], "volume_uri": s3_warehouse})
    done = announce(catalog, "scores", wanted)
    assert [(one.target, one.table, one.outcome) for one in done] == [
        ("glue", "scores", "created"), ("snowflake", "scores", "notified"),
        ("glue", "quarantine", "created"), ("snowflake", "quarantine", "notified"),
    ]  # fmt: skip
    file = published(catalog, "scores").metadata_location
    assert glue.databases["analytics"]["scores"]["Parameters"]["metadata_location"] == file
    relative = file.removeprefix(f"{s3_warehouse}/")
    assert calls(program)[0] == f"[]|ALTER ICEBERG TABLE tlnlp.public.scores REFRESH '{relative}';"
    empty_night(catalog, "r2")
    again = announce(catalog, "scores", wanted)
    assert [one.outcome for one in again] == ["updated", "notified", "updated", "notified"]
    assert [one.outcome for one in announce(catalog, "scores", wanted)] == ["unchanged", "notified"] * 2


def test_a_target_that_fails_does_not_stop_the_others(catalog: Catalog, glue: glue_server.Glue, program: Path) -> None:
    wanted = targets(glue={"database": "nowhere"}, snowflake={"command": [str(program)]})
    done = announce(catalog, "scores", wanted)
    assert [one.outcome for one in done] == ["failed", "notified", "failed", "notified"]
    assert "no database nowhere" in done[0].to_json()["error"]
    with pytest.raises(NotFoundError, match=r"glue, table scores: .*\nglue, table quarantine: "):
        raise_failures(done)
    raise_failures(done[1:2])


def test_settings_that_cannot_work_are_refused_beforehand(s3_warehouse: str, tmp_path: Path) -> None:
    command = {"command": ["true"]}
    check_targets(s3_warehouse, targets(glue={"database": "analytics"}, snowflake=command))
    check_targets("file:///anywhere", targets())
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("file:///x", {"glue": {"database": "analytics"}}, "on a local disk"),
        ("gs://b/x", {"glue": {"database": "analytics"}}, "athena reads s3://"),
        ("s3://b/x", {"bigquery": command}, "bigquery reads gs://"),
        ("s3://b/x", {"snowflake": command | {"into": "scores"}}, "DATABASE.SCHEMA"),
        ("s3://b/x", {"glue": {"database": "a b"}}, "the Glue database"),
    ]
    for warehouse, given, message in cases:
        with pytest.raises(UsageError, match=message):
            check_targets(warehouse, targets(**given))
    with pytest.raises(UsageError, match="no catalog to notify: no announce target is set"):
        announce_now(s3_warehouse, None, "scores", targets())
    with pytest.raises(NotFoundError, match="nothing has been published"):
        announce_now(s3_warehouse, None, "scores", targets(glue={"database": "analytics"}))
    assert names_of(targets(glue={"database": "analytics"}, bigquery=command)) == ["glue", "bigquery"]


def test_a_command_is_not_recorded() -> None:
    recorded = targets(snowflake={"command": ["snow", "--password", "hush"]}).model_dump(mode="json")
    assert "hush" not in str(recorded)
