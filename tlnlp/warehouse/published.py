"""What another engine must be told of a published table: its name, its place, its present metadata, its columns."""

from __future__ import annotations

from dataclasses import dataclass

from pyiceberg.catalog import Catalog

from tlnlp.errors import NotFoundError
from tlnlp.warehouse.catalog import WarehouseCatalog
from tlnlp.warehouse.schema import Column, columns_of, quarantine_name
from tlnlp.warehouse.tables import load_table


@dataclass(frozen=True)
class Published:
    """A table as it is at the moment of asking.

    ``location`` is its folder and ``metadata_location`` the file that names its current snapshot. ``pointer`` is the
    URI of the JSON object that always names that file, where the catalog has one. ``field_ids`` go with ``columns``.
    """

    name: str
    location: str
    metadata_location: str
    pointer: str | None
    columns: tuple[Column, ...]
    field_ids: tuple[int, ...]


def published(catalog: Catalog, table: str) -> Published:
    """The table as it is now. Raises NotFoundError (nothing was published under that name), StorageError."""
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
    """The table and its quarantine. Raises NotFoundError, StorageError."""
    return [published(catalog, table), published(catalog, quarantine_name(table))]
