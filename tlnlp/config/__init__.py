"""The settings of each job: typed, frozen classes. ``conf/`` holds one complete file for each job."""

from tlnlp.config.base import ByteSize, Settings, load_settings, read_yaml
from tlnlp.config.evaluate import EvaluateSettings, PromoteSettings
from tlnlp.config.explore import ExploreSettings, ReportSettings
from tlnlp.config.finetune import (
    CascadeSettings,
    EngineGateSettings,
    FinetuneSettings,
    RaySettings,
    TeachingSettings,
    TrainingSettings,
)
from tlnlp.config.labelling import LabellingSettings, QueueSettings
from tlnlp.config.score import (
    AnnounceSettings,
    BigQuerySettings,
    DriftSettings,
    GlueSettings,
    ScoreSettings,
    SnowflakeSettings,
    SparkSettings,
)
from tlnlp.config.shared import (
    DEFAULT_WORKSPACE,
    CostSettings,
    CsvSettings,
    LabelSettings,
    LineageSettings,
    RegistrySettings,
)
from tlnlp.config.warehouse import DdlSettings, MaintainSettings, QuerySettings, RunsSettings

__all__ = [
    "DEFAULT_WORKSPACE",
    "AnnounceSettings",
    "BigQuerySettings",
    "ByteSize",
    "CascadeSettings",
    "CostSettings",
    "CsvSettings",
    "DdlSettings",
    "DriftSettings",
    "EngineGateSettings",
    "EvaluateSettings",
    "ExploreSettings",
    "FinetuneSettings",
    "GlueSettings",
    "LabelSettings",
    "LabellingSettings",
    "LineageSettings",
    "MaintainSettings",
    "PromoteSettings",
    "QuerySettings",
    "QueueSettings",
    "RaySettings",
    "RegistrySettings",
    "ReportSettings",
    "RunsSettings",
    "ScoreSettings",
    "Settings",
    "SnowflakeSettings",
    "SparkSettings",
    "TeachingSettings",
    "TrainingSettings",
    "load_settings",
    "read_yaml",
]
