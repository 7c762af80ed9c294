"""Publish a day: replace a table's rows of one ``score_date`` in one atomic snapshot.

A reader sees the old day or the new day, never an empty or a mixed one. If two runs publish the same day at once,
exactly one succeeds; runs that publish different days do not conflict. Publishing a run again changes nothing, so a
commit of unknown outcome can be repeated.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    RESTError,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table import Table, Transaction
from pyiceberg.table.name_mapping import create_mapping_from_schema
from pyiceberg.transforms import IdentityTransform

from tlnlp.errors import PublishConflictError, StorageError, UsageError
from tlnlp.storage import resolve_uri
from tlnlp.warehouse.run_folder import mark_catalog
from tlnlp.warehouse.schema import (
    NAMESPACE,
    SCORE_DATE,
    SCORES,
    Column,
    columns_of,
    iceberg_schema,
    iceberg_type,
)
from tlnlp.warehouse.staged import data_file
from tlnlp.warehouse.tables import PREFIX, day_files, is_day, last_publish, load_table, summary_of, token_of

_TRIES = 12
_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 2.0
_LOST = (CommitFailedException, TableAlreadyExistsError, ValidationException)
_UNKNOWN = (RESTError, StorageError, OSError)
_FOOTER_READERS = 8


@dataclass(frozen=True)
class PublishResult:
    """The commit's ``snapshot_id``, the day's ``rows`` after it, and the ``replaced_rows`` before it."""

    snapshot_id: int
    rows: int
    replaced_rows: int


class _UnsettledError(Exception):
    """A commit failed, or its outcome is unknown: the table must be read again. ``cause`` is the error."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(frozen=True)
class Publication:
    """What a run publishes to one table: the rows of one day.

    Fields:
        table: name of the table.
        score_date: the day that the rows replace.
        files: URIs of staged Parquet files; none publish an empty day.
        source: name of the documents' source, the table's owner together with ``model``.
        model: name of the model.
        run_id: id of the run.
        summary: facts of the run for the snapshot, where their keys become ``tlnlp.<key-with-dashes>``. Run id, model,
            source and score date are added to them.
        kept: kept columns; a column that the table lacks is added to it.
        columns: the table's own columns, ``SCORES`` or ``QUARANTINE``.
    """

    table: str
    score_date: date
    files: tuple[str, ...]
    source: str
    model: str
    run_id: str
    summary: Mapping[str, str]
    kept: tuple[Column, ...] = ()
    columns: tuple[Column, ...] = SCORES


def publish_day(catalog: Catalog, publication: Publication, expected: str | None = None) -> PublishResult:
    """Replace the rows of a day by those of the publication's files, in one commit.

    The same commit creates the table if it does not exist. ``expected`` is the ``day_token`` from the start of the run;
    None skips that check.

    Raises:
        PublishConflictError: the table belongs to another source or model; or the day changed after ``expected``.
        UsageError: a kept column has another type in the table; or a file is listed twice.
        EngineError: a file does not fit the table, or holds rows of another day.
        StorageError: the store failed; the message says whether the table may have changed.
    """
    uris = tuple(resolve_uri(uri) for uri in publication.files)
    if len(set(uris)) < len(uris):
        raise UsageError(
            f"table {publication.table}: a file of run {publication.run_id} is listed twice, so its rows would count "
            "twice"
        )
    mark_catalog(uris, catalog.name)
    return _commit_in_turn(catalog, replace(publication, files=uris), expected)


def check_publish(catalog: Catalog, table: str, *, source: str, model: str, kept: Sequence[Column] = ()) -> None:
    """Check, before the work is done, that ``publish_day`` would accept this owner and these kept columns.

    Raises:
        PublishConflictError: the table belongs to another source or model.
        UsageError: a kept column has another type in the table.
        StorageError: the store failed.
    """
    loaded = load_table(catalog, table)
    if loaded is not None:
        _check_owner(loaded, source, model)
        _new_kept(loaded.schema(), table, SCORES, kept)


def _summary(wanted: Publication) -> dict[str, str]:
    summary = dict(wanted.summary) | {
        "run-id": wanted.run_id,
        "model": wanted.model,
        "source": wanted.source,
        "score-date": wanted.score_date.isoformat(),
    }
    return {PREFIX + key.removeprefix(PREFIX).replace("_", "-"): value for key, value in summary.items()}


def _commit_in_turn(catalog: Catalog, wanted: Publication, expected: str | None) -> PublishResult:
    """Plan and commit; if another commit came first, check that it left this day alone, and plan again."""
    cause: Exception | None = None
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(random.uniform(0.5, 1.0) * min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S))
        try:
            table = load_table(catalog, wanted.table)
            if table is not None and (done := _published_before(table, wanted)) is not None:
                return done
            found = token_of(table, wanted.score_date)
            expected = found if expected is None else expected
            if found != expected:
                raise _day_conflict(table, wanted)
            return _commit(catalog, table, wanted)
        except _UnsettledError as error:
            cause = error.cause
        except StorageError:
            # Without an earlier commit of unknown outcome, this error is final.
            if cause is None or isinstance(cause, _LOST):
                raise
    assert cause is not None
    raise _gave_up(cause, wanted) from cause


