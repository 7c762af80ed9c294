"""The page of a model: the report of a version, and two versions on the labels that neither learned from."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path
from typing import Any

import kit
import pytest
from explore_kit import FIRST, pages, row
from nights_kit import publish

from tlnlp.model.bundle import REQUIRED, seal
from tlnlp.registry import Registry
from tlnlp.registry.held_out import write_held_out

REPORT: dict[str, Any] = {
    "cross_validation": kit.CROSS_VALIDATION
    | {
        "per_class": {"<i>": {"precision": 0.9, "recall": 0.8, "f1": 0.85, "n": 100}},
        "confusion": {"<i>": {"<i>": 80, "other": 20}},
    },
    "calibration": {
        "ece_before": 0.1,
        "ece_after": 0.02,
        "bins_after": [
            {"confidence": 0.6123, "accuracy": 0.59, "n": 100},
            {"confidence": 0.95, "accuracy": 0.96, "n": 100},
        ],
    },
    "suspected_faults": [],
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A warehouse with a night of the model ``moods``; its registry is empty."""
    publish(tmp_path, FIRST, [row(number) for number in range(9)])
    return tmp_path


def made(folder: Path, registry: Path, training: dict[str, Any]) -> None:
    """Register a version whose bundle holds only what a report needs."""
    folder.mkdir()
    for name in REQUIRED:
        (folder / name).write_bytes(b"")
    (folder / "training.json").write_text(json.dumps(training))
    seal(folder)
    Registry(str(registry)).publish("moods", folder)


def test_the_report_of_the_version_that_scored_is_shown(table: Path) -> None:
    made(table / "one", table / "registry", {"report": REPORT, "counts": {"<i>": 100, "other": 100}})
    made(table / "two", table / "registry", {})
    Registry(str(table / "registry")).set_champion("moods", 1, expected=None, by="<b>ada", reason="<u>first")
    page = pages(table).get("/model").text
    assert "<h1>moods@1</h1>" in page
    assert "180 of 200 held-out labels were predicted correctly" in page
    assert "&lt;i&gt;" in page
    assert "61.2%" in page
    assert "<i>" not in page
    assert "&lt;u&gt;first" in page
    assert "was made without a report" in pages(table).get("/model?version=2").text


@pytest.mark.parametrize("report", [{"cross_validation": {"accuracy": "x"}}, {"baselines": 3}, [1], "text"])
def test_a_damaged_report_is_said_to_be_so(table: Path, report: object) -> None:
    made(table / "one", table / "registry", {"report": report})
    answer = pages(table).get("/model")
    assert answer.status_code == 200
    assert "cannot be shown" in answer.text or "made without a report" in answer.text


def test_a_registry_without_the_model_says_what_to_do(table: Path) -> None:
    answer = pages(table).get("/model")
    assert answer.status_code == 404
    assert "--set registry=URI" in unescape(answer.text)
    made(table / "one", table / "registry", {})
    assert pages(table).get("/model?version=7").status_code == 400
    assert pages(table).get("/model?version=x").status_code == 400


def test_two_versions_are_compared_on_the_labels_that_were_set_aside(
    table: Path, tiny_encoder: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    registry = Registry(str(table / "registry"))
    registry.publish("moods", tiny_bundle)
    second = registry.publish("moods", kit.make_bundle(tiny_encoder, tmp_path / "second", seed=5))
    client = pages(table)
    assert "no labels were set aside" in unescape(client.get("/model?version=2&beside=1").text).lower()
    aside = [{"text": one["text"], "label": one["label"]} for one in kit.labelled(60, seed=9)]
    write_held_out(registry, second, aside)
    page = client.get("/model?version=2&beside=1").text
    assert "Neither version learned from these 60 labels" in page
    assert "The accuracy of version 2 is" in page
    other = client.get("/model?version=1&beside=2").text
    assert "The accuracy of version 1 is" in other
    named = kit.write_jsonl(tmp_path / "held_out" / "labels.jsonl", kit.labelled(24, seed=8))
    assert "learned from these 24 labels" in pages(table, held_out=str(named)).get("/model?version=2&beside=1").text


def test_labels_that_a_version_learned_from_compare_nothing(table: Path, tiny_bundle: Path) -> None:
    registry = Registry(str(table / "registry"))
    for _ in range(2):
        second = registry.publish("moods", tiny_bundle)
    write_held_out(registry, second, [{"text": one["text"], "label": one["label"]} for one in kit.labelled(40, seed=0)])
    page = unescape(pages(table).get("/model?version=2&beside=1").text)
    assert "learned from 40 of the 40 labels" in page
    assert "neither version learned" not in page
