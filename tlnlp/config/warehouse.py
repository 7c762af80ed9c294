"""Settings of the commands that read a warehouse; the complete file of ``tlnlp query`` is ``conf/query.yaml``.

The default of a key stands in its line; the text below the line says what the key means.
"""

from __future__ import annotations

from pydantic import Field

from tlnlp.config.base import ByteSize, Uri
from tlnlp.config.shared import DEFAULT_WORKSPACE, RegistrySettings, TableSettings, WarehouseSettings


class QuerySettings(WarehouseSettings):
    """Settings of ``tlnlp query``."""

    snapshot: int | None = None
    """Id of the snapshot to read, from the view ``history``. None: the current one."""
    as_of: str | None = None
    """A day (its end), or a moment in UTC: the tables are read as they were published by then. It is a time of
    publication, not a ``score_date``. None: as they are now."""
    timeout_s: float = Field(600.0, gt=0)
    """Most seconds that the query may compute. The time in which nobody reads its rows does not count."""
    memory_limit: ByteSize = Field(ByteSize(4_000_000_000), gt=0)
    """Most memory that the query may use, such as ``500MB``, and at most four fifths of the machine's. Sorts, joins and
    groups that need more go to a temporary folder, which is removed."""


class MaintainSettings(WarehouseSettings):
    """Settings of ``tlnlp maintain``; the complete file is ``conf/maintain.yaml``."""

    keep_days: float = Field(30.0, gt=0)
    """Days for which the tables can be queried as of a time or a snapshot. Older snapshots expire. No current row is
    removed."""
    dead_after_h: float = Field(24.0, ge=1)
    """Hours after the last change of a file. After them it is removed, if no snapshot refers to it and its run has
    ended."""


class DdlSettings(TableSettings):
    """Settings of ``tlnlp warehouse ddl``. A dialect ignores the keys that it has no use for."""

    into: str | None = None
    """Where the tables appear in the other warehouse: its database, schema or dataset. None: named after tlnlp."""
    reader: str | None = None
    """Role, or in BigQuery group or user, that may read the tables. None: no right is granted."""
    volume: str = "tlnlp"
    """Snowflake: name of the external volume."""
    volume_uri: Uri | None = None
    """Snowflake: STORAGE_BASE_URL of the external volume. None: the bucket of the warehouse."""
    integration: str = "tlnlp"
    """Snowflake: name of the catalog integration."""
    iam_role: str = "default"
    """Redshift: ARN of the IAM role of the external schema, or ``default``."""
    connection: str | None = None
    """BigQuery: PROJECT.REGION.CONNECTION that reads the bucket. None: each reader needs rights on the bucket."""


class RunsSettings(RegistrySettings):
    """Settings of ``tlnlp runs``."""

    warehouse: Uri = f"{DEFAULT_WORKSPACE}/warehouse"
    """Folder or URI of the warehouse."""
