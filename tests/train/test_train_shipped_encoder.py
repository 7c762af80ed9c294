"""Ray workers receive an encoder that only the driver has; an encoder that every machine has is not sent."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray

from tlnlp.config import RaySettings, TrainingSettings
from tlnlp.model.encoder_conventions import Conventions, EncoderSource
from tlnlp.model.tokenize import TokenIds
from tlnlp.storage import Storage
from tlnlp.train.distributed import ray_trainer
from tlnlp.train.distributed.shipped_encoder import ShippedEncoder, lay, ship
from tlnlp.train.distributed.tasks import embed, fit_each
from tlnlp.train.fit.encoder_fit import EmbeddingSpec, EncoderFit

pytestmark = pytest.mark.usefixtures("cluster")
LAID = Path(tempfile.gettempdir()) / "tlnlp-encoders"
SETTINGS = RaySettings(cpus_per_worker=1, max_failures=0)
TOKENS = TokenIds.of([[2, 4, 5, 3], [2, 6, 3], [2, 7, 8, 9, 3], [2, 5, 3]])


def source(encoder: Path) -> EncoderSource:
    return EncoderSource(str(encoder), Conventions("mean", "", False, False, 32), 0)


def fit_of(encoder: Path) -> EncoderFit:
    return EncoderFit(
        encoder=source(encoder),
        edges=(1, 1),
        tokens=TOKENS,
        targets=np.eye(2, dtype=np.float32)[[0, 1, 0, 1]],
        weights=np.ones(4, dtype=np.float32),
        held_out=TOKENS,
        steps=4,
        crop_tokens=8,
        read_tokens=8,
        objective="classify",
        seed=0,
        recipe=TrainingSettings(batch_size=2),
    )


@pytest.fixture
def folder(tiny_encoder: Path, tmp_path: Path) -> Iterator[Path]:
    """Make an encoder that no test has sent before, and remove the copies of the workers afterwards."""
    own = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps(config | {"made_for": uuid.uuid4().hex}))
    sent = ship(str(own))
    assert isinstance(sent, ShippedEncoder)
    yield own
    shutil.rmtree(LAID / sent.digest[:16], ignore_errors=True)


@ray.remote
def laid_by_a_worker(encoder: ShippedEncoder) -> tuple[str, bytes, list[str]]:
    """Return the folder that a worker writes the encoder to, its weights, and its file names."""
    folder = Path(lay(encoder))
    return str(folder), (folder / "model.safetensors").read_bytes(), sorted(path.name for path in folder.iterdir())


def test_a_worker_writes_an_encoder_that_it_lacks(tiny_encoder: Path, folder: Path) -> None:
    sent = ship(folder.as_uri())
    assert isinstance(sent, ShippedEncoder)
    before = sorted(path.name for path in LAID.iterdir() if path.name.startswith("tmp")) if LAID.exists() else []
    assert lay(sent) == str(folder), "this machine has the folder itself"
    shutil.rmtree(folder)
    first, again = ray.get([laid_by_a_worker.remote(sent) for _ in range(2)])
    assert first == again
    assert first[0] != str(folder)
    assert sent.digest[:16] in first[0]
    assert first[1] == (tiny_encoder / "model.safetensors").read_bytes()
    assert {"config.json", "tokenizer.json"} <= set(first[2])
    assert sorted(path.name for path in LAID.iterdir() if path.name.startswith("tmp")) == before


def test_an_encoder_is_read_again_only_after_a_change(folder: Path) -> None:
    sent = ship(str(folder))
    assert ship(str(folder)) is sent
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    changed = ship(str(folder))
    assert isinstance(sent, ShippedEncoder)
    assert isinstance(changed, ShippedEncoder)
    assert changed.digest != sent.digest


def test_an_encoder_that_every_machine_has_stays_a_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for name in ("all-minilm-l6-v2", "someone/encoder", "s3://bucket/encoder", str(tmp_path), str(tmp_path / "no")):
        assert ship(name) == name
        assert lay(name) == name


def test_fits_and_embeddings_need_no_folder_on_the_worker(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = EmbeddingSpec(source(folder), 2, "fp32")
    (wanted,) = fit_each([fit_of(folder)], SETTINGS, "fits")
    states, _ = embed(TOKENS, None, spec, SETTINGS, "reading")
    sent = ship(str(folder))
    shutil.rmtree(folder)
    # As on another machine: the driver has sent the encoder, and its folder does not exist.
    for module in ("tasks", "ray_trainer"):
        monkeypatch.setattr(f"tlnlp.train.distributed.{module}.ship", lambda name: sent)
    (alone,) = fit_each([fit_of(folder)], SETTINGS, "fits")
    job = ray_trainer.run_fit(fit_of(folder), SETTINGS, Storage(str(tmp_path / "runs")), "shipped", "training")
    again, _ = embed(TOKENS, None, spec, SETTINGS, "reading")
    assert alone.held_out == pytest.approx(wanted.held_out, abs=1e-6)
    assert job.held_out == pytest.approx(wanted.held_out, abs=1e-5)
    assert again == pytest.approx(states, abs=1e-6)
