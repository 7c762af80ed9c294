"""How much metadata a night reads: each file once, and no more of it with every night that was."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from night_kit import night, seen
from pyiceberg.io.pyarrow import PyArrowFile
from pyiceberg.table import Table
from warehouse_helpers import DAY, live_rows, publish, score_row, write_rows

from tlnlp.errors import PublishConflictError
from tlnlp.warehouse.catalog import WarehouseCatalog
from tlnlp.warehouse.maintain import maintain
from tlnlp.warehouse.metadata_files import MetadataFiles
from tlnlp.warehouse.state_table import read_state, replace_state
from tlnlp.warehouse.table_definition import TABLE_PROPERTIES
from tlnlp.warehouse.tables import day_files, day_token, load_table, token_of


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each metadata file is opened."""
    found, really_open = Counter[str](), PyArrowFile.open

    def counting(file: PyArrowFile, seekable: bool = True) -> Any:
        if file.location.endswith((".avro", ".json")):
            found[file.location] += 1
        return really_open(file, seekable)

    monkeypatch.setattr(PyArrowFile, "open", counting)
    return found


def fresh(warehouse: Path) -> WarehouseCatalog:
    return WarehouseCatalog("warehouse", warehouse=str(warehouse))


def loaded(warehouse: Path, name: str = "scores") -> Table:
    table = load_table(fresh(warehouse), name)
    assert table is not None
    return table


def bounds(table: Table) -> list[tuple[date, date]]:
    """Return the first and the last day of each manifest, in order."""
    snapshot = table.current_snapshot()
    assert snapshot is not None
    found = []
    for manifest in snapshot.manifests(table.io):
        days = [entry.data_file.partition[0] for entry in manifest.fetch_manifest_entry(table.io)]
        found.append((date(1970, 1, 1) + timedelta(days=min(days)), date(1970, 1, 1) + timedelta(days=max(days))))
    return sorted(found)


def test_a_night_reads_each_metadata_file_once(warehouse: Path, opened: Counter[str]) -> None:
    night(warehouse, "old", fresh(warehouse))
    opened.clear()
    catalog = fresh(warehouse)
    night(warehouse, "a", catalog, day_token(catalog, "scores", DAY))
    read = Counter(uri.split("/tables/")[1].split("/")[0] for uri in opened)
    # The metadata file, the list of manifests and the manifest; of the quarantine, those of its own first commit too.
    assert read == {"scores": 3, "quarantine": 6}
    assert set(opened.values()) == {1}
    assert seen(warehouse) == {"a": (4, 3)}


def test_what_another_process_commits_is_seen_at_once(warehouse: Path) -> None:
    ours, theirs = fresh(warehouse), fresh(warehouse)
    publish(warehouse, "r0", 4, catalog=ours)
    expected = day_token(ours, "scores", DAY)
    publish(warehouse, "r1", 6, catalog=theirs)
    assert day_token(ours, "scores", DAY) == day_token(theirs, "scores", DAY) != expected
    with pytest.raises(PublishConflictError, match="run r1 published"):
        publish(warehouse, "r2", 2, catalog=ours, expected=expected)
    theirs.drop_table("tlnlp.scores")
    assert load_table(ours, "scores") is None
    publish(warehouse, "r3", 1, catalog=theirs)
    assert token_of(load_table(ours, "scores"), DAY) == day_token(theirs, "scores", DAY)
    assert live_rows(warehouse) == 1


def test_what_was_read_first_leaves_first() -> None:
    files = MetadataFiles(most_bytes=10)
    for name, size in (("a", 4), ("b", 4), ("a", 4), ("c", 6), ("large", 11)):
        files.put(name, bytes(size))
        assert sum(len(files.get(one) or b"") for one in ("a", "b", "c", "large")) <= 10
        if name == "c":
            assert (files.get("a"), files.get("b"), files.get("c")) == (None, bytes(4), bytes(6))


def test_the_log_of_earlier_metadata_is_bounded_also_in_tables_of_earlier_versions(warehouse: Path) -> None:
    publish(warehouse, "r0", 1)
    with loaded(warehouse).transaction() as transaction:
        transaction.remove_properties(*TABLE_PROPERTIES)
    for number in range(1, 24):
        publish(warehouse, f"r{number}", 1, DAY + timedelta(days=number))
    assert len(loaded(warehouse).metadata.metadata_log) == 24
    maintain(str(warehouse), fresh(warehouse), now=datetime.now(UTC))
    table = loaded(warehouse)
    assert TABLE_PROPERTIES.items() <= table.properties.items()
    assert len(table.metadata.metadata_log) == int(TABLE_PROPERTIES["write.metadata.previous-versions-max"])
    assert len(list((warehouse / "tables" / "scores" / "metadata").glob("*.json"))) <= 24


def test_merged_manifests_hold_neighbouring_days_up_to_a_size(warehouse: Path, opened: Counter[str]) -> None:
    publish(warehouse, "r0", 1)
    size = 20_000  # A merged manifest then reaches its size after a few days, not after months.
    assert TABLE_PROPERTIES["commit.manifest.target-size-bytes"] == "32768"
    loaded(warehouse).transaction().set_properties({"commit.manifest.target-size-bytes": size}).commit_transaction()
    last = DAY
    for week in range(3):
        for number in range(7 * week + 1, 7 * week + 9):
            last = DAY + timedelta(days=number)
            publish(warehouse, f"r{number}-{week}", 1, last)
        maintain(str(warehouse), fresh(warehouse), now=datetime.now(UTC))
    table = loaded(warehouse)
    found = bounds(table)
    assert 2 <= len(found) <= 8
    assert (found[0][0], found[-1][1]) == (DAY, last)
    assert all(last < first for (_, last), (first, _) in pairwise(found))
    snapshot = table.current_snapshot()
    assert snapshot is not None
    assert max(manifest.manifest_length for manifest in snapshot.manifests(table.io)) <= size
    # A night reads the manifest of the day that it asks for, and no other.
    opened.clear()
    assert len(day_files(loaded(warehouse), last)) == 1
    assert len([uri for uri in opened if "/snap-" not in uri and uri.endswith(".avro")]) == 1
    assert live_rows(warehouse) == 23


def test_a_state_keeps_its_last_two_snapshots_and_one_manifest(warehouse: Path) -> None:
    publish(warehouse, "r0", 4)
    catalog, files = fresh(warehouse), []
    for number in range(4):
        files.append(write_rows(warehouse, f"m{number}", [score_row(number, "r0")], chunk="state"))
        replace_state(catalog, loaded(warehouse), files[-1:], DAY)
        table = loaded(warehouse, "scores_state")
        assert len(table.snapshots()) == min(2, number + 1)
        assert len(table.inspect.manifests()) == 1
    found = read_state(catalog, loaded(warehouse))
    assert found is not None
    assert (found.files, found.rows, found.through) == ((files[-1],), 1, DAY)
    before = loaded(warehouse, "scores_state").snapshots()[0]
    assert [file.file_path for file in day_files(table, DAY, before.snapshot_id)] == [files[-2]]
    maintain(str(warehouse), fresh(warehouse), now=datetime.now(UTC) + timedelta(days=60))
    assert len(loaded(warehouse, "scores_state").snapshots()) == 2
