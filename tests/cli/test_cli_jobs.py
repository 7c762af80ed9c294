"""The scripts in ``jobs/``, which clusters run, have the keys, results and exit codes of the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import kit
import pytest
from cli_kit import MODEL, ROOT, documents, process, tlnlp

JOBS = ROOT / "jobs"


@pytest.fixture
def folder(registry: Path, labels: Path, tmp_path: Path) -> Path:
    """A folder with a registry, labels and documents of its own."""
    shutil.copytree(registry, tmp_path / "registry")
    shutil.copy(labels, tmp_path / "labels.jsonl")
    kit.write_jsonl(tmp_path / "documents.jsonl", documents(5))
    return tmp_path


def test_score_as_a_script_from_a_folder_of_ones_own(folder: Path) -> None:
    (folder / "night.yaml").write_text(
        f"documents: documents.jsonl\nregistry: registry\nwarehouse: wrong\nmodel: {MODEL}\n"
        "score_date: 2026-11-23\nspark: {master: 'local[1]', driver_memory: 1g}\n"
    )
    result = process(str(JOBS / "score.py"), "--config", "night.yaml", "--set", "warehouse=ware house", cwd=folder)
    assert result.code == 0, result.err
    assert len(result.out.splitlines()) == 1
    counts = result.json
    assert (counts["rows_in"], counts["rows_scored"]) == (5, 5)
    assert "published 5 rows of 2026-11-23" in result.err
    assert not (folder / "wrong").exists()
    counted = tlnlp("query", "select count(*) n from scores", "--json", warehouse=folder / "ware house").json
    assert counted == [{"n": 5}]
    (file,) = (folder / "ware house" / "ledgers").iterdir()
    ledger = json.loads(file.read_text())
    assert ledger["config"]["spark"]["master"] == "local[1]"
    assert {"process_bytes", "largest_child_bytes"} <= ledger["peak_memory"].keys()


def test_promote_as_a_script(folder: Path) -> None:
    common = ("--set", "registry=registry", "--set", "labels=labels.jsonl")
    result = process(str(JOBS / "promote.py"), "--set", f"model={MODEL}@2", *common, cwd=folder)
    assert result.code == 0, result.err
    assert (result.json["version"], result.json["previous"], result.json["decision"]) == (2, 1, "promoted")
    again = process(str(JOBS / "promote.py"), "--set", f"model={MODEL}@2", *common, cwd=folder)
    assert again.code == 0, again.err
    assert (again.json["version"], again.json["decision"]) == (2, "unchanged")


@pytest.mark.parametrize(
    ("job", "arguments", "code", "says"),
    [
        ("score.py", ["--set", "documentz=x"], 2, "did you mean 'documents'?"),
        ("score.py", ["--set", "documents=documents.jsonl"], 2, "'score_date' is not set"),
        ("score.py", ["--sett", "a=b"], 2, "No such option"),
        ("finetune.py", ["--set", "labels=none.csv", "--set", "registry=registry"], 3, "nothing is there"),
        ("promote.py", ["--set", "model=nobody", "--set", "registry=registry"], 2, "no model 'nobody'"),
        ("promote.py", ["--set", "model=nobody", "--set", "registry=registry", "--debug"], 2, "Traceback"),
    ],
)
def test_mistakes_have_the_same_codes(folder: Path, job: str, arguments: list[str], code: int, says: str) -> None:
    result = process(str(JOBS / job), *arguments, cwd=folder)
    assert result.code == code, result.err
    assert says in result.err
    assert ("Traceback" in result.err) == (says == "Traceback")
    assert result.out == ""
