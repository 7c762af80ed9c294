"""Open staged Parquet files, and describe them to Iceberg from their footers."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO, parquet_file_to_data_file
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.types import MapType, NestedField

from tlnlp.errors import EngineError, NotFoundError, StorageError, counted
from tlnlp.storage import resolve_uri
from tlnlp.storage.causes import cause_of
from tlnlp.storage.s3 import is_s3, s3_of_environment
from tlnlp.warehouse.schema import SCORE_DATE

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


def file_properties(uri: str) -> dict[str, str]:
    """Return the properties with which PyIceberg's FileIO reaches the store of a URI. Raises StorageError."""
    return s3_of_environment(uri).iceberg() if is_s3(uri) else {}


def locate(io: FileIO, uri: str) -> tuple[FileSystem, str]:
    """Return the pyarrow file system of a URI, with the credentials of ``io``, and the path in it."""
    arrow_io = io if isinstance(io, PyArrowFileIO) else PyArrowFileIO(io.properties)
    scheme, netloc, path = PyArrowFileIO.parse_location(uri)
    return arrow_io.fs_by_scheme(scheme, netloc), path


def open_parquet(uri: str) -> pq.ParquetFile:
    """Open a staged file and read its footer.

    Raises:
        NotFoundError: the file does not exist.
        StorageError: it is not a complete Parquet file.
    """
    filesystem, path = locate(PyArrowFileIO(file_properties(uri)), resolve_uri(uri))
    try:
        return pq.ParquetFile(path, filesystem=filesystem)
    except FileNotFoundError as error:
        raise NotFoundError(f"{uri}: the staged file is gone; score the day again") from error
    except (OSError, ValueError) as error:
        if (cause := cause_of(error)) is not None:
            raise StorageError(f"{uri}: cannot be read {cause}") from error
        raise StorageError(
            f"{uri}: not a complete Parquet file ({type(error).__name__}); score the day again"
        ) from error


def data_file(io: FileIO, metadata: TableMetadata, uri: str, score_date: date) -> DataFile | None:
    """Return Iceberg's entry of a Parquet file (partition, row count, statistics); None if the file has no rows.

    Raises:
        EngineError: the columns do not fit the table, a required column holds nulls, or rows are of another day.
        StorageError: the file cannot be read.
    """
    if open_parquet(uri).metadata.num_rows == 0:
        return None
    found = parquet_entry(io, metadata, uri)
    day = partition_day(found)
    if day != score_date:
        raise EngineError(f"{uri}: {SCORE_DATE} is {day} in the file, but the day to publish is {score_date}")
    nulls = found.null_value_counts or {}
    for field in metadata.schema().fields:
        if field.required and nulls.get(field.field_id, 0) > 0:
            count = counted(nulls[field.field_id], "row")
            raise EngineError(f"{uri}: {field.name} is null in {count}, but the column is required")
    return found


def parquet_entry(io: FileIO, metadata: TableMetadata, uri: str) -> DataFile:
    """Return Iceberg's entry of a Parquet file that has rows. Raises EngineError if it does not fit the table."""
    try:
        # Spark marks columns as nullable even if they hold no null, so ``data_file`` checks the statistics for nulls.
        return parquet_file_to_data_file(io, _all_optional(metadata), uri)
    except ValueError as error:
        raise EngineError(f"{uri}: the file does not fit the table, or holds several days: {error}") from error


def partition_day(file: DataFile) -> date | None:
    """Return the day of a data file; Iceberg stores it as days since 1970."""
    value = file.partition[0]
    return date(1970, 1, 1) + timedelta(days=value) if isinstance(value, int) else value


def _all_optional(metadata: TableMetadata) -> TableMetadata:
    """Return the metadata with no required column in its current schema."""
    fields = []
    for field in metadata.schema().fields:
        kind = field.field_type
        if isinstance(kind, MapType):
            kind = MapType(kind.key_id, kind.key_type, kind.value_id, kind.value_type, value_required=False)
        fields.append(NestedField(field.field_id, field.name, kind, required=False))
    relaxed = Schema(*fields, schema_id=metadata.current_schema_id)
    others = [schema for schema in metadata.schemas if schema.schema_id != metadata.current_schema_id]
    return metadata.model_copy(update={"schemas": [*others, relaxed]})
