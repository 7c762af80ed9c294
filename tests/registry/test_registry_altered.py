"""Tests that whatever reads a version refuses one whose files were altered, though its digests match."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import kit
import pytest
from registry_kit import make_bundle

import tlnlp
from tlnlp.config import EvaluateSettings, PromoteSettings, load_settings
from tlnlp.errors import BundleError
from tlnlp.evaluate.evaluation import evaluate_version
from tlnlp.evaluate.promotion_gate import promote
from tlnlp.model import bundle
from tlnlp.registry import Registry
from tlnlp.report.version import report_version

CALLS: dict[str, Callable[[Path], object]] = {
    "evaluate": lambda root: evaluate_version(load_settings(EvaluateSettings, given=given(root))),
    "promote": lambda root: promote(load_settings(PromoteSettings, given=given(root))),
    "python": lambda root: tlnlp.Classifier.load("m@2", root / "registry"),
    "report": lambda root: report_version(str(root / "registry"), "m@2", str(root / "report")),
}


def given(root: Path) -> dict[str, object]:
    return {"labels": str(root / "labels.jsonl"), "registry": str(root / "registry"), "model": "m@2", "threads": 1}


@pytest.fixture
def altered(registry: Registry, tmp_path: Path) -> Path:
    """The folder of the second of two versions; the first one is champion."""
    for number in (1, 2):
        registry.publish("m", make_bundle(tmp_path / f"bundle{number}"))
    registry.set_champion("m", 1, expected=None, by="ada", reason="first")
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kit.labelled(12, 7)))
    return tmp_path / "registry" / "m" / "versions" / "2"


@pytest.mark.parametrize("call", ["evaluate", "promote", "python"])
def test_a_weight_below_zero(altered: Path, tmp_path: Path, call: str) -> None:
    values = json.loads((altered / bundle.SPEC).read_text())
    (altered / bundle.SPEC).write_text(json.dumps(values | {"encoder_weight": -5}))
    bundle.seal(altered)
    with pytest.raises(BundleError, match=r"bundle\.json: encoder_weight is -5; it must be a finite number") as caught:
        CALLS[call](tmp_path)
    assert caught.value.exit_code == 4
    champion = Registry(str(tmp_path / "registry")).champion("m")
    assert champion is not None
    assert champion.version == 1


@pytest.mark.parametrize("call", ["evaluate", "promote", "python", "report"])
def test_a_link_and_a_deep_file(altered: Path, tmp_path: Path, call: str) -> None:
    (altered / bundle.TRAINING).write_text('{"text_sha256": [], "report": ' + "[" * 5_000 + "]" * 5_000 + "}")
    bundle.seal(altered)
    with pytest.raises(BundleError, match=r"training\.json.*(no readable JSON|nested deeper)"):
        CALLS[call](tmp_path)
    (altered / bundle.TRAINING).rename(tmp_path / "outside.json")
    (altered / bundle.TRAINING).symlink_to(tmp_path / "outside.json")
    with pytest.raises(BundleError, match=r"training\.json is a symbolic link"):
        CALLS[call](tmp_path)


@pytest.mark.parametrize("report", [{"labels": "many"}, {"encoders": 5, "suspected_faults": [1]}, {"x": []}])
def test_a_report_of_another_shape(altered: Path, tmp_path: Path, report: object) -> None:
    training = {"text_sha256": [], "counts": [3], "report": report}
    (altered / bundle.TRAINING).write_text(json.dumps(training))
    bundle.seal(altered)
    with pytest.raises(BundleError, match=r"training\.json holds a report that cannot be shown"):
        CALLS["report"](tmp_path)


def test_the_others_are_listed(altered: Path, tmp_path: Path) -> None:
    (altered / bundle.MANIFEST).write_text("{")
    (altered / bundle.SPEC).unlink()
    assert [info.version for info in Registry(str(tmp_path / "registry")).versions("m")] == [1, 2]