def _commit(catalog: Catalog, table: Table | None, wanted: Publication) -> PublishResult:
    if table is None:
        transaction = _creation(catalog, wanted)
        old: list[DataFile] = []
    else:
        _check_owner(table, wanted.source, wanted.model)
        transaction = table.transaction()
        _add_kept(transaction, table.schema(), wanted)
        old = day_files(table, wanted.score_date)
    metadata = transaction.table_metadata
    io = transaction._table.io  # no public attribute gives a transaction's table
    with ThreadPoolExecutor(_FOOTER_READERS) as pool:
        read = list(pool.map(lambda uri: data_file(io, metadata, uri, wanted.score_date), wanted.files))
    new = [file for file in read if file is not None]
    overwrite = transaction.update_snapshot(snapshot_properties=_summary(wanted)).overwrite()
    overwrite.delete_by_predicate(is_day(wanted.score_date))
    for file in old:
        overwrite.delete_data_file(file)
    for file in new:
        overwrite.append_data_file(file)
    try:
        overwrite.commit()
        transaction.commit_transaction()
    except (*_LOST, *_UNKNOWN) as error:
        raise _UnsettledError(error) from error
    rows, replaced = (sum(file.record_count for file in files) for files in (new, old))
    return PublishResult(overwrite.snapshot_id, rows, replaced)


def _creation(catalog: Catalog, wanted: Publication) -> Transaction:
    # In a transaction, so that the table never appears without its first day.
    catalog.create_namespace_if_not_exists(NAMESPACE)
    plain = [replace(column, required=False) for column in wanted.kept]
    schema = assign_fresh_schema_ids(iceberg_schema([*wanted.columns, *plain]))
    day = schema.find_field(SCORE_DATE)
    spec = PartitionSpec(PartitionField(day.field_id, 1000, IdentityTransform(), SCORE_DATE))
    properties = {
        f"{PREFIX}source": wanted.source,
        f"{PREFIX}model": wanted.model,
        "schema.name-mapping.default": create_mapping_from_schema(schema).model_dump_json(),
        # PyIceberg's own retries would not notice that an empty day was published meanwhile; ours plan again.
        "commit.retry.num-retries": "0",
        "write.metadata.delete-after-commit.enabled": "true",
    }
    return catalog.create_table_transaction(
        (NAMESPACE, wanted.table), schema, partition_spec=spec, properties=properties
    )


# What to do where a table belongs to another source or model, by what differs.
_OWNER_REMEDIES = {
    "source": "if only the address of the documents has changed (a folder for each day), set the key `source` to {0!r} "
    "for every night (--set source={0!r}); give a new source a table of its own by --set table=NAME",
    "model": "use {0!r} again, or give the model a table of its own by --set table=NAME",
}


def _check_owner(table: Table, source: str, model: str) -> None:
    for what, mine in (("source", source), ("model", model)):
        owner = table.properties.get(PREFIX + what)
        if owner != mine:
            raise PublishConflictError(
                f"table {table.name()[-1]} belongs to {what} {owner!r}, but this run has {what} {mine!r}; a table "
                f"takes one documents source and one model: {_OWNER_REMEDIES[what].format(owner)}"
            )


def _add_kept(transaction: Transaction, schema: Schema, wanted: Publication) -> None:
    new = _new_kept(schema, wanted.table, wanted.columns, wanted.kept)
    if new:
        with transaction.update_schema() as update:
            for column in new:
                update.add_column(column.name, iceberg_type(column.type))


def _new_kept(schema: Schema, table: str, columns: Sequence[Column], kept: Sequence[Column]) -> list[Column]:
    """Return the kept columns that the table does not have yet."""
    existing = {column.name: column for column in columns_of(schema)}
    missing = [column.name for column in columns if getattr(existing.get(column.name), "type", "") != column.type]
    if missing:
        raise UsageError(f"table {table} was not made by tlnlp: it lacks {', '.join(missing)}; use another table name")
    folded = {name.lower(): name for name in existing}
    new = []
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


def _published_before(table: Table, wanted: Publication) -> PublishResult | None:
    for snapshot in table.snapshots():
        summary = summary_of(snapshot)
        if summary.get(f"{PREFIX}run-id") != wanted.run_id:
            continue
        day = summary.get(f"{PREFIX}score-date")
        if day != wanted.score_date.isoformat():
            raise PublishConflictError(
                f"table {wanted.table}: run {wanted.run_id} published {day} already; a run publishes one day: start "
                f"another run for {wanted.score_date}"
            )
        return PublishResult(
            snapshot.snapshot_id, int(summary.get("added-records", 0)), int(summary.get("deleted-records", 0))
        )
    return None


def _day_conflict(table: Table | None, wanted: Publication) -> PublishConflictError:
    winner = last_publish(table, wanted.score_date) if table else None
    name = summary_of(winner).get(f"{PREFIX}run-id", "unknown") if winner else "unknown"
    return PublishConflictError(
        f"table {wanted.table}: run {name} published {wanted.score_date} while run {wanted.run_id} was at work, so "
        "nothing of this run was published; check that day, and score it again to replace it"
    )


def _gave_up(cause: Exception, wanted: Publication) -> Exception:
    if isinstance(cause, _LOST):
        return PublishConflictError(
            f"table {wanted.table}: other commits came first {_TRIES} times in a row, so nothing of run "
            f"{wanted.run_id} was published; run fewer publishers at once, and score {wanted.score_date} again"
        )
    return StorageError(
        f"table {wanted.table}: the store failed while {wanted.score_date} was published ({type(cause).__name__}); "
        f"look in `history` for run {wanted.run_id} before scoring that day again"
    )
