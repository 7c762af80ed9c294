"""Store an Iceberg catalog inside the warehouse: one pointer object for each table, changed by conditional writes.

``catalog/tlnlp/<table>.json`` names the table's current metadata file, and replacing that object is the commit. So a
warehouse needs no server and no database, only a store with conditional writes.

Source: the commit protocol of the Iceberg table spec ("Optimistic Concurrency", https://iceberg.apache.org/spec/):
write new metadata, then swap the pointer only if it still names the metadata that the new one was built on.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from pyiceberg.catalog import Catalog, MetastoreCatalog, PropertiesUpdateSummary, load_catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NamespaceAlreadyExistsError,
    NamespaceNotEmptyError,
    NoSuchNamespaceError,
    NoSuchTableError,
    NoSuchViewError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import CommitTableResponse, StagedTable, Table
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortOrder
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties

from tlnlp.errors import NotFoundError, StorageError, UsageError
from tlnlp.storage import Storage, Tagged, join_uri, resolve_uri
from tlnlp.storage.causes import described
from tlnlp.warehouse.metadata_files import MetadataFiles
from tlnlp.warehouse.schema import NAMESPACE
from tlnlp.warehouse.staged import file_properties

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.io import FileIO
    from pyiceberg.schema import Schema
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.update import TableRequirement, TableUpdate
    from pyiceberg.view import View
    from pyiceberg.view.metadata import ViewVersion

DEFAULT_CATALOG = "warehouse"


def open_catalog(warehouse: str, catalog: str | None = None) -> Catalog:
    """Open a catalog: the warehouse's own for None or ``"warehouse"``, else PyIceberg's catalog of that name.

    Raises:
        UsageError: Iceberg cannot use the warehouse URI, or PyIceberg's configuration has no catalog of that name.
    """
    if catalog is None or catalog == DEFAULT_CATALOG:
        return WarehouseCatalog(DEFAULT_CATALOG, warehouse=warehouse, **file_properties(warehouse))
    try:
        return load_catalog(catalog)
    except Exception as error:  # each kind of catalog raises errors of its own, or lacks a library
        raise UsageError(
            f"catalog {catalog!r} cannot be opened ({type(error).__name__}: {error}); configure it for PyIceberg in "
            f"~/.pyiceberg.yaml or PYICEBERG_CATALOG__{catalog.upper()}__URI, or leave `catalog` out"
        ) from error


class WarehouseCatalog(MetastoreCatalog):
    """An Iceberg catalog stored in the warehouse. It has one namespace, ``tlnlp``, and no views and no renames.

    ``properties`` other than ``warehouse`` go to PyIceberg's FileIO (``s3.endpoint`` and so on). Methods raise
    PyIceberg's errors, as its interface promises, and StorageError when the store fails.
    """

    def __init__(self, name: str, **properties: str) -> None:
        super().__init__(name, **properties)
        uri = resolve_uri(properties["warehouse"])
        if "#" in uri or "?" in uri:
            raise UsageError(
                f"warehouse {uri!r}: the address holds # or ?, where Iceberg cuts an address off; choose another folder"
            )
        self.warehouse = uri
        self._pointers = Storage(join_uri(uri, f"catalog/{NAMESPACE}"))
        self._files = MetadataFiles()

    def create_table(
        self,
        identifier: str | Identifier,
        schema: Schema | pa.Schema,
        location: str | None = None,
        partition_spec: PartitionSpec = UNPARTITIONED_PARTITION_SPEC,
        sort_order: SortOrder = UNSORTED_SORT_ORDER,
        properties: Properties = EMPTY_DICT,
    ) -> Table:
        """Create an empty table. Raises TableAlreadyExistsError, NoSuchNamespaceError, StorageError."""
        name = self._table_name(identifier, NoSuchNamespaceError)
        staged = self._create_staged_table((NAMESPACE, name), schema, location, partition_spec, sort_order, properties)
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        self._claim(name, staged.metadata_location)
        return self.load_table((NAMESPACE, name))

    def register_table(self, identifier: str | Identifier, metadata_location: str, overwrite: bool = False) -> Table:
        """Create a table of existing metadata. Raises TableAlreadyExistsError, StorageError."""
        if overwrite:
            raise NotImplementedError("this catalog registers new names only; drop the table first")
        name = self._table_name(identifier, NoSuchNamespaceError)
        self._claim(name, metadata_location)
        return self.load_table((NAMESPACE, name))

    def load_table(self, identifier: str | Identifier) -> Table:
        """Return the table at its current metadata. Raises NoSuchTableError, StorageError."""
        name = self._table_name(identifier, NoSuchTableError)
        return self._load(name, self._read_pointer(name))

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """Apply ``updates`` to the table's current metadata and swap the pointer to the result.

        Raises:
            CommitFailedException: a requirement is not met, or another commit came first; nothing has changed.
            CommitStateUnknownException: the store failed during the swap; the commit may have succeeded.
        """
        name = self._table_name(table.name(), NoSuchTableError)
        try:
            pointer: Tagged | None = self._read_pointer(name)
        except NoSuchTableError:
            pointer = None
        current = self._load(name, pointer) if pointer else None
        staged = self._update_and_stage_table(current, (NAMESPACE, name), requirements, updates)
        if current and staged.metadata == current.metadata:
            return _response(current.metadata, current.metadata_location)
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        self._swap_pointer(name, pointer, staged)
        return _response(staged.metadata, staged.metadata_location)

    def drop_table(self, identifier: str | Identifier) -> None:
        """Remove the table's pointer and keep its files. Raises NoSuchTableError, StorageError."""
        name = self._table_name(identifier, NoSuchTableError)
        self._read_pointer(name)
        self._pointers.delete([_key(name)])

    def rename_table(self, from_identifier: str | Identifier, to_identifier: str | Identifier) -> Table:
        """Raise NotImplementedError: a table's name is also its folder."""
        raise NotImplementedError("this catalog renames no table: a table's name is its folder in the warehouse")

    def list_tables(self, namespace: str | Identifier) -> list[Identifier]:
        """Return the tables of the namespace, sorted. Raises NoSuchNamespaceError, StorageError."""
        self._check_namespace(namespace)
        keys = (entry.key for entry in self._pointers.list())
        return sorted((NAMESPACE, key.removesuffix(".json")) for key in keys if key.endswith(".json"))

    def create_namespace(self, namespace: str | Identifier, properties: Properties = EMPTY_DICT) -> None:
        """Raise NamespaceAlreadyExistsError for ``tlnlp``, which always exists; NoSuchNamespaceError for others."""
        self._check_namespace(namespace)
        raise NamespaceAlreadyExistsError(f"Namespace {NAMESPACE} already exists")

    def drop_namespace(self, namespace: str | Identifier) -> None:
        """Raise NamespaceNotEmptyError for ``tlnlp``, which is permanent; NoSuchNamespaceError for others."""
        self._check_namespace(namespace)
        raise NamespaceNotEmptyError(f"Namespace {NAMESPACE} is part of the warehouse and cannot be dropped")

    def list_namespaces(self, namespace: str | Identifier = ()) -> list[Identifier]:
        """Return ``tlnlp``, or an empty list for the namespaces inside it."""
        if not self.identifier_to_tuple(namespace or ()):
            return [(NAMESPACE,)]
        self._check_namespace(namespace)
        return []

    def load_namespace_properties(self, namespace: str | Identifier) -> Properties:
        """Return the folder under which the tables lie, as ``location``."""
        self._check_namespace(namespace)
        return {"location": join_uri(self.warehouse, "tables")}

    def update_namespace_properties(
        self, namespace: str | Identifier, removals: set[str] | None = None, updates: Properties = EMPTY_DICT
    ) -> PropertiesUpdateSummary:
        """Raise NotImplementedError."""
        raise NotImplementedError("this catalog's namespace has no properties to change")

    def list_views(self, namespace: str | Identifier) -> list[Identifier]:
        """Return an empty list: this catalog holds no views."""
        self._check_namespace(namespace)
        return []

    def view_exists(self, identifier: str | Identifier) -> bool:
        """Return False: this catalog holds no views."""
        return False

    def load_view(self, identifier: str | Identifier) -> View:
        """Raise NoSuchViewError."""
        raise NoSuchViewError(f"View does not exist: {identifier}; this catalog holds no views")

    def drop_view(self, identifier: str | Identifier) -> None:
        """Raise NoSuchViewError."""
        raise NoSuchViewError(f"View does not exist: {identifier}; this catalog holds no views")

    def create_view(
        self,
        identifier: str | Identifier,
        schema: Schema | pa.Schema,
        view_version: ViewVersion,
        location: str | None = None,
        properties: Properties = EMPTY_DICT,
    ) -> View:
        """Raise NotImplementedError."""
        raise NotImplementedError("this catalog holds no views")

    def register_view(self, identifier: str | Identifier, metadata_location: str) -> View:
        """Raise NotImplementedError."""
        raise NotImplementedError("this catalog holds no views")

    def pointer_uri(self, table: str) -> str:
        """Return the URI of the table's pointer object, ``{"metadata_location": ...}``."""
        return self._pointers.url(_key(table))

    def _load_file_io(self, properties: Properties = EMPTY_DICT, location: str | None = None) -> FileIO:
        return self._files.wrapped(super()._load_file_io(properties, location))

    def _check_namespace(self, namespace: str | Identifier) -> None:
        if self.identifier_to_tuple(namespace) != (NAMESPACE,):
            raise NoSuchNamespaceError(f"Namespace does not exist: {namespace}; this catalog has only {NAMESPACE}")

    def _table_name(self, identifier: str | Identifier, error: type[NoSuchTableError | NoSuchNamespaceError]) -> str:
        parts = self.identifier_to_tuple(identifier)
        if len(parts) != 2 or parts[0] != NAMESPACE or not parts[1] or "/" in parts[1]:
            raise error(f"Table does not exist: {identifier}; names here are {NAMESPACE}.<table>")
        return parts[1]

    def _read_pointer(self, name: str) -> Tagged:
        try:
            return self._pointers.read_tagged(_key(name))
        except NotFoundError as error:
            raise NoSuchTableError(f"Table does not exist: {NAMESPACE}.{name}") from error

    def _load(self, name: str, pointer: Tagged) -> Table:
        location = _location(self._pointers.url(_key(name)), pointer.data)
        io = self._load_file_io(location=location)
        try:
            metadata = FromInputFile.table_metadata(io.new_input(location))
        except OSError as error:
            raise StorageError(f"{location}: the metadata of table {name} cannot be read {described(error)}") from error
        return Table((NAMESPACE, name), metadata, location, self._load_file_io(metadata.properties, location), self)

    def _claim(self, name: str, metadata_location: str) -> None:
        if not self._pointers.put_if_absent(_key(name), _pointer(metadata_location)) and not self._is_ours(
            name, metadata_location
        ):
            raise TableAlreadyExistsError(f"Table {NAMESPACE}.{name} already exists")

    def _swap_pointer(self, name: str, pointer: Tagged | None, staged: StagedTable) -> None:
        data = _pointer(staged.metadata_location)
        try:
            if pointer is None:
                moved = self._pointers.put_if_absent(_key(name), data)
            else:
                moved = self._pointers.compare_and_swap(_key(name), data, pointer.tag)
            # The store's client may have retried: then the first request won, and the second reports a lost race.
            moved = moved or self._is_ours(name, staged.metadata_location)
        except StorageError as error:
            raise CommitStateUnknownException(f"{NAMESPACE}.{name}: the pointer may or may not be swapped") from error
        if not moved:
            self._discard(staged)

    def _discard(self, staged: StagedTable) -> NoReturn:
        # A metadata file that stays behind is harmless, and its error would hide the lost race.
        with suppress(OSError):
            staged.io.delete(staged.metadata_location)
        raise CommitFailedException(f"Another commit to {'.'.join(staged.name())} came first")

    def _is_ours(self, name: str, metadata_location: str) -> bool:
        """Return True if the commit of ``metadata_location`` succeeded, even if later commits followed it."""
        try:
            pointer = self._read_pointer(name)
        except NoSuchTableError:
            return False
        if pointer.data == _pointer(metadata_location):
            return True
        return any(one.metadata_file == metadata_location for one in self._load(name, pointer).metadata.metadata_log)


def _response(metadata: TableMetadata, location: str) -> CommitTableResponse:
    fields: dict[str, Any] = {"metadata": metadata, "metadata-location": location}
    return CommitTableResponse(**fields)


def _key(name: str) -> str:
    return f"{name}.json"


def _pointer(metadata_location: str) -> bytes:
    return json.dumps({"metadata_location": metadata_location}).encode()


def _location(uri: str, data: bytes) -> str:
    try:
        return str(json.loads(data)["metadata_location"])
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{uri}: not a table pointer; restore it to name the newest file in metadata/") from error
