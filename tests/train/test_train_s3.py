"""Fine-tuning with every address on a real S3 server: labels, encoder, checkpoints, registry."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
import ray
from train_kit import settings

from tlnlp.config import FinetuneSettings, load_settings
from tlnlp.registry import Registry
from tlnlp.storage import Storage
from tlnlp.train.finetune import finetune

pytestmark = pytest.mark.acceptance


def test_labels_to_a_version_on_s3(s3_bucket: str, tiny_encoder: Path, tmp_path: Path) -> None:
    root = Storage(f"{s3_bucket}/train-{uuid4().hex[:8]}")
    overrides = settings(tmp_path, tiny_encoder, "ray.workers=1", steps=10)
    for file in tiny_encoder.iterdir():
        root.write(f"encoder/{file.name}", file)
    root.write("labels/labels.jsonl", tmp_path / "labels-18.jsonl")
    places = [f"labels={root.url('labels')}", f"encoder={root.url('encoder')}", f"registry={root.url('registry')}"]
    assert not ray.is_initialized(), "the cluster must be started with this environment"
    result = finetune(load_settings(FinetuneSettings, None, [*overrides, *places]))
    assert result.version.uri == root.url("registry/moods/versions/1")
    folder = Registry(root.url("registry")).fetch(result.version, tmp_path / "fetched")
    assert (folder / "model.onnx").stat().st_size > 0
    (ledger,) = Registry(root.url("registry")).ledgers("moods")
    assert ledger["status"] == "succeeded"
    # Checkpoints went to the store and were deleted; only the empty objects that Arrow writes for folders are left.
    left = list(root.list("registry/moods/training"))
    assert left
    assert not [entry for entry in left if entry.size_bytes]
