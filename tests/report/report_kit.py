"""A report with every part, and a registry that holds a version with a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlnlp.model.bundle import REQUIRED, seal
from tlnlp.registry import ModelVersion, Registry

MODEL = "moods"
ODD = ("<b>&", "$x_{$", "数字")


def made(classes: Sequence[str] = ODD, n: int = 30) -> dict[str, Any]:
    """Return a report of ``n`` texts per class. One text of each class is predicted as the next class."""
    k = len(classes)
    confusion = {label: dict.fromkeys(classes, 0) | {label: n - 1} for label in classes}
    for place, label in enumerate(classes):
        confusion[label][classes[(place + 1) % k]] += 1
    share = (n - 1) / n
    bins = [{"confidence": 0.55, "accuracy": 0.5, "n": 4}, {"confidence": 0.96, "accuracy": 1.0, "n": n * k - 4}]
    return {
        "cross_validation": {
            "n": n * k,
            "accuracy": share,
            "accuracy_interval": [0.9, 0.99],
            "macro_f1": share,
            "macro_f1_interval": [0.89, 0.99],
            "per_class": {label: {"precision": share, "recall": share, "f1": share, "n": n} for label in classes},
            "confusion": confusion,
        },
        "calibration": {"ece_before": 0.12, "ece_after": 0.031, "bins_before": bins, "bins_after": bins},
        "baselines": {
            "ngram": _baseline(0.7, [0.11, 0.37]),
            "frozen_encoder": _baseline(0.93, [-0.013, 0.07], "undecided"),
        },
        "learning_curve": {
            "points": [
                {"labels": m, "accuracy": a, "low": a - 0.1, "high": a + 0.05} for m, a in ((20, 0.7), (40, 0.8))
            ],
            "more": {"labels": 100, "gain": 0.042, "low": 0.01, "high": 0.08},
        },
        "suspected_faults": [
            {
                "file": "labels/<i>.csv",
                "row": row,
                "label": classes[0],
                "text_sha256": f"{row:064}",
                "predicted": classes[1],
                "probability": probability,
            }
            for row, probability in ((17, 0.981), (4, 0.93))
        ],
        "false_alarm_share": 0.05,
        "scoring": {
            "profile": "ctranslate2-int8+safe",
            "engines": [
                _engine("onnx-fp32", 25.0, 0),
                _engine("ctranslate2-int8", 75.0, 2),
            ],
            "cascade": {
                "safe": {
                    "limit": 0.005,
                    "documents": 1000,
                    "tested": 2000,
                    "settled_share": 0.71,
                    "changed": 4,
                    "bound": 0.0046,
                    "expected_accuracy_cost": 0.0004,
                }
            },
        },
        "rounds": [
            {"round": 1, "what": "encoder & head", "expected": 0.83, "seconds": 120.0},
            {"round": 2, "what": "both <views>", "expected": 0.86, "seconds": 30.0},
        ],
        "pool": {"documents": 25000, "read": 8000, "labelled_inside": 12},
    }


def _baseline(accuracy: float, interval: list[float], verdict: str = "better") -> dict[str, Any]:
    return {
        "accuracy": accuracy,
        "accuracy_interval": [accuracy - 0.05, accuracy + 0.04],
        "macro_f1": accuracy,
        "verdict": verdict,
        "difference": sum(interval) / 2,
        "difference_interval": interval,
    }


def registered(folder: Path, training: dict[str, Any]) -> tuple[Registry, ModelVersion]:
    """Return a registry with one version, the champion, whose bundle holds only what a report needs."""
    bundle = folder / "bundle"
    bundle.mkdir(parents=True)
    for name in REQUIRED:  # A report reads only one of the files.
        (bundle / name).write_bytes(b"")
    (bundle / "training.json").write_text(json.dumps(training))
    seal(bundle)
    registry = Registry(str(folder / "registry"))
    version = registry.publish(MODEL, bundle)
    registry.set_champion(MODEL, version.version, expected=None, by="ada", reason="first")
    return registry, version


def _engine(name: str, rate: float, changed: int) -> dict[str, Any]:
    return {
        "engine": name,
        "texts": 400,
        "documents_per_s": rate,
        "changed": changed,
        "changed_share_bound": 0.0157,
        "mean_difference": 0.0012,
        "largest_difference": 0.034,
        "refused": None,
    }
