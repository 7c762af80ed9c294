"""Making the bundle of a trained model: the engine that scores, and the documents that test the cascade."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kit
import pytest
from train_kit import settings

from tlnlp.config import CascadeSettings, FinetuneSettings, load_settings
from tlnlp.data.pool import Pool
from tlnlp.errors import UsageError
from tlnlp.model.bundle_spec import BundleSpec, read_spec
from tlnlp.model.learned_texts import read_learned
from tlnlp.storage.uri import local_path
from tlnlp.train import bundle_assembly
from tlnlp.train.bundle_assembly import set_aside
from tlnlp.train.finetune import finetune
from tlnlp.train.local_executor import LocalExecutor


def pool(count: int) -> Pool:
    return Pool("documents", tuple(f"text {number}" for number in range(count)), "0" * 64, count, 0, 0)


def test_a_tenth_of_the_documents_is_set_aside_at_most() -> None:
    for count, aside in ((100_000, 3000), (20_000, 2000), (3000, 300), (2900, 0), (0, 0)):
        left, taken = set_aside(pool(count), CascadeSettings())
        assert left is not None
        assert (len(left.texts), len(taken)) == (count - aside, aside)
        assert not set(left.texts) & set(taken)
    assert set_aside(pool(100_000), CascadeSettings(documents=0))[1] == ()
    assert set_aside(None, CascadeSettings()) == (None, ())


def made(folder: Path, encoder: Path, *more: str) -> tuple[dict[str, Any], BundleSpec, Path]:
    """Fine-tune in this process; return the report, the bundle's description, and the bundle."""
    given = settings(folder, encoder, "ray.job_tokens=100000000", "teaching.max_rounds=1", *more, steps=4)
    result = finetune(load_settings(FinetuneSettings, None, given), LocalExecutor())
    path = local_path(result.version.uri)
    assert path is not None
    report = json.loads((path / "training.json").read_text())["report"]
    return report, read_spec(path), path


def test_documents_that_nothing_has_learned_from_test_the_cascade(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_assembly, "LEAST_ASIDE", 20)
    texts = [f"{text} {number}" for number, text in enumerate(kit.texts(400, 5))]
    documents = kit.write_jsonl(tmp_path / "pool.jsonl", [{"text": text} for text in texts])
    limits = ("cascade.safe=0.5", "cascade.fast=0.6", "time_budget_s=6000")
    report, spec, path = made(tmp_path, tiny_encoder, f"unlabelled={documents}", *limits)
    scoring = report["scoring"]
    assert [one["engine"] for one in scoring["engines"]] == ["onnx-fp32", "ctranslate2-int8"]
    assert {one["texts"] for one in scoring["engines"]} == {40}
    assert set(scoring["cascade"]) == set(spec.cascades) == {"safe", "fast"}
    for name, limit in (("safe", 0.5), ("fast", 0.6)):
        test = scoring["cascade"][name]
        assert (test["documents"], test["tested"], test["limit"]) == (10, 30, limit)
        assert test["changed"] / test["tested"] <= test["bound"] <= limit
        assert spec.cascades[name].limit == limit
    assert (spec.optimise, scoring["profile"]) == ("safe", str(spec.profile))
    assert read_learned(path).documents_among(texts) <= 360


def test_a_version_of_labels_alone_has_no_cascade(tmp_path: Path, tiny_encoder: Path) -> None:
    report, spec, _ = made(tmp_path, tiny_encoder, "optimise=fast", "engine=ctranslate2-int8")
    assert (spec.engine, spec.cascades, spec.optimise) == ("ctranslate2-int8", {}, "none")
    assert report["scoring"]["cascade"] == {}


def test_an_engine_that_cannot_run_the_encoder_is_refused_before_any_work(tmp_path: Path) -> None:
    encoder = kit.make_encoder(tmp_path / "mpnet", "mpnet")
    with pytest.raises(UsageError, match=r"engine: ctranslate2-int8 cannot run .*mpnet, whose network is of another"):
        made(tmp_path, encoder, "engine=ctranslate2-int8")
    assert not (tmp_path / "registry" / "moods" / "versions").exists()
