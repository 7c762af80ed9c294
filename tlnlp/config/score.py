"""Settings of the scoring job: the complete file is ``conf/score.yaml``.

The default of a key stands in its line; the text below the line says what the key means.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tlnlp.config.base import Day, Names, Settings, Uri
from tlnlp.config.shared import (
    CostSettings,
    CsvSettings,
    Encoding,
    InputFormat,
    LineageSettings,
    RegistrySettings,
    TableSettings,
)


class SparkSettings(Settings):
    """How the scoring job uses Spark."""

    master: str | None = None
    """Address of the Spark master. None: the one that spark-submit names, else ``local[*]``."""
    driver_memory: str = "2g"
    """Heap of the driver, as Spark writes it. On one machine the driver is the executor too."""
    shuffle_partitions: int = Field(0, ge=0)
    """Least number of scoring tasks. 0: as many as the cluster runs at the same time."""
    conf: dict[str, str] = Field(default_factory=dict)
    """Further Spark properties, passed on unchanged."""


class GlueSettings(Settings):
    """The AWS Glue Data Catalog that a night is announced to."""

    database: str | None = None
    """Database of the Glue Data Catalog. None: Glue is not used."""
    region: str | None = None
    """AWS region. None: the region of the AWS environment."""


class SnowflakeSettings(Settings):
    """The Snowflake account that a night is announced to."""

    command: tuple[str, ...] = Field((), exclude=True)
    """Program and arguments that run SQL, read from stdin or put in place of the argument ``{statement}``. Empty:
    Snowflake is not used. The ledger does not record the command."""
    into: str | None = None
    """DATABASE.SCHEMA of the tables. None: ``tlnlp.public``."""
    volume_uri: Uri | None = None
    """STORAGE_BASE_URL of the external volume. None: the bucket of the warehouse."""


class BigQuerySettings(Settings):
    """The BigQuery project that a night is announced to."""

    command: tuple[str, ...] = Field((), exclude=True)
    """Program and arguments that run SQL, as for Snowflake. Empty: BigQuery is not used."""
    into: str | None = None
    """DATASET or PROJECT.DATASET of the tables. None: ``tlnlp``."""
    connection: str | None = None
    """PROJECT.REGION.CONNECTION that reads the bucket. None: each reader needs rights on the bucket."""


class AnnounceSettings(Settings):
    """The catalogs of other warehouses that each published night is announced to."""

    glue: GlueSettings = GlueSettings()
    """AWS Glue Data Catalog, which Athena and Redshift read."""
    snowflake: SnowflakeSettings = SnowflakeSettings()
    """Snowflake."""
    bigquery: BigQuerySettings = BigQuerySettings()
    """BigQuery."""
    timeout_s: float = Field(300.0, gt=0)
    """Seconds that one command may take before it is ended."""


class DriftSettings(Settings):
    """When a night counts as changed, in comparison with an earlier one."""

    reference: Literal["first"] | Day = "first"
    """The night that others are compared with. first: the first one that the same version has scored. Else a day, as
    YYYY-MM-DD."""
    least_change: float = Field(0.05, gt=0, le=1)
    """Smallest change that matters: the share of rows or texts that would have to be of another kind."""
    stop: bool = False
    """Whether a changed night is not published. It ends with an exit code of its own then; otherwise the log warns."""


class EvidenceFilter(Settings):
    """Which documents have evidence."""

    labels: Names = ()
    """Those with one of these labels. Empty: with any label."""
    most_score: float = Field(1.0, ge=0, le=1)
    """Those whose score is at most this: 0.8 leaves out what the model is sure of."""


class ScoreSettings(RegistrySettings, TableSettings):
    """Settings of ``tlnlp score``, ``tlnlp plan`` and ``jobs/score.py``."""

    documents: Uri = Field(min_length=1)
    """Path or URI of Parquet, JSON Lines or CSV: a file, or a folder, partitioned or not. Required."""
    source: str | None = None
    """Name of the source of the documents. None: the URI of ``documents``. A table takes one source only, so set a
    name where the URI changes every night."""
    format: InputFormat = "auto"
    """File format. json is JSON Lines. auto: by the names of the files."""
    encoding: Encoding = "utf-8"
    """Encoding of CSV and JSON Lines: utf-8, or another one whose first 128 characters are ASCII, by Python's name:
    latin-1, cp1252."""
    id_column: str = "id"
    """Name of the column of document ids."""
    text_column: str = "text"
    """Name of the column of texts."""
    keep_columns: Names = ()
    """Names of further columns that are copied into the table."""
    model: str = "classifier"
    """NAME (its champion), NAME@champion or NAME@VERSION. Resolved once, and recorded in every row."""
    optimise: Literal["auto", "none", "safe", "fast"] = "auto"
    """How fast a night may score. safe, fast: the n-gram view settles the texts that it is sure of, where a test on
    documents has shown that this changes few labels (see ``cascade`` of fine-tuning). none: the encoder reads every
    text, in float32 unless ``engine`` says otherwise. auto: as chosen when the version was made. A text that was scored
    in another way is scored again, except unchanged documents in the incremental mode."""
    engine: Literal["auto", "onnx-fp32", "ctranslate2-int8", "ctranslate2-cuda-int8"] = "auto"
    """The engine that runs the encoder. auto: onnx-fp32 with ``optimise=none``, else the one that was chosen when the
    version was made. ctranslate2-cuda-int8 runs on the GPUs that Spark leases to the tasks, and auto never takes it."""
    evidence: Literal["none", "top"] = "none"
    """top: the table has a column ``evidence``, the sentence of a document that speaks most for its label, as ``tlnlp
    explain`` measures it. A document costs as much as one more reading and one for each of its sentences. none: no
    sentence of a document is in the table."""
    evidence_filter: EvidenceFilter = EvidenceFilter()
    """Which documents have evidence; in the rows of others the column is null."""
    score_date: Day
    """The day that the run publishes, as YYYY-MM-DD. A published day of the same date is replaced. Required;
    where it is not given, ``tlnlp score`` takes today, in UTC, and says so."""
    mode: Literal["full", "incremental"] = "full"
    """full: the day holds the whole input. incremental: the day holds only documents that are new, or whose text
    or kept values have changed."""
    max_bytes: int = Field(1_000_000, ge=1)
    """Most bytes of a text, as UTF-8. A document with a longer text is quarantined."""
    max_quarantine_share: float = Field(0.1, ge=0, le=1)
    """Largest share of quarantined documents. Above it, the run publishes nothing."""
    arrow_batch_rows: int = Field(2048, ge=1)
    """Rows in one Arrow batch between Spark and Python."""
    chunk_rows: int = Field(200_000, ge=1)
    """Rows that one Spark job scores, about. A run that was stopped resumes at the first unfinished chunk."""
    file_rows: int = Field(100_000, ge=1)
    """Rows in one file of the table, about."""
    dead_after_h: float = Field(24.0, gt=0)
    """Hours after the last sign of an unfinished run. After them its staged files are removed, unless a snapshot
    refers to them."""
    take_over: bool = False
    """Score the day although another run holds it: for a run that is known to be dead and has not lost its hold yet.
    The other run, if it lives, ends at its next step."""
    drift: DriftSettings = DriftSettings()
    """When a night counts as changed."""
    announce: AnnounceSettings = AnnounceSettings()
    """The catalogs that the published night is announced to."""
    cost: CostSettings = CostSettings()
    """Price of the machines, and budget of the run."""
    lineage: LineageSettings = LineageSettings()
    """OpenLineage events of the run."""
    csv: CsvSettings = CsvSettings()
    """How documents in CSV are written."""
    spark: SparkSettings = SparkSettings()
    """How the job uses Spark."""
