"""Publish a day: replace a table's rows of one ``score_date`` in one atomic snapshot.

A reader sees the old day or the new day, never an empty or a mixed one. If two runs publish the same day at once,
exactly one succeeds; runs that publish different days do not conflict. Publishing a run again changes nothing, so a
commit of unknown outcome can be repeated. ``night.py`` publishes the two tables of a night as a pair.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date

from pyiceberg.catalog import Catalog
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from tlnlp.errors import PublishConflictError, StorageError, UsageError
from tlnlp.storage import resolve_uri
from tlnlp.storage.causes import reason_of
from tlnlp.warehouse.commit import LOST, TRIES, commit, commit_in_turn, overwrite
from tlnlp.warehouse.run_folder import mark_catalog
from tlnlp.warehouse.schema import SCORES, Column
from tlnlp.warehouse.staged import data_file
from tlnlp.warehouse.table_definition import add_kept, check_owner, create_table
from tlnlp.warehouse.tables import PREFIX, day_files, is_day, last_publish, load_table, summary_of, token_of

_FOOTER_READERS = 8


@dataclass(frozen=True)
class PublishResult:
    """The commit's ``snapshot_id``, the day's ``rows`` after it, and the ``replaced_rows`` before it."""

    snapshot_id: int
    rows: int
    replaced_rows: int


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
        summary: facts of the run for the snapshot, where their keys become ``tlnlp.<key-with-dashes>``. Run id, model
            and score date are added to them. Each later night reads them, so they should be few.
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
    wanted = _prepared(catalog, publication)
    seen = expected

    def attempt() -> PublishResult:
        nonlocal seen
        table = load_table(catalog, wanted.table)
        if table is not None and (done := _published_before(table, wanted)) is not None:
            return _result_of(done)
        found = token_of(table, wanted.score_date)
        seen = found if seen is None else seen
        if found != seen:
            raise _day_conflict(table, wanted)
        return _commit(catalog, table, wanted, day_files(table, wanted.score_date) if table else [])

    return commit_in_turn(attempt, lambda cause: _gave_up(cause, wanted))


def publish_beside(catalog: Catalog, publication: Publication) -> list[str]:
    """Add the rows of the publication's files to a day, beside the rows of other runs, in one commit.

    Returns:
        The files of that day that were in the table before, which ``remove_files`` can remove.

    Raises:
        PublishConflictError, UsageError, EngineError, StorageError: as in ``publish_day``.
    """
    wanted = _prepared(catalog, publication)

    def attempt() -> list[str]:
        table = load_table(catalog, wanted.table)
        if table is not None and (done := _published_before(table, wanted)) is not None:
            before = done.parent_snapshot_id
            found = day_files(table, wanted.score_date, before) if before and table.snapshot_by_id(before) else []
        else:
            found = day_files(table, wanted.score_date) if table else []
            _commit(catalog, table, wanted, [])
        return [file.file_path for file in found]

    return commit_in_turn(attempt, lambda cause: _gave_up(cause, wanted))


def remove_files(catalog: Catalog, publication: Publication, files: Collection[str]) -> None:
    """Remove those of the files that the table's day still has, in one commit of the publication's run.

    Raises:
        PublishConflictError: other commits came first too many times.
        StorageError: the store failed.
    """
    wanted = replace(publication, files=())

    def attempt() -> None:
        table = load_table(catalog, wanted.table)
        old = [file for file in day_files(table, wanted.score_date) if file.file_path in files] if table else []
        if old:
            _commit(catalog, table, wanted, old)

    commit_in_turn(attempt, lambda cause: _gave_up(cause, wanted))


def _prepared(catalog: Catalog, publication: Publication) -> Publication:
    """Return the publication with resolved URIs, after marking the folders of its files as this catalog's."""
    uris = tuple(resolve_uri(uri) for uri in publication.files)
    if len(set(uris)) < len(uris):
        raise UsageError(
            f"table {publication.table}: a file of run {publication.run_id} is listed twice, so its rows would count "
            "twice"
        )
    mark_catalog(uris, catalog.name)
    return replace(publication, files=uris)


def _summary(wanted: Publication) -> dict[str, str]:
    summary = dict(wanted.summary) | {
        "run-id": wanted.run_id,
        "model": wanted.model,
        "score-date": wanted.score_date.isoformat(),
    }
    return {PREFIX + key.removeprefix(PREFIX).replace("_", "-"): value for key, value in summary.items()}


def _commit(catalog: Catalog, table: Table | None, wanted: Publication, old: list[DataFile]) -> PublishResult:
    """Commit one snapshot that adds the publication's files and removes ``old``."""
    if table is None:
        transaction = create_table(
            catalog,
            wanted.table,
            source=wanted.source,
            model=wanted.model,
            columns=wanted.columns,
            kept=wanted.kept,
        )
    else:
        check_owner(table, wanted.source, wanted.model)
        transaction = table.transaction()
        add_kept(transaction, table.schema(), wanted.table, wanted.columns, wanted.kept)
    metadata = transaction.table_metadata
    io = transaction._table.io  # no public attribute gives a transaction's table
    with ThreadPoolExecutor(_FOOTER_READERS) as pool:
        read = list(pool.map(lambda uri: data_file(io, metadata, uri, wanted.score_date), wanted.files))
    new = [file for file in read if file is not None]
    update = overwrite(transaction, _summary(wanted), is_day(wanted.score_date), old, new)
    commit(update, transaction)
    rows, replaced = (sum(file.record_count for file in files) for files in (new, old))
    return PublishResult(update.snapshot_id, rows, replaced)


def _published_before(table: Table, wanted: Publication) -> Snapshot | None:
    """Return the first snapshot that this run has made. Raises PublishConflictError if it published another day."""
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
        return snapshot
    return None


def _result_of(snapshot: Snapshot) -> PublishResult:
    summary = summary_of(snapshot)
    added, deleted = (int(summary.get(key, 0)) for key in ("added-records", "deleted-records"))
    return PublishResult(snapshot.snapshot_id, added, deleted)


def _day_conflict(table: Table | None, wanted: Publication) -> PublishConflictError:
    winner = last_publish(table, wanted.score_date) if table else None
    name = summary_of(winner).get(f"{PREFIX}run-id", "unknown") if winner else "unknown"
    return PublishConflictError(
        f"table {wanted.table}: run {name} published {wanted.score_date} while run {wanted.run_id} was at work, so "
        "nothing of this run was published; check that day, and score it again to replace it"
    )


def _gave_up(cause: Exception, wanted: Publication) -> Exception:
    if isinstance(cause, LOST):
        return PublishConflictError(
            f"table {wanted.table}: other commits came first {TRIES} times in a row, so nothing of run "
            f"{wanted.run_id} was published; run fewer publishers at once, and score {wanted.score_date} again"
        )
    return StorageError(
        f"table {wanted.table}: the store failed while {wanted.score_date} was published ({reason_of(cause)}); "
        f"look in `history` for run {wanted.run_id} before scoring that day again"
    )
