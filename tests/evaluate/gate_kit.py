"""A registry with good and poor versions for the tests of the promotion gate."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import kit

from tlnlp.config import PromoteSettings, load_settings
from tlnlp.evaluate.promotion_gate import PromoteResult, promote
from tlnlp.model import bundle
from tlnlp.model.bundle_spec import read_spec
from tlnlp.model.ngram import fit_ngram
from tlnlp.registry import ModelVersion, Registry

# The encoder of the kit is untrained: a bundle that relies on its n-grams is good, on its encoder alone it is poor.
GOOD, POOR = {"encoder_weight": 0.2, "ngram_weight": 1.0}, {"encoder_weight": 1.0, "ngram_weight": 0.0}


def named_rows(count: int, seed: int, classes: Sequence[str] = kit.CLASSES) -> list[dict[str, Any]]:
    """Return labelled rows whose texts begin with their label; the texts of the kit do not."""
    return [row | {"text": f"{row['label']}: {row['text']}"} for row in kit.labelled(count, seed, classes)]


class Scene:
    """A registry whose versions are good (1), poor (2) and good (3), and labels that none was trained on."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder, self.registry = folder, Registry(str(folder / "registry"))
        for number, weights in enumerate((GOOD, POOR, GOOD)):
            self.publish(variant(source, folder / f"variant-{number}", **weights))
        self.labels = kit.write_jsonl(folder / "fresh.jsonl", named_rows(240, 77))

    def publish(self, bundle_folder: Path) -> ModelVersion:
        return self.registry.publish("m", bundle_folder)

    def promote(self, model: str, **more: object) -> PromoteResult:
        given = {"labels": str(self.labels), "registry": self.registry.storage.uri, "model": model, "threads": 1}
        return promote(load_settings(PromoteSettings, given=given | more))

    @property
    def champion(self) -> int | None:
        champion = self.registry.champion("m")
        return champion.version if champion else None


def variant(source: Path, folder: Path, **values: object) -> Path:
    """Seal a copy of a bundle: its n-gram view is fitted to ``named_rows``, and its spec has the given values."""
    shutil.copytree(source, folder)
    rows = named_rows(60, 5)
    texts, targets = [row["text"] for row in rows], [kit.CLASSES.index(row["label"]) for row in rows]
    fit_ngram(texts, targets, 2, seed=0, features=1 << 12).save(folder / bundle.NGRAM)
    spec = replace(read_spec(folder), **values)  # type: ignore[arg-type]
    (folder / bundle.SPEC).write_bytes(spec.to_json())
    (folder / bundle.GOLDEN).unlink()  # They hold the probabilities of the source.
    bundle.seal(folder)
    return folder
