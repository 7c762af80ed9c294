"""Every file in conf/ is complete, loads, and holds the defaults; every settings key is described."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tlnlp.config import (
    EvaluateSettings,
    ExploreSettings,
    FinetuneSettings,
    MaintainSettings,
    PromoteSettings,
    QuerySettings,
    QueueSettings,
    ScoreSettings,
    Settings,
    load_settings,
)
from tlnlp.errors import UsageError
from tlnlp.runs.cost import PriceList

CONF = Path(__file__).parents[2] / "conf"
CONFIG = Path(__file__).parents[2] / "tlnlp" / "config"
KINDS: dict[str, type[Settings]] = {
    "evaluate.yaml": EvaluateSettings,
    "explore.yaml": ExploreSettings,
    "finetune.yaml": FinetuneSettings,
    "maintain.yaml": MaintainSettings,
    "promote.yaml": PromoteSettings,
    "query.yaml": QuerySettings,
    "queue.yaml": QueueSettings,
    "score.yaml": ScoreSettings,
}


def keys(kind: type[Settings], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every key of a settings class."""
    for name, field in kind.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield from keys(field.annotation, f"{prefix}{name}.")


def written(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every key in a YAML file."""
    for name, value in values.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from written(value, f"{prefix}{name}.")


def required(kind: type[Settings]) -> dict[str, object]:
    """Return a value for each key that has no default."""
    given = {"documents": "documents/", "score_date": "2026-01-31", "labels": "labels/"}
    return {key: given[key] for key, field in kind.model_fields.items() if field.is_required()}


def test_every_file_is_known() -> None:
    assert sorted(path.name for path in CONF.iterdir()) == sorted([*KINDS, "encoders.yaml", "prices.yaml"])


def test_every_price_has_a_source_and_a_day() -> None:
    instances = load_settings(PriceList, CONF / "prices.yaml").instances
    assert len({one.name for one in instances}) == len(instances) >= 5
    assert all(one.usd_per_hour > 0 and one.source and one.vcpus for one in instances)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_file_holds_every_key_and_loads(name: str) -> None:
    # A value that were only an example would be taken for one that was meant: required keys stand there as comments.
    text, needed = (CONF / name).read_text(), required(KINDS[name])
    assert set(written(yaml.safe_load(text))) == set(keys(KINDS[name])) - needed.keys()
    assert all(f"\n# {key}: " in text for key in needed)
    load_settings(KINDS[name], CONF / name, given=needed)
    if needed:
        with pytest.raises(UsageError, match=sorted(needed)[0]):
            load_settings(KINDS[name], CONF / name)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_file_holds_the_defaults(name: str) -> None:
    needed = required(KINDS[name])
    assert KINDS[name](**needed).model_dump() == load_settings(KINDS[name], CONF / name, given=needed).model_dump()


def test_every_settings_key_is_described() -> None:
    missing, described = list[str](), 0
    for path in CONFIG.glob("*.py"):
        for kind in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(kind, ast.ClassDef):
                continue
            for key, after in zip(kind.body, [*kind.body[1:], None], strict=True):
                if isinstance(key, ast.AnnAssign):
                    text = after.value if isinstance(after, ast.Expr) else None
                    found = isinstance(text, ast.Constant) and isinstance(text.value, str)
                    described += found
                    missing += [] if found else [f"{kind.name}.{ast.unparse(key.target)}"]
    assert not missing
    assert described > 100


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("enocder=x", "'encoder'"),
        ("training.epoch=3", "'training.epochs'"),
        ("ray.worker=3", "'ray.workers'"),
        ("training.batch_size=many", "training.batch_size"),
        ("nonsense", "key=value"),
    ],
)
def test_a_wrong_override_is_explained(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_settings(FinetuneSettings, CONF / "finetune.yaml", [override])


def test_a_broken_file_is_named_with_its_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("labels: x\nseed: [1\n")
    with pytest.raises(UsageError, match=r"broken.yaml, line \d: the config file is not valid YAML"):
        load_settings(FinetuneSettings, broken)
    broken.write_text("- a\n- b\n")
    with pytest.raises(UsageError, match="the config file holds no keys: write it as `key: value` lines"):
        load_settings(FinetuneSettings, broken)
    with pytest.raises(UsageError, match="cannot read the config file"):
        load_settings(FinetuneSettings, tmp_path / "none.yaml")


def test_relative_paths_are_relative_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(FinetuneSettings, CONF / "finetune.yaml", ["labels=here.csv"])
    assert settings.labels == f"file://{tmp_path}/here.csv"
    assert settings.registry == f"file://{tmp_path}/.tlnlp/registry"


def test_spark_properties_keep_their_dots() -> None:
    override = ["spark.conf.spark.executor.memory=4g"]
    settings = load_settings(ScoreSettings, CONF / "score.yaml", override, given=required(ScoreSettings))
    assert settings.spark.conf == {"spark.executor.memory": "4g"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "classes: [no, yes]",
            "'classes.0': YAML reads no, off or false as a truth value unless it is in quotes: write",
        ),
        ("classes: [a, yes]", "'classes.1': YAML reads yes, on or true as a truth value unless"),
        (
            "classes: [0, 1]",
            "'classes.1': YAML reads 1 as a number unless it is in quotes: write names of classes in quo",
        ),
        ("classes: no", "'classes': YAML reads no, off or false as a truth value unless"),
        ("classes: [2026-01-31, a]", "'classes.0': YAML reads 2026-01-31 as a date unless"),
        ("classes: [null, a]", "'classes.0': YAML reads null as no value unless"),
        ("class_descriptions: {no: negative}", "YAML reads no, off or false as a truth value unless"),
    ],
)
def test_names_of_classes_that_yaml_does_not_read_as_text(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "own.yaml").write_text(f"labels: labels/\n{line}\n")
    with pytest.raises(UsageError) as caught:
        load_settings(FinetuneSettings, tmp_path / "own.yaml")
    assert says in str(caught.value)
    quoted = 'classes: ["no", "yes", "0"]\nclass_descriptions: {"0": none}\n'
    (tmp_path / "own.yaml").write_text(quoted)
    assert load_settings(FinetuneSettings, tmp_path / "own.yaml").classes == ("no", "yes", "0")
