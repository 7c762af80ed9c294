"""Typed, frozen configuration: a model per job, a complete file per model in ``conf/``, one way to override a key."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tlnlp.config.base import Day, Names, Settings, Uri

DEFAULT_WORKSPACE = ".tlnlp"
OnFault = Literal["fail", "skip"]


class LabelSettings(Settings):
    """Where a labelled set is, and its contract."""

    labels: Uri = Field(min_length=1)
    text_column: str = "text"
    label_column: str = "label"
    classes: Names = ()
    min_per_class: int = Field(5, ge=1)
    on_fault: OnFault = "fail"


class CostSettings(Settings):
    """What the machines of a run cost, and the most that it may cost; with nothing set, no cost is reckoned.

    ``usd_per_hour`` (of one instance) goes before the price that ``prices`` gives for ``instance``.
    """

    instance: str | None = None
    instances: int = Field(1, ge=1)
    usd_per_hour: float | None = Field(None, ge=0)
    prices: str = "conf/prices.yaml"
    budget_usd: float | None = Field(None, gt=0)


class TrainingSettings(Settings):
    """The recipe of one fit of the encoder view.

    ``moves``: whether the encoder's weights learn from the labels: auto (cross-validation decides), always or never.
    """

    moves: Literal["auto", "always", "never"] = "auto"
    epochs: float = Field(4.0, gt=0)
    min_steps: int = Field(40, ge=1)
    max_passes: float = Field(10.0, gt=0)
    max_steps: int = Field(2000, ge=1)
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(1e-4, gt=0)
    head_learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warmup_share: float = Field(0.1, ge=0, lt=1)
    dropout: float | None = Field(0.0, ge=0, lt=1)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    objective: Literal["auto", "contrast", "classify"] = "auto"
    crop_tokens: int = Field(64, ge=8)
    frozen_layers: float = Field(0.34, ge=0, lt=1)
    tuned_share: float = Field(0.75, gt=0, le=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    report_every_steps: int = Field(25, ge=1)


class TeachingSettings(Settings):
    """How unlabelled documents are learned from."""

    max_documents: int = Field(100_000, ge=1)
    max_rounds: int = Field(4, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(6e-5, gt=0)
    frozen_layers: float = Field(0.0, ge=0, lt=1)
    crop_tokens: int = Field(64, ge=8)
    read_tokens: int = Field(192, ge=8)


class RaySettings(Settings):
    """How the fine-tuning job uses the Ray cluster.

    A fit on the labels that reads at most ``job_tokens`` tokens runs beside those of the cross-validation, on the same
    processes; a longer one is a Ray Train job of its own, with checkpoints.
    """

    address: str | None = None
    workers: int = Field(1, ge=1)
    device: Literal["auto", "cpu", "gpu"] = "auto"
    cpus_per_worker: int = Field(0, ge=0)
    max_failures: int = Field(3, ge=0)
    job_tokens: int = Field(200_000, ge=0)
    checkpoint_every_s: float = Field(60.0, ge=0)
    storage: Uri | None = None

    @property
    def jobless_tokens(self) -> int:
        """A fit that reads no more tokens needs no Ray Train job; where several workers share each fit, all do."""
        return self.job_tokens if self.workers == 1 else 0


class FinetuneSettings(LabelSettings):
    """``unlabelled``: documents to learn from beside the labels, their text in ``text_column`` too.

    ``pooling`` to ``lower_case``: auto or None as the encoder's own files say
    (see ``tlnlp.model.encoder_conventions``). ``max_length`` is lowered to what the encoder's positions allow.
    ``allow_unvalidated``: where ``labels`` is empty, or a class has fewer than ``min_per_class``, documents and
    class names alone give a model that nothing vouches for.
    """

    labels: Uri = ""
    allow_unvalidated: bool = False

    class_descriptions: dict[str, str] = Field(default_factory=dict)
    unlabelled: Uri | None = None
    time_budget_s: float = Field(1200.0, gt=0)
    registry: Uri = f"{DEFAULT_WORKSPACE}/registry"
    model: str = "classifier"
    encoder: str = "auto"
    pooling: Literal["auto", "mean", "cls", "max"] = "auto"
    prompt: str | None = None
    normalise: bool | None = None
    lower_case: bool | None = None
    max_length: int = Field(256, ge=8, le=8192)
    max_chars: int = Field(10_000, ge=100)
    head_share: float = Field(0.5, ge=0, le=1)
    seed: int = 0
    run_name: str | None = None
    training: TrainingSettings = TrainingSettings()
    teaching: TeachingSettings = TeachingSettings()
    ray: RaySettings = RaySettings()
    cost: CostSettings = CostSettings()


class EvaluateSettings(LabelSettings):
    model: str = "classifier"
    registry: Uri = f"{DEFAULT_WORKSPACE}/registry"
    threads: int = Field(0, ge=0)


class PromoteSettings(EvaluateSettings):
    """``labels`` may stay empty only for the first promotion of a model."""

    labels: Uri = ""
    margin: float = Field(0.02, ge=0, lt=1)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    min_labels: int = Field(50, ge=2)
    force: bool = False
    reason: str = ""
    by: str = ""


class SparkSettings(Settings):
    """How the scoring job uses Spark. ``conf`` is passed on as it is."""

    master: str | None = None
    driver_memory: str = "2g"
    shuffle_partitions: int = Field(0, ge=0)
    conf: dict[str, str] = Field(default_factory=dict)


class CsvSettings(Settings):
    header: bool = True
    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    multiline: bool = True


class GlueSettings(Settings):
    """``database``: in the Glue Data Catalog; None leaves Glue out."""

    database: str | None = None
    region: str | None = None


class SnowflakeSettings(Settings):
    """``command`` runs SQL from its stdin, or from where it says ``{statement}``; empty leaves it out. Not recorded."""

    command: tuple[str, ...] = Field((), exclude=True)
    into: str | None = None
    volume_uri: Uri | None = None


class BigQuerySettings(Settings):
    """As for Snowflake; ``into`` is a dataset or project.dataset."""

    command: tuple[str, ...] = Field((), exclude=True)
    into: str | None = None
    connection: str | None = None


class AnnounceSettings(Settings):
    """Who is told of a night after it is published."""

    glue: GlueSettings = GlueSettings()
    snowflake: SnowflakeSettings = SnowflakeSettings()
    bigquery: BigQuerySettings = BigQuerySettings()
    timeout_s: float = Field(300.0, gt=0)


class ScoreSettings(Settings):
    documents: Uri = Field(min_length=1)
    source: str | None = None
    format: Literal["auto", "parquet", "json", "csv"] = "auto"
    id_column: str = "id"
    text_column: str = "text"
    keep_columns: Names = ()
    registry: Uri = f"{DEFAULT_WORKSPACE}/registry"
    model: str = "classifier"
    warehouse: Uri = f"{DEFAULT_WORKSPACE}/warehouse"
    catalog: str | None = None
    table: str = Field("scores", pattern=r"^[a-z][a-z0-9_]{0,62}$")
    score_date: Day
    mode: Literal["full", "incremental"] = "full"
    max_bytes: int = Field(1_000_000, ge=1)
    max_quarantine_share: float = Field(0.1, ge=0, le=1)
    batch_size: int = Field(32, ge=1)
    arrow_batch_rows: int = Field(2048, ge=1)
    chunk_rows: int = Field(200_000, ge=1)
    file_rows: int = Field(100_000, ge=1)
    dead_after_h: float = Field(24.0, gt=0)
    announce: AnnounceSettings = AnnounceSettings()
    cost: CostSettings = CostSettings()
    csv: CsvSettings = CsvSettings()
    spark: SparkSettings = SparkSettings()


class QuerySettings(Settings):
    warehouse: Uri = f"{DEFAULT_WORKSPACE}/warehouse"
    catalog: str | None = None
    snapshot: int | None = None
    as_of: str | None = None


class DdlSettings(Settings):
    """Where a published table is to appear: ``into`` and the rest are names at the reader's."""

    warehouse: Uri = f"{DEFAULT_WORKSPACE}/warehouse"
    catalog: str | None = None
    table: str = Field("scores", pattern=r"^[a-z][a-z0-9_]{0,62}$")
    into: str | None = None
    reader: str | None = None
    volume: str = "tlnlp"
    volume_uri: Uri | None = None
    integration: str = "tlnlp"
    iam_role: str = "default"
    connection: str | None = None


class RegistrySettings(Settings):
    registry: Uri = f"{DEFAULT_WORKSPACE}/registry"


class RunsSettings(RegistrySettings):
    warehouse: Uri = f"{DEFAULT_WORKSPACE}/warehouse"
