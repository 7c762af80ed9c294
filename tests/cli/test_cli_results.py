"""Each command prints one JSON document with ``--json``, and a table or a list of facts without it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import kit
import pytest
from cli_kit import MODEL, ROOT, CliResult, documents, tlnlp
from pyspark.sql import SparkSession

from tlnlp.cli.commands import cli

COMMANDS = [
    "demo", "encoders", "evaluate", "explain", "explore", "export", "finetune", "labels", "maintain", "models", "plan",
    "promote", "query", "queue", "report", "rollback", "runs", "score", "warehouse",
]  # fmt: skip


def test_the_commands_and_their_common_options() -> None:
    result = tlnlp("--help")
    assert result.code == 0
    assert sorted(cli.commands) == COMMANDS
    for name in COMMANDS:
        assert f"\n  {name} " in result.out
    inner = [["labels", "check"], ["warehouse", "ddl"], ["warehouse", "announce"], ["encoders", "fetch"]]
    for arguments in [[name] for name in COMMANDS if name not in ("labels", "warehouse")] + inner:
        shown = tlnlp(*arguments, "--help").out
        assert all(option in shown for option in ("--config", "--set", "--json", "--debug", "--workspace")), arguments
    assert tlnlp("--version").out.startswith("tlnlp")


def test_score(scored: tuple[Path, CliResult], registry: Path) -> None:
    found = scored[1].json
    wanted = {"rows_in": 10, "rows_scored": 10, "rows_reused": 0, "rows_duplicate": 0, "rows_quarantined": 0}
    assert {name: found[name] for name in wanted} == wanted
    assert (found["texts_scored"], found["model"], found["model_version"]) == (10, MODEL, 1)
    assert {"run_id", "documents_per_s", "seconds"} <= found.keys()
    assert found["documents_per_s"] > 0


def test_query(scored: tuple[Path, CliResult]) -> None:
    warehouse = scored[0] / "warehouse"
    counted = tlnlp("query", "select item, count(*) n from scores group by 1 order by 1", "--json", warehouse=warehouse)
    assert counted.json == [{"item": "boots", "n": 5}, {"item": "bread", "n": 5}]
    every = tlnlp("query", "select * from scores", "--json", warehouse=warehouse).json
    assert {row["score_date"] for row in every} == {"2026-11-23"}
    assert {tuple(row["probabilities"]) for row in every} == {kit.CLASSES}
    assert tlnlp("query", "select * from quarantine", "--json", warehouse=warehouse).json == []
    table = tlnlp("query", "select item, count(*) n from scores group by 1 order by 1", warehouse=warehouse)
    assert [line.split() for line in table.out.splitlines()] == [["item", "n"], ["boots", "5"], ["bread", "5"]]
    history = tlnlp("query", "select run_id, rows_in from history", "--json", warehouse=warehouse).json
    assert {"run_id": scored[1].json["run_id"], "rows_in": 10} in history


def test_runs(scored: tuple[Path, CliResult], registry: Path) -> None:
    places = {"warehouse": scored[0] / "warehouse", "registry": registry}
    by_id = {run["run_id"]: run for run in tlnlp("runs", "--json", **places).json}
    only = by_id[scored[1].json["run_id"]]
    assert (only["kind"], only["status"]) == ("score", "succeeded")
    assert only["counts"]["rows_scored"] == 10
    assert {"config", "versions", "stages", "peak_memory", "inputs"} <= only.keys()
    assert only["run_id"] in tlnlp("runs", **places).out


def test_models(registry: Path) -> None:
    found = tlnlp("models", "--json", registry=registry).json
    assert [(row["model"], row["version"], row["champion"]) for row in found] == [(MODEL, 1, True), (MODEL, 2, False)]
    assert all(row["uri"].startswith("file://") and row["size_bytes"] > 0 for row in found)
    assert len(tlnlp("models", registry=registry).out.splitlines()) == 3
    assert tlnlp("models", "--json", registry=registry / "empty").json == []


def test_labels_check(labels: Path, tmp_path: Path) -> None:
    found = tlnlp("labels", "check", str(labels), "--json").json
    assert (found["rows"], found["faults"]) == (300, [])
    assert found["labels"] == {"negative": 150, "positive": 150}
    rows = [*kit.labelled(20), {"id": "x", "text": "", "label": "positive"}, {"id": "y", "text": "fine", "label": ""}]
    faulty = kit.write_jsonl(tmp_path / "faulty.jsonl", rows)
    result = tlnlp("labels", "check", str(faulty), "--json")
    assert result.code == 3
    assert [(fault["row"], fault["kind"]) for fault in json.loads(result.out)["faults"]] == [
        (21, "empty text"),
        (22, "empty label"),
    ]
    shown = tlnlp("labels", "check", str(faulty))
    assert shown.code == 3
    assert "row 21: empty text" in shown.err
    # The config of finetune says where its labels and columns are.
    config = ("--config", str(ROOT / "conf" / "finetune.yaml"))
    assert tlnlp("labels", "check", str(labels), *config, "--json").json == found


def test_labels_check_prints_warnings(tmp_path: Path) -> None:
    rows = [row | {"label": row["label"].replace("pos", "Pos")} for row in kit.labelled(24)]
    rows += [row | {"text": f"again: {row['text']}"} for row in kit.labelled(24)]
    given = str(kit.write_jsonl(tmp_path / "a.jsonl", rows))
    wanted = "the classes 'Positive' (12 labels) and 'positive' (12 labels) differ in case, blanks or Unicode form only"
    found = tlnlp("labels", "check", given, "--json")
    assert [warning.startswith(wanted) for warning in found.json["warnings"]] == [True]
    assert found.err == ""
    shown = tlnlp("labels", "check", given)
    assert shown.code == 0
    assert "warnings  1" in shown.out
    assert f"a.jsonl: warning: {wanted}" in shown.err


def test_labels_check_refuses_lists_and_spellings(tmp_path: Path) -> None:
    lists = kit.write_jsonl(tmp_path / "lists.jsonl", [row | {"label": [row["label"]]} for row in kit.labelled(20)])
    shown = tlnlp("labels", "check", str(lists))
    assert shown.code == 3
    assert "row 1: several labels: a list of labels; several labels of one text (multi-label) are not" in shown.err
    rows = [
        {"text": text + end, "label": "ab"[n % 2]} for n, text in enumerate(kit.texts(12)) for end in ("", " ", "\n")
    ]
    result = tlnlp("labels", "check", str(kit.write_jsonl(tmp_path / "spellings.jsonl", rows)), "--json")
    assert result.code == 3
    assert [fault["kind"] for fault in json.loads(result.out)["faults"]] == ["duplicate"] * 24
    assert json.loads(result.out)["labels"] == {"a": 6, "b": 6}
    long = [{"text": f"{'warm ' * 50}{n}{' bread' * 50}", "label": "ab"[n % 2]} for n in range(12)]
    path = str(kit.write_jsonl(tmp_path / "long.jsonl", long))
    assert tlnlp("labels", "check", path).code == 0
    assert "conflicting labels" in tlnlp("labels", "check", path, max_chars=200).err


def test_evaluate(registry: Path, labels: Path) -> None:
    found = tlnlp("evaluate", f"{MODEL}@champion", "--json", registry=registry, labels=labels).json
    assert (found["model"], found["version"], found["n"], found["trained_on"]) == (MODEL, 1, 300, 0)
    assert 0 <= found["accuracy"] <= 1
    assert {"macro_f1", "ece", "confusion"} <= found.keys()
    low, high = found["accuracy_interval"]
    assert 0 <= low < found["accuracy"] < high <= 1
    shown = tlnlp("evaluate", MODEL, registry=registry, labels=labels)
    assert "accuracy interval" in shown.out
    _, table = shown.out.split("Labels (rows) by predicted class (columns)\n")
    assert [line.split() for line in table.splitlines()] == [
        ["negative", "positive"],
        *([label, *(str(n) for n in row.values())] for label, row in found["confusion"].items()),
    ]
    assert "warning" not in shown.err


def test_promote_and_rollback(registry: Path, labels: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(registry, tmp_path / "registry"))
    moved = tlnlp("promote", f"{MODEL}@2", "--json", registry=own, labels=labels).json
    assert (moved["model"], moved["version"], moved["previous"], moved["decision"]) == (MODEL, 2, 1, "promoted")
    assert moved["reasons"]
    assert moved["comparison"]["difference"] == 0
    back = tlnlp("rollback", MODEL, "--json", registry=own).json
    assert (back["model"], back["version"]) == (MODEL, 1)
    forced = tlnlp("promote", f"{MODEL}@2", "--force", "--reason", "it knows new words", "--json", registry=own).json
    assert forced["version"] == 2
    assert "it knows new words" in forced["reasons"][0]
    assert tlnlp("rollback", MODEL, registry=own).code == 0


def test_paths_are_those_of_the_current_folder_and_the_default_day_is_printed(
    spark: SparkSession, registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kit.write_jsonl(tmp_path / "in" / "documents.jsonl", documents(3))
    shutil.copytree(registry, tmp_path / "space" / "registry")
    result = tlnlp("score", "--workspace", "space", "--json", documents="in/documents.jsonl", model=MODEL)
    assert result.json["rows_scored"] == 3
    assert f"score_date is not set: the day is today, {result.json['score_date']} (UTC)" in result.err
    assert (tmp_path / "space" / "warehouse" / "catalog").is_dir()
    shutil.copytree(registry, tmp_path / ".tlnlp" / "registry")
    # The same with paths in a config file: they are relative to the current folder, not to the folder of the file.
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "score.yaml").write_text(
        f"documents: in/documents.jsonl\nmodel: {MODEL}\nscore_date: 2026-11-20\ntable: other\n"
    )
    result = tlnlp("score", "--config", "deeper/score.yaml", "--json", table="third", max_bytes="5000")
    assert (result.json["table"], result.json["score_date"]) == ("third", "2026-11-20")
    assert "score_date is not set" not in result.err
    assert tlnlp("query", "select count(*) n from third", "--json").json == [{"n": 3}]
