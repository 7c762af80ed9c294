"""Labels set aside by ``finetune`` are those on which ``promote`` compares the next version with the champion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kit
from cli_kit import tlnlp

from tlnlp.registry import Registry
from tlnlp.registry.training import read_training

ROWS = [{"body": row["text"], "topic": row["label"]} for row in kit.labelled(140, 21)]


def settings(folder: Path, encoder: Path, rows: list[dict[str, Any]], **more: object) -> dict[str, object]:
    """Return settings of a run that takes a second, on labels with columns of other names."""
    return {
        "labels": kit.write_jsonl(folder / f"labels-{len(rows)}.jsonl", rows), "text_column": "body",
        "label_column": "topic", "registry": folder / "registry", "model": "tickets", "encoder": encoder,
        "max_length": 32, "training.moves": "never",
    } | more  # fmt: skip


def promote(folder: Path, *arguments: str, **more: object) -> Any:
    columns = {"text_column": "body", "label_column": "topic", "min_labels": 10, "margin": 0.5}
    return tlnlp("promote", "tickets", *arguments, registry=folder / "registry", **columns | more)


def test_the_second_promotion_uses_the_labels_that_were_set_aside(tiny_encoder: Path, tmp_path: Path) -> None:
    canary = ROWS[0]["body"]
    for count in (80, 140):
        made = tlnlp("finetune", "--json", **settings(tmp_path, tiny_encoder, ROWS[:count], held_out_share=0.3))
        assert made.json["labels"] + made.json["labels_held_out"] == count
        assert f"{made.json['labels_held_out']} of {count} are set aside" in made.err
        assert canary not in made.err
        file = Path(made.json["held_out_uri"].removeprefix("file://"))
        held_out = [json.loads(line) for line in file.read_text().splitlines()]
        assert len(held_out) == made.json["labels_held_out"] > 10
        assert all(row in ROWS[:count] for row in held_out)
        trained = read_training(Registry(str(tmp_path / "registry")).resolve(f"tickets@{made.json['version']}"))
        assert len(trained["text_sha256"]) == made.json["labels"]
        promoted = promote(tmp_path, "--json")
        assert promoted.json["version"] == made.json["version"]
    assert promoted.json["comparison"]["n"] == len(held_out)
    assert "labels: those that were set aside when tickets@2 was trained" in promoted.err
    # The same labels, given by hand: neither version has learned from one of them.
    found = tlnlp(
        "evaluate", "tickets@1", "--json", registry=tmp_path / "registry", labels=made.json["held_out_uri"],
        text_column="body", label_column="topic",
    ).json  # fmt: skip
    assert (found["n"], found["trained_on"]) == (len(held_out), 0)


def test_without_a_share_nothing_is_set_aside_and_promote_says_how(tiny_encoder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        made = tlnlp("finetune", "--json", **settings(tmp_path, tiny_encoder, ROWS[:40]))
        assert (made.json["labels"], made.json["labels_held_out"], made.json["held_out_uri"]) == (40, 0, None)
    assert not (tmp_path / "registry" / "tickets" / "held_out").exists()
    assert tlnlp("promote", "tickets@1", registry=tmp_path / "registry").code == 0
    refused = promote(tmp_path)
    assert refused.code == 2
    assert "tlnlp finetune --set held_out_share=0.2 sets such labels aside" in refused.err


def test_too_few_labels_to_learn_from_are_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    result = tlnlp("finetune", **settings(tmp_path, tiny_encoder, ROWS[:12], held_out_share=0.6))
    assert result.code == 2
    assert "held_out_share=0.6 leaves " in result.err
    assert "fewer than min_per_class=5" in result.err


def test_finetune_prints_warnings_about_the_classes(tiny_encoder: Path, tmp_path: Path) -> None:
    rows = [row | {"topic": row["topic"].title()} if place < 24 else row for place, row in enumerate(ROWS[:60])]
    made = tlnlp("finetune", "--json", **settings(tmp_path, tiny_encoder, rows, held_out_share=0.2))
    first, second = made.json["warnings"]
    assert first.startswith("the classes 'Negative' (12 labels) and 'negative' (18 labels) differ in case")
    assert second.startswith("the classes 'Positive' (12 labels) and 'positive' (18 labels) differ in case")
    assert f"labels: warning: {first}" in made.err
