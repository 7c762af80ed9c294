"""Describe a published table for another engine: name, location, current metadata file, columns."""

from __future__ import annotations

from dataclasses import dataclass

from pyiceberg.catalog import Catalog

from tlnlp.errors import NotFoundError
from tlnlp.warehouse.catalog import WarehouseCatalog
from tlnlp.warehouse.schema import Column, columns_of, quarantine_name
from tlnlp.warehouse.tables import load_table


@dataclass(frozen=True)
class Published:
    """A table at the moment of the look-up.

    Attributes:
        name: name of the table.
        location: URI of its folder.
        metadata_location: URI of the metadata file that names the current snapshot.
        pointer: URI of the JSON object that names the metadata file; None if the catalog has no such object.
        columns: the columns.
        field_ids: Iceberg's field id of each column.
    """

    name: str
    location: str
    metadata_location: str
    pointer: str | None
    columns: tuple[Column, ...]
    field_ids: tuple[int, ...]


def published(catalog: Catalog, table: str) -> Published:
    """Return the table as it is now. Raises NotFoundError if it was never published, StorageError."""
    loaded = load_table(catalog, table)
    if loaded is None:
        raise NotFoundError(
            f"table {table}: nothing has been published under that name; check `warehouse` and `table`, or score "
            "documents first"
        )
    schema = loaded.schema()
    return Published(
        table,
        loaded.location().rstrip("/"),
        loaded.metadata_location,
        catalog.pointer_uri(table) if isinstance(catalog, WarehouseCatalog) else None,
        columns_of(schema),
        tuple(field.field_id for field in schema.fields),
    )


def published_pair(catalog: Catalog, table: str) -> list[Published]:
    """Return the table and its quarantine table. Raises NotFoundError, StorageError."""
    return [published(catalog, table), published(catalog, quarantine_name(table))]
