"""What a table is: how it is created, which source and model own it, and which kept columns it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyiceberg.catalog import Catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table import Table, Transaction
from pyiceberg.table.name_mapping import create_mapping_from_schema
from pyiceberg.transforms import IdentityTransform

from tlnlp.errors import PublishConflictError, UsageError
from tlnlp.warehouse.schema import (
    NAMESPACE,
    SCORE_DATE,
    SCORES,
    Column,
    columns_of,
    iceberg_schema,
    iceberg_type,
)
from tlnlp.warehouse.tables import PREFIX, load_table

# The properties of each table beside its owner and the names of its columns.
TABLE_PROPERTIES = {
    # PyIceberg's own retries would not notice that an empty day was published meanwhile; ours plan again.
    "commit.retry.num-retries": "0",
    # Each metadata file names so many of those before it, and each night reads one of each table.
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    # Maintenance merges manifests of neighbouring days up to this size, so that a night need not read the entries of
    # all days. Each file has an entry of about 200 bytes.
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "2",
    "commit.manifest.target-size-bytes": str(32 * 1024),
    # The least and the greatest value of a column tell nothing of a file whose rows a hash of their texts has dealt.
    "write.metadata.metrics.default": "counts",
    f"write.metadata.metrics.column.{SCORE_DATE}": "full",
}


def check_publish(catalog: Catalog, table: str, *, source: str, model: str, kept: Sequence[Column] = ()) -> None:
    """Check, before the work is done, that ``publish_day`` would accept this owner and these kept columns.

    Raises:
        PublishConflictError: the table belongs to another source or model.
        UsageError: a kept column has another type in the table.
        StorageError: the store failed.
    """
    loaded = load_table(catalog, table)
    if loaded is not None:
        check_owner(loaded, source, model)
        _new_kept(loaded.schema(), table, SCORES, kept)


def create_table(
    catalog: Catalog,
    table: str,
    *,
    source: str,
    model: str,
    columns: Sequence[Column],
    kept: Sequence[Column],
    by_day: bool = True,
) -> Transaction:
    """Return a transaction that creates the table, so that it never appears without its first rows.

    Args:
        by_day: whether each file holds the rows of one day.
    """
    catalog.create_namespace_if_not_exists(NAMESPACE)
    plain = [replace(column, required=False) for column in kept]
    schema = assign_fresh_schema_ids(iceberg_schema([*columns, *plain]))
    day = schema.find_field(SCORE_DATE)
    fields = [PartitionField(day.field_id, 1000, IdentityTransform(), SCORE_DATE)] if by_day else []
    spec = PartitionSpec(*fields)
    properties = {
        f"{PREFIX}source": source,
        f"{PREFIX}model": model,
        "schema.name-mapping.default": create_mapping_from_schema(schema).model_dump_json(),
    } | TABLE_PROPERTIES
    return catalog.create_table_transaction((NAMESPACE, table), schema, partition_spec=spec, properties=properties)


# What to do where a table belongs to another source or model, by what differs.
_OWNER_REMEDIES = {
    "source": "if the address is mistyped, correct it; if only the address of the documents has changed (a folder for "
    "each day), set the key `source` to {0!r} for every night (--set source={0!r}); give a new source a table of its "
    "own by --set table=NAME",
    "model": "use {0!r} again, or give the model a table of its own by --set table=NAME",
}


def check_owner(table: Table, source: str, model: str) -> None:
    """Raise PublishConflictError if the table belongs to another source or model."""
    for what, mine in (("source", source), ("model", model)):
        owner = table.properties.get(PREFIX + what)
        if owner != mine:
            raise PublishConflictError(
                f"table {table.name()[-1]} belongs to {what} {owner!r}, but this run has {what} {mine!r}; a table "
                f"takes one documents source and one model: {_OWNER_REMEDIES[what].format(owner)}"
            )


def add_kept(
    transaction: Transaction, schema: Schema, table: str, columns: Sequence[Column], kept: Sequence[Column]
) -> None:
    """Add the columns that the table lacks to the transaction: kept ones, and own ones that an earlier tlnlp had not.

    Raises:
        UsageError: as ``check_publish`` does.
    """
    new = _new_kept(schema, table, columns, kept)
    if new:
        with transaction.update_schema() as update:
            for column in new:
                update.add_column(column.name, iceberg_type(column.type))


def _new_kept(schema: Schema, table: str, columns: Sequence[Column], kept: Sequence[Column]) -> list[Column]:
    """Return the columns that the table does not have yet."""
    existing = {column.name: column for column in columns_of(schema)}
    new = [column for column in columns if column.name not in existing and not column.required]
    missing = [
        column.name
        for column in columns
        if column not in new and getattr(existing.get(column.name), "type", "") != column.type
    ]
    if missing:
        raise UsageError(f"table {table} was not made by tlnlp: it lacks {', '.join(missing)}; use another table name")
    folded = {name.lower(): name for name in existing}
    for column in kept:
        name = folded.get(column.name.lower())
        if name is None:
            new.append(column)
        elif name != column.name or existing[name].type != column.type:
            raise UsageError(
                f"keep_columns: {column.name} is {column.type} in this run, but table {table} has "
                f"{name} as {existing[name].type}; cast or rename it in the documents, or name another table"
            )
    return new
