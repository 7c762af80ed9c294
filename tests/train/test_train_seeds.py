"""The seed decides a model bit for bit, and the figures of a run are the same wherever they are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from train_kit import distance, settings, weights

from tlnlp.config import FinetuneSettings, load_settings
from tlnlp.model import bundle
from tlnlp.model.bundle_spec import read_spec
from tlnlp.registry import Registry
from tlnlp.storage.uri import local_path
from tlnlp.train.finetune import FinetuneResult, finetune
from tlnlp.train.local_executor import LocalExecutor

Trained = tuple[FinetuneResult, Path]


@pytest.fixture(scope="module")
def trained(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """Fine-tune on the same labels with seed 5, with seed 5 again, and with seed 6; return results and bundles."""
    folder = tmp_path_factory.mktemp("seeds")

    def train(name: str, seed: int) -> Trained:
        given = settings(folder, tiny_encoder, f"seed={seed}", labels=42, steps=10, registry=name)
        result = finetune(load_settings(FinetuneSettings, None, given), LocalExecutor())
        path = local_path(result.version.uri)
        assert path is not None
        return result, path

    return {"five": train("five", 5), "again": train("again", 5), "six": train("six", 6)}


def training_of(trained: Trained) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((trained[1] / bundle.TRAINING).read_text())
    return content


def test_a_seed_gives_the_same_model_bit_for_bit(trained: dict[str, Trained]) -> None:
    (one, first), (same, second) = trained["five"], trained["again"]
    for name in (bundle.ENCODER, bundle.HEAD, bundle.NGRAM, bundle.SPEC, bundle.GRAPH_WEIGHTS):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert one.held_out == same.held_out
    for part in ("cross_validation", "learning_curve", "baselines"):
        assert training_of(trained["five"])["report"][part] == training_of(trained["again"])["report"][part]


def test_another_seed_gives_another_model(trained: dict[str, Trained]) -> None:
    assert distance(weights(trained["five"][1]), weights(trained["six"][1])) > 1e-4
    ngrams = [load_file(trained[name][1] / bundle.NGRAM) for name in ("five", "six")]
    assert all(np.isfinite(tensor).all() for tensors in ngrams for tensor in tensors.values())
    one, other = (read_spec(trained[name][1]) for name in ("five", "six"))
    # Other folds, so other predictions of held-out labels.
    assert (one.encoder_weight, one.ngram_weight) != (other.encoder_weight, other.ngram_weight)


@pytest.mark.parametrize(("name", "seed"), [("five", 5), ("six", 6)])
def test_summary_report_and_ledger_have_the_same_figures(trained: dict[str, Trained], name: str, seed: int) -> None:
    result, path = trained[name]
    training = training_of(trained[name])
    assert training["seed"] == seed
    assert result.held_out is not None
    shown = result.to_json()["held_out"]
    assert training["held_out"] == shown
    report = training["report"]["cross_validation"]
    assert (report["n"], shown["n"]) == (42, 42)
    for figure in ("accuracy", "macro_f1"):
        assert report[figure] == pytest.approx(shown[figure], abs=1e-4), figure
    assert training["report"]["calibration"]["ece_after"] == pytest.approx(shown["ece"], abs=1e-4)
    assert sum(map(sum, (row.values() for row in shown["confusion"].values()))) == 42
    (ledger,) = Registry(str(path.parents[2])).ledgers("moods")
    assert ledger["config"]["seed"] == seed
