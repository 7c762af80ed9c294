"""Find the files that hold what earlier nights have scored: the table's state, and the days after it.

A night must cost what its documents cost, not what the history holds. So when the days after the state become many, a
night merges them into the state (``warehouse/state_table.py``), and later nights read each document's newest row alone.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date

from pyiceberg.catalog import Catalog
from pyiceberg.expressions.parser import parse
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tlnlp.config import ScoreSettings
from tlnlp.errors import StorageError
from tlnlp.runs.progress import say
from tlnlp.score.session import spark_errors, spark_input
from tlnlp.score.source_files import quoted
from tlnlp.score.staging import repartition_to_files, write_files
from tlnlp.warehouse.schema import SCORES, Column, columns_of, spark_ddl
from tlnlp.warehouse.staged import partition_day
from tlnlp.warehouse.state_table import State, read_state, replace_state, state_storage
from tlnlp.warehouse.tables import day_files, planned_files

# Days are merged if they are more than this, or more than the few whose rows are a good part of the state's.
MOST_DAYS, FEW_DAYS = 16, 4
_GOOD_PART = 0.25
_LOG = logging.getLogger("tlnlp.score")


@dataclass(frozen=True)
class DayFiles:
    """The files of a day: their URIs, and the number of their rows."""

    files: tuple[str, ...]
    rows: int


@dataclass(frozen=True)
class TableHistory:
    """The files of a table of scores, at one snapshot.

    Fields:
        scores: the table; None if it does not exist yet.
        state: the newest row of each document on the days up to ``state.through``; None without a state.
        days: the days that the state does not include.
    """

    scores: Table | None = None
    state: State | None = None
    days: dict[date, DayFiles] = field(default_factory=dict)

    def files(self, day: date) -> list[str]:
        """Return the files to copy scores from: those of the state, of the days after it, and of ``day`` itself."""
        found = {file for one in self.days.values() for file in one.files}
        if self.state is not None:
            found.update(self.state.files)
            if self.scores is not None and day <= self.state.through:
                found.update(file.file_path for file in day_files(self.scores, day))
        return sorted(found)

    def files_before(self, day: date) -> list[str]:
        """Return files that hold the newest row before ``day`` of each document, and no row of ``day`` or later."""
        if self.state is not None and self.state.through >= day:
            assert self.scores is not None
            return sorted(file for one in _days(self.scores, before=day).values() for file in one.files)
        found = [file for earlier, one in self.days.items() if earlier < day for file in one.files]
        return sorted([*found, *(self.state.files if self.state else ())])


def read_history(catalog: Catalog, scores: Table | None) -> TableHistory:
    """Return the files of a table of scores as it was loaded (None: it does not exist). Raises StorageError."""
    if scores is None:
        return TableHistory()
    state = read_state(catalog, scores)
    return TableHistory(scores, state, _days(scores, after=state.through if state else None))


def merge_days(
    spark: SparkSession, catalog: Catalog, history: TableHistory, settings: ScoreSettings, run_id: str
) -> TableHistory:
    """Merge the days before this night's into the state if they are many, and return the files as they are then.

    The files of the newest of these days become part of the state as they are. Beside them, a new file holds the
    documents that this day does not have.

    Raises:
        EngineError: a Spark job failed.
        StorageError: the warehouse cannot be written.
    """
    days = {day: one for day, one in history.days.items() if day < settings.score_date}
    if history.scores is None or not _are_many(history.state, days):
        return history
    merged, table = _merged(spark, history.scores, history.state, days, settings, run_id), history.scores.name()[-1]
    try:
        replace_state(catalog, history.scores, merged.files, merged.through)
    except StorageError as error:  # This night can read what was merged; the next one merges again.
        _LOG.warning("warning: the state of table %s was not saved: %s", table, error)
    say(f"merged {len(days)} earlier days of table {table}, so that nights need not read each of them")
    return TableHistory(history.scores, merged, {day: one for day, one in history.days.items() if day > merged.through})


def _merged(
    spark: SparkSession,
    scores: Table,
    state: State | None,
    days: dict[date, DayFiles],
    settings: ScoreSettings,
    run_id: str,
) -> State:
    """Write the newest row of each document that the newest of the days does not have; return the state with all."""
    newest = max(days)
    older = [file for day, one in days.items() if day < newest for file in one.files]
    older += state.files if state else ()
    rows = sum(one.rows for day, one in days.items() if day < newest) + (state.rows if state else 0)
    files = list(days[newest].files)
    if older:
        left = _newest_rows(spark, columns_of(scores.schema()), older, files)
        left = repartition_to_files(left, rows, settings.file_rows)
        storage = state_storage(settings.warehouse, scores.name()[-1])
        written = write_files(storage, run_id, left, [], "merging what earlier nights have scored")
        files += [file for file, count in written.items() if count]
        rows = sum(written.values())
    return State(tuple(files), days[newest].rows + rows, newest)


def read_rows(spark: SparkSession, files: Collection[str], kept: Collection[Column] = ()) -> DataFrame | None:
    """Return the rows of files of scores; a kept column that a file lacks is null. None without a file."""
    if not files:
        return None
    # A file has only some of the columns if it is older than a column, so Spark must not infer them from one file.
    return spark.read.schema(spark_ddl([*SCORES, *kept])).parquet(*[spark_input(file) for file in files])


def _are_many(state: State | None, days: dict[date, DayFiles]) -> bool:
    rows = sum(one.rows for one in days.values())
    is_good_part = rows > _GOOD_PART * (state.rows if state else 0)
    return len(days) > MOST_DAYS or (len(days) > FEW_DAYS and is_good_part)


def _days(scores: Table, after: date | None = None, before: date | None = None) -> dict[date, DayFiles]:
    """Return the current files of the days between two days, both excluded."""
    limits = [f"score_date > '{after.isoformat()}'"] if after else []
    limits += [f"score_date < '{before.isoformat()}'"] if before else []
    scan = scores.scan(row_filter=parse(" and ".join(limits))) if limits else scores.scan()
    found: dict[date, list[DataFile]] = {}
    for file in planned_files(scores, scan):
        day = partition_day(file)
        assert day is not None, "each file of a table of scores belongs to a day"
        found.setdefault(day, []).append(file)
    return {
        day: DayFiles(tuple(sorted(file.file_path for file in files)), sum(file.record_count for file in files))
        for day, files in found.items()
    }


def _newest_rows(
    spark: SparkSession, columns: Collection[Column], older: Collection[str], newest: Collection[str]
) -> DataFrame:
    """Return the newest row of each document in ``older`` that has no row in ``newest``."""
    with spark_errors("reading what earlier nights have scored"):
        names, own_names = [column.name for column in columns], {column.name for column in SCORES}
        kept = [column for column in columns if column.name not in own_names]
        rows, own = read_rows(spark, older, kept), read_rows(spark, newest)
        assert rows is not None
        if own is not None:
            rows = rows.join(own.select("document_id"), "document_id", "left_anti")
        row = F.max_by(F.struct(*[quoted(name) for name in names]), "score_date").alias("row")
        return rows.groupBy("document_id").agg(row).select("row.*")
