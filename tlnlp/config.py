"""Typed, frozen configuration: a model per job, a complete file per model in ``conf/``, one way to override a key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tlnlp.errors import UsageError
from tlnlp.storage import resolve_uri

DEFAULT_WORKSPACE = ".tlnlp"


def _as_date(value: object) -> object:
    # YAML reads 2026-11-23 as a date, the command line as text; a datetime would hide which day was meant.
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise ValueError("write the day as YYYY-MM-DD")
    return value


Day = Annotated[date, BeforeValidator(_as_date)]
Uri = Annotated[str, BeforeValidator(lambda value: resolve_uri(value) if isinstance(value, str) and value else value)]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: _split_names(value))]
OnFault = Literal["fail", "skip"]


def _split_names(value: object) -> object:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class Settings(BaseModel):
    """Base of every configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), validate_default=True)


class LabelSettings(Settings):
    """Where a labelled set is, and its contract."""

    labels: Uri = Field(min_length=1)
    text_column: str = "text"
    label_column: str = "label"
    classes: Names = ()
    min_per_class: int = Field(5, ge=1)
    on_fault: OnFault = "fail"


class TrainingSettings(Settings):
    """The recipe of one fit of the encoder view."""

    epochs: float = Field(8.0, gt=0)
    min_steps: int = Field(80, ge=1)
    max_steps: int = Field(2000, ge=1)
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(8e-5, gt=0)
    head_learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warmup_share: float = Field(0.1, ge=0, lt=1)
    dropout: float | None = Field(None, ge=0, lt=1)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    holdout_share: float = Field(0.25, gt=0, lt=0.6)
    report_every_steps: int = Field(25, ge=1)


class RaySettings(Settings):
    """How the fine-tuning job uses the Ray cluster."""

    address: str | None = None
    workers: int = Field(1, ge=1)
    device: Literal["auto", "cpu", "gpu"] = "auto"
    cpus_per_worker: int = Field(0, ge=0)
    max_failures: int = Field(3, ge=0)
    checkpoint_every_s: float = Field(60.0, ge=0)
    storage: Uri | None = None


class FinetuneSettings(LabelSettings):
    registry: Uri = f"{DEFAULT_WORKSPACE}/registry"
    model: str = "classifier"
    encoder: str = "all-minilm-l6-v2"
    pooling: Literal["mean", "cls"] = "mean"
    max_length: int = Field(256, ge=8, le=8192)
    max_chars: int = Field(10_000, ge=100)
    head_share: float = Field(0.5, ge=0, le=1)
    seed: int = 0
    run_name: str | None = None
    training: TrainingSettings = TrainingSettings()
    ray: RaySettings = RaySettings()


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
    conf: dict[str, str] = {}


class CsvSettings(Settings):
    header: bool = True
    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    multiline: bool = True


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
    csv: CsvSettings = CsvSettings()
    spark: SparkSettings = SparkSettings()


class QuerySettings(Settings):
    warehouse: Uri = f"{DEFAULT_WORKSPACE}/warehouse"
    catalog: str | None = None
    snapshot: int | None = None
    as_of: str | None = None


class RegistrySettings(Settings):
    registry: Uri = f"{DEFAULT_WORKSPACE}/registry"


class RunsSettings(RegistrySettings):
    warehouse: Uri = f"{DEFAULT_WORKSPACE}/warehouse"


S = TypeVar("S", bound=Settings)


def load_settings(
    kind: type[S],
    file: str | Path | None = None,
    overrides: Sequence[str] = (),
    defaults: Mapping[str, object] | None = None,
    given: Mapping[str, object] | None = None,
) -> S:
    """Settings from ``defaults``, a YAML file, ``key=value`` overrides and ``given``, each over the one before.

    Raises:
        UsageError: the file cannot be read, a key is unknown (names the nearest), a value does not fit.
    """
    values: dict[str, Any] = dict(defaults or {})
    if file is not None:
        values |= read_yaml(file)
    for override in overrides:
        _apply(values, override)
    values |= given or {}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        where = f"{file}: " if file is not None else ""
        raise UsageError("\n".join(where + _explain(kind, problem) for problem in error.errors())) from error


def read_yaml(file: str | Path) -> dict[str, Any]:
    """The keys of a config file as they stand. Raises UsageError."""
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot read the config file ({type(error).__name__})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"{file}{line}: not valid YAML") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{file}: must hold `key: value` lines")
    return {str(key): value for key, value in content.items()}


def _apply(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise UsageError(f"--set {override}: write key=value")
    try:
        value = yaml.safe_load(text) if text else ""
    except (yaml.YAMLError, ValueError):
        value = text
    *parents, last = key.strip().split(".")
    for parent in parents:
        inner = values.get(parent)
        values[parent] = dict(inner) if isinstance(inner, Mapping) else {}
        values = values[parent]
        if parent == "conf":  # A Spark property has dots of its own.
            last = key.strip().split(".conf.", 1)[1]
            values[last] = text
            return
    # Text that YAML would turn into something else (a date, a number) is left to the typed field.
    values[last] = value if isinstance(value, (list, dict, bool, type(None))) else text


def _explain(kind: type[Settings], problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        names = _keys_at(kind, path[:-1])
        near = difflib.get_close_matches(path[-1], names, n=1, cutoff=0.4)
        hint = f"did you mean {'.'.join([*path[:-1], near[0]])!r}?" if near else f"known keys: {', '.join(names)}"
        return f"unknown key {key!r}; {hint}"
    if problem["type"] == "missing":
        return f"{key!r} is not set; give it in the config file or as --set {key}=..."
    return f"{key!r}: {problem['msg'].removeprefix('Value error, ')}"


def _keys_at(kind: type[Settings], path: Sequence[str]) -> list[str]:
    current: type[Settings] = kind
    for part in path:
        annotation = current.model_fields[part].annotation if part in current.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, Settings)):
            return []
        current = annotation
    return list(current.model_fields)
