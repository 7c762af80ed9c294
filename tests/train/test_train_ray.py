"""Fine-tuning on a real Ray cluster of one machine: end to end, reproducible, killed and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import kit
import numpy as np
import pytest
import ray
import torch
from train_kit import (
    THREE,
    checkpoint_is_there,
    distance,
    family,
    kill,
    settings,
    train_workers,
    wait_for,
    weights,
    worker_killed_in,
)

from tlnlp.config import FinetuneSettings, RaySettings, TrainingSettings, load_settings
from tlnlp.errors import EngineError, LabelFaultsError, TlnlpError, UsageError
from tlnlp.model.classifier import Classifier
from tlnlp.model.encoder_conventions import Conventions, EncoderSource
from tlnlp.model.tokenize import TokenIds
from tlnlp.registry import Registry
from tlnlp.storage import Storage, local_path
from tlnlp.train.distributed import ray_trainer
from tlnlp.train.finetune import FinetuneResult, finetune
from tlnlp.train.fit.encoder_fit import EncoderFit, Objective
from tlnlp.train.fit.trainer import Trainer
from tlnlp.train.time_budget import TimeBudget

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("cluster")


def run(overrides: list[str]) -> FinetuneResult:
    return finetune(load_settings(FinetuneSettings, None, overrides))


def job_settings(folder: Path, encoder: Path) -> list[str]:
    return settings(folder, encoder, "pooling=max", "prompt=the night ", "normalise=true", "seed=3", labels=60)


def bundle_of(result: FinetuneResult) -> Path:
    path = local_path(result.version.uri)
    assert path is not None
    return path


@dataclass(frozen=True)
class Whole:
    """A job that nothing interrupted: its result, its folder, and its log."""

    result: FinetuneResult
    folder: Path
    stderr: str

    @property
    def weights(self) -> dict[str, Any]:
        """Return the tensors that interrupted jobs with the same seed must reproduce."""
        return weights(bundle_of(self.result))


@pytest.fixture(scope="module")
def whole(cluster: None, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    with redirect_stderr(StringIO()) as stderr:
        result = run(job_settings(folder, tiny_encoder))
    return Whole(result, folder, stderr.getvalue())


def test_end_to_end(whole: Whole) -> None:
    result = whole.result
    registry = Registry(str(whole.folder / "registry"))
    assert (result.version.name, result.version.version, result.steps) == ("moods", 1, 50)
    assert (result.labels, result.classes) == (60, THREE)
    assert result.held_out is not None
    assert result.held_out.n == 60
    assert set(result.held_out.confusion) == set(THREE)

    # The bundle verifies, predicts, and holds a report.
    classifier = Classifier.load(bundle_of(result), threads=1)
    assert classifier.classes == THREE
    spec = classifier.spec
    assert (spec.pooling, spec.prompt, spec.normalise, spec.lower_case) == ("max", "the night ", True, False)
    assert classifier.predict(kit.texts(3)).shape == (3, 3)
    report = json.loads((bundle_of(result) / "training.json").read_text())["report"]
    assert report["cross_validation"]["accuracy"] == pytest.approx(result.held_out.accuracy, abs=1e-4)
    assert set(report["baselines"]) == {"ngram", "frozen_encoder"}
    # A quarter and a half of the 45 labels outside a fold, by class. With so few labels, the learning curve is that of
    # a head on the pretrained encoder, because tuning for each point would cost more than the model.
    assert [point["labels"] for point in report["learning_curve"]["points"]] == [12, 24, 45]
    assert report["learning_curve"]["of"] == "as_pretrained"
    assert report["encoders"] == []

    # The ledger records the run, the resume cache is deleted, and no alias was set.
    (ledger,) = registry.ledgers("moods")
    assert (ledger["run_id"], ledger["status"]) == (result.run_id, "succeeded")
    assert ledger["counts"] == {"labels": 60, "faults": 0, "version": 1, "steps": 50}
    stages = [stage["name"] for stage in ledger["stages"]]
    assert stages == [
        "labels", "encoder", "frozen_encoder", "cross_validation", "fit", "report", "bundle", "register",
    ]  # fmt: skip
    assert 0 <= ledger["results"]["class_names"]["right"] <= 1
    assert [step for step, _ in ledger["results"]["fit"]["losses"]][-1] == 50
    assert not [path for path in (whole.folder / "registry/moods/training").rglob("*") if path.is_file()]
    assert registry.champion("moods") is None
    for line in ("labels: 60 (20 calm, 20 cross, 20 mixed)", "cross-validation: 2/2", "training: 50/50"):
        assert line in whole.stderr


def test_a_small_fit_beside_the_cross_validation_equals_the_job(
    tmp_path: Path, tiny_encoder: Path, whole: Whole, capfd: pytest.CaptureFixture[str]
) -> None:
    given = [*job_settings(tmp_path, tiny_encoder), "ray.job_tokens=200000"]
    result = run(given)
    stderr = capfd.readouterr().err
    assert "cross-validation: 3/3" in stderr
    assert "training: " not in stderr
    assert not (tmp_path / "registry/moods/training").exists() or not checkpoint_is_there(tmp_path / "registry")
    assert (result.steps, result.version.version) == (50, 1)
    assert distance(weights(bundle_of(result)), whole.weights) <= 1e-4


@pytest.mark.acceptance
@pytest.mark.parametrize("objective", ["contrast", "classify"])
def test_two_workers_learn_what_one_learns(tmp_path: Path, tiny_encoder: Path, objective: Objective) -> None:
    # Without dropout, the mean of the gradients of two equal shares is the gradient of the batch.
    fit = EncoderFit(
        encoder=EncoderSource(str(tiny_encoder), Conventions("mean", "", False, False, 128), pad_token_id=0),
        edges=(1, 1),
        tokens=TokenIds.of([2, 4 + i % 2, *range(6, 8 + i % 9), 3] for i in range(20)),
        targets=np.eye(2, dtype=np.float32)[np.arange(20) % 2],
        weights=np.linspace(0.2, 1.0, 20, dtype=np.float32),
        held_out=TokenIds.of([[2, 4, 3], [2, 5, 3], [2, 4, 6, 7, 8, 3]]),
        steps=12,
        crop_tokens=8,
        read_tokens=16,
        objective=objective,
        seed=11,
        recipe=TrainingSettings(
            batch_size=8, dropout=0.0, head_learning_rate=0.05, learning_rate=1e-3, report_every_steps=3,
            precision="fp32",
        ),
    )  # fmt: skip
    two = ray_trainer.run_fit(fit, RaySettings(workers=2, cpus_per_worker=1), Storage(str(tmp_path)), "two", "training")
    alone = Trainer(fit, torch.device("cpu"))
    alone.begin()
    losses = [alone.step(step, batch) for step, batch in alone.batches(0)]
    alone.finish()
    assert two.steps == 12
    assert [step for step, _ in two.losses] == [3, 6, 9, 12]
    for step, together in two.losses:
        assert together == pytest.approx(np.mean(losses[step - 3 : step]), abs=1e-4)
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    one = alone.predict(fit.held_out)
    assert one.sum(axis=1) == pytest.approx(1.0)
    assert one[0, 0] - one[1, 0] > 0.05
    assert abs(one - two.held_out).max() <= 1e-3


def job(overrides: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "jobs/finetune.py")]
    for override in overrides:
        command += ["--set", override]
    return subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.acceptance
def test_started_again_after_everything_was_killed(
    tmp_path: Path,
    tiny_encoder: Path,
    whole: Whole,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    overrides = job_settings(tmp_path, tiny_encoder)
    first = job(overrides)
    try:
        wait_for(lambda: checkpoint_is_there(tmp_path / "registry") or first.poll() is not None)
    finally:
        kill(family(first.pid))
    _, stderr = first.communicate(timeout=30)
    assert first.returncode == -9, stderr
    assert not Registry(str(tmp_path / "registry")).versions("moods")

    # The second start uses another cluster, so it knows the first only by its files.
    rates, measured = list[float](), TimeBudget.record_label_throughput

    def recorded(self: TimeBudget, rate: float) -> None:
        rates.append(rate)
        measured(self, rate)

    monkeypatch.setattr(TimeBudget, "record_label_throughput", recorded)
    again = run(overrides)
    assert again.version.version == 1
    assert int(capfd.readouterr().err.split("training: resuming from step ")[1].split()[0]) >= 5
    assert distance(weights(bundle_of(again)), whole.weights) <= 1e-6
    # The recorded throughput is that of this job, not of the fits side by side before it.
    (ledger,) = Registry(str(tmp_path / "registry")).ledgers("moods")
    tokens_a_step = rates[-1] / ledger["results"]["fit"]["steps_per_s"]
    assert 8 * 6 <= tokens_a_step <= 8 * 32


def test_a_lost_worker_is_replaced_and_the_run_goes_on(
    tmp_path: Path, tiny_encoder: Path, whole: Whole, capfd: pytest.CaptureFixture[str]
) -> None:
    with worker_killed_in(tmp_path / "registry") as killed:
        result = run(job_settings(tmp_path, tiny_encoder))
    assert len(killed) == 1
    assert "training: resuming from step " in capfd.readouterr().err
    (ledger,) = Registry(str(tmp_path / "registry")).ledgers("moods")
    assert len(ledger["results"]["fit"]["resumed"]) == 1
    assert ledger["results"]["fit"]["resumed"][0] >= 5
    assert distance(weights(bundle_of(result)), whole.weights) <= 1e-6


@pytest.mark.acceptance
def test_more_losses_than_allowed_fail_the_run(tmp_path: Path, tiny_encoder: Path) -> None:
    with (
        pytest.raises(
            EngineError, match=r"training: the Ray Train job nightly-\w+ failed .* run the same command again"
        ),
        worker_killed_in(tmp_path / "registry") as killed,
    ):
        run(settings(tmp_path, tiny_encoder, "ray.max_failures=0", "run_name=nightly"))
    assert len(killed) == 1
    assert failed_ledger(tmp_path)["error"]["exit_code"] == 7
    # The checkpoint is still there for a next start.
    assert checkpoint_is_there(tmp_path / "registry")
    wait_for(lambda: not train_workers(), timeout_s=30)


def failed_ledger(folder: Path) -> dict[str, Any]:
    registry = Registry(str(folder / "registry"))
    (ledger,) = registry.ledgers("moods")
    assert ledger["status"] == "failed"
    assert registry.versions("moods") == []
    return ledger


@pytest.mark.parametrize(
    ("override", "kind", "message"),
    [
        ("ray.cpus_per_worker=64", UsageError, "ray.workers=1 times 64 per worker needs 64, the cluster has 2"),
        ("ray.workers=4", UsageError, "ray.workers=4 times 1 per worker needs 4, the cluster has 2"),
        ("ray.device=gpu", UsageError, "ray.workers=1 with one GPU per worker, the cluster has 0"),
        ("min_per_class=7", LabelFaultsError, "too few examples"),
    ],
)
def test_impossible_settings_are_refused_and_the_ledger_records_the_failure(
    tmp_path: Path, tiny_encoder: Path, override: str, kind: type[TlnlpError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        run(settings(tmp_path, tiny_encoder, override))
    ledger = failed_ledger(tmp_path)
    assert ledger["error"]["class"] == kind.__name__
    assert message in ledger["error"]["message"]


def test_workers_have_the_priority_of_this_process() -> None:
    niceness: Any = ray.remote(num_cpus=1)(lambda: os.nice(0))
    assert ray.get(niceness.remote()) == os.nice(0)


def test_shares_must_be_equal(tmp_path: Path, tiny_encoder: Path) -> None:
    with pytest.raises(
        UsageError, match=r"training\.batch_size=8 is not a multiple of ray\.workers=3: workers train on"
    ):
        run(settings(tmp_path, tiny_encoder, "ray.workers=3"))
