"""The catalog in the warehouse: tables, commits, races and damage."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NamespaceNotEmptyError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)

from tlnlp.errors import StorageError, UsageError
from tlnlp.warehouse.catalog import WarehouseCatalog, open_catalog
from tlnlp.warehouse.schema import QUARANTINE, iceberg_schema

SCHEMA = iceberg_schema(QUARANTINE)


@pytest.fixture
def catalog(warehouse: Path) -> WarehouseCatalog:
    return WarehouseCatalog("warehouse", warehouse=str(warehouse))


def test_a_table_is_made_listed_loaded_and_dropped(catalog: WarehouseCatalog, warehouse: Path) -> None:
    assert catalog.list_tables("tlnlp") == []
    made = catalog.create_table("tlnlp.scores", SCHEMA)
    pointer = json.loads((warehouse / "catalog" / "tlnlp" / "scores.json").read_bytes())
    assert pointer == {"metadata_location": made.metadata_location}
    assert made.location() == f"file://{warehouse}/tables/scores"
    assert catalog.list_tables("tlnlp") == [("tlnlp", "scores")]
    assert catalog.load_table("tlnlp.scores").metadata == made.metadata
    with pytest.raises(TableAlreadyExistsError):
        catalog.create_table("tlnlp.scores", SCHEMA)
    catalog.drop_table("tlnlp.scores")
    assert not catalog.table_exists("tlnlp.scores")
    with pytest.raises(NoSuchTableError):
        catalog.drop_table("tlnlp.scores")
    assert catalog.register_table("tlnlp.again", made.metadata_location).metadata.table_uuid == made.metadata.table_uuid


def test_one_namespace_and_no_views(catalog: WarehouseCatalog) -> None:
    assert catalog.list_namespaces() == [("tlnlp",)]
    assert catalog.list_namespaces("tlnlp") == []
    assert catalog.namespace_exists("tlnlp")
    assert not catalog.namespace_exists("other")
    catalog.create_namespace_if_not_exists("tlnlp")
    with pytest.raises(NamespaceAlreadyExistsError):
        catalog.create_namespace("tlnlp")
    with pytest.raises(NamespaceNotEmptyError):
        catalog.drop_namespace("tlnlp")
    with pytest.raises(NoSuchNamespaceError):
        catalog.list_tables("other")
    with pytest.raises(NoSuchNamespaceError):
        catalog.create_table("other.scores", SCHEMA)
    with pytest.raises(NoSuchTableError):
        catalog.load_table("tlnlp.a.b")
    with pytest.raises(NotImplementedError, match="renames no table"):
        catalog.rename_table("tlnlp.a", "tlnlp.b")
    assert catalog.list_views("tlnlp") == []
    assert not catalog.view_exists("tlnlp.v")


def test_a_commit_moves_the_pointer_and_keeps_the_history(catalog: WarehouseCatalog) -> None:
    table = catalog.create_table("tlnlp.scores", SCHEMA)
    first = table.metadata_location
    table.transaction().set_properties({"a": "1"}).commit_transaction()
    loaded = catalog.load_table("tlnlp.scores")
    assert loaded.properties["a"] == "1"
    assert loaded.metadata_location != first
    assert [entry.metadata_file for entry in loaded.metadata.metadata_log] == [first]


def test_a_commit_on_a_moved_schema_fails_and_leaves_no_metadata_behind(
    catalog: WarehouseCatalog, warehouse: Path
) -> None:
    stale = catalog.create_table("tlnlp.scores", SCHEMA)
    late = stale.transaction()
    with late.update_schema() as update:
        update.add_column("late", SCHEMA.find_type("reason"))
    with catalog.load_table("tlnlp.scores").update_schema() as update:
        update.add_column("early", SCHEMA.find_type("reason"))
    before = sorted(path.name for path in (warehouse / "tables").rglob("*.json"))
    with pytest.raises(CommitFailedException):
        late.commit_transaction()
    assert sorted(path.name for path in (warehouse / "tables").rglob("*.json")) == before
    names = catalog.load_table("tlnlp.scores").schema().column_names
    assert "early" in names
    assert "late" not in names


def test_of_many_commits_at_once_none_is_lost(warehouse: Path) -> None:
    racers, rounds = 4, 5
    barrier = Barrier(racers)
    WarehouseCatalog("warehouse", warehouse=str(warehouse)).create_table("tlnlp.scores", SCHEMA)

    def race(racer: int) -> None:
        catalog = WarehouseCatalog("warehouse", warehouse=str(warehouse))
        barrier.wait()
        for number in range(rounds):
            while True:
                try:
                    catalog.load_table("tlnlp.scores").transaction().set_properties(
                        {f"{racer}-{number}": "there"}
                    ).commit_transaction()
                    break
                except CommitFailedException:
                    continue

    with ThreadPoolExecutor(racers) as pool:
        list(pool.map(race, range(racers)))
    properties = open_catalog(str(warehouse)).load_table("tlnlp.scores").properties
    assert {f"{racer}-{number}" for racer in range(racers) for number in range(rounds)} <= properties.keys()


def test_our_commit_is_recognised_even_after_a_later_one(catalog: WarehouseCatalog) -> None:
    table = catalog.create_table("tlnlp.scores", SCHEMA)
    ours = table.metadata_location
    assert catalog._is_ours("scores", ours)
    table.transaction().set_properties({"a": "1"}).commit_transaction()
    assert catalog._is_ours("scores", ours)
    assert not catalog._is_ours("scores", "file:///elsewhere.metadata.json")
    assert not catalog._is_ours("absent", ours)


def test_damage_is_a_storage_error_that_names_the_file(catalog: WarehouseCatalog, warehouse: Path) -> None:
    table = catalog.create_table("tlnlp.scores", SCHEMA)
    Path(table.metadata_location.removeprefix("file://")).unlink()
    with pytest.raises(StorageError, match=r"metadata\.json"):
        WarehouseCatalog("warehouse", warehouse=str(warehouse)).load_table("tlnlp.scores")
    (warehouse / "catalog" / "tlnlp" / "scores.json").write_text("[]")
    with pytest.raises(StorageError, match=r"scores\.json"):
        catalog.load_table("tlnlp.scores")


def test_other_catalogs_are_pyicebergs_by_name(warehouse: Path) -> None:
    assert isinstance(open_catalog(str(warehouse), "warehouse"), WarehouseCatalog)
    with pytest.raises(UsageError, match="no_such_catalog"):
        open_catalog(str(warehouse), "no_such_catalog")
    with pytest.raises(UsageError, match="#"):
        open_catalog("/data/#1")
