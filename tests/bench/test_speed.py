"""Tests of the tables of speed, and of the peers' network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kit
import pytest
import speed_table
from speed_peers import matmul_peaks, sequence_classifier

PEERS = {
    "Hugging Face pipeline in a pandas UDF, one thread a task": 8.0,
    "Hugging Face pipeline in a pandas UDF, torch's own threads": 10.0,
    "Hugging Face pipeline in a pandas UDF, one thread a task, 6 layers": 20.0,
}


def results() -> dict[str, Any]:
    profile = {"profile": "ctranslate2-int8+safe", "accuracy": 0.925, "settled_share": 0.7}
    own = profile | {"whole_documents_per_s": 200.0}
    engines = {"tokens": 200.0, "onnx-fp32": 12.0, "ctranslate2-int8": 40.0, "n-grams": 5000.0, "tokenizer": 3000.0}
    found = {"documents": 4000, "peers": PEERS, "profiles": {"safe": own}, "engines": engines}
    return {"imdb": found | {"machine": {"cpu": "a processor", "cores": 2}, "peaks": {"fp32": 100.0, "int8": 400.0}}}


def test_ratios_are_to_the_better_pipeline_with_the_same_network() -> None:
    text = speed_table.tables(results())
    assert "| **tlnlp score, safe** (ctranslate2-int8+safe) | 100.0 | 20.0 | 92.5% | 70% |" in text
    assert "torch's own threads | 5.0 | 1.0 |" in text
    assert "6 layers | 10.0 | 2.0 |" in text
    # 40 texts of 200 tokens, 42.5 million operations each.
    assert "| ctranslate2-int8 | 40.0 | 340 against 400 GOP/s (int8) |" in text
    assert "4,000 test documents, on a processor, 2 cores" in text


def test_the_tables_take_the_place_of_the_ones_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{speed_table.BEGIN}\nold\n{speed_table.END}\nafter\n")
    monkeypatch.setattr(speed_table, "PAGE", page)
    speed_table.write_tables(results())
    text = page.read_text()
    assert text.startswith(f"before\n{speed_table.BEGIN}\n")
    assert text.endswith(f"{speed_table.END}\nafter\n")
    assert "old" not in text
    assert "20.0" in text


def test_a_peers_network_is_the_encoder_itself(tiny_encoder: Path, tmp_path: Path) -> None:
    from transformers import pipeline

    folder = sequence_classifier(tiny_encoder, 2, tmp_path / "peer")
    (found,) = pipeline("text-classification", model=str(folder), device=-1)(kit.texts(1))
    assert 0 < found["score"] < 1


def test_peaks_are_measured_for_each_precision() -> None:
    assert all(value > 0 for value in matmul_peaks().values())
