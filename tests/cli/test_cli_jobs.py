"""``jobs/*.py``, what clusters run: the same keys, results and exit codes as the command."""

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
    shutil.copytree(registry, tmp_path / "registry")
    shutil.copy(labels, tmp_path / "labels.jsonl")
    kit.write_jsonl(tmp_path / "documents.jsonl", documents(5))
    return tmp_path


def test_score_as_a_script_from_a_folder_of_ones_own(folder: Path) -> None:
    (folder / "night.yaml").write_text(
        f"documents: documents.jsonl\nregistry: registry\nwarehouse: wrong\nmodel: {MODEL}\n"
        "score_date: 2026-11-23\nspark: {master: 'local[1]', driver_memory: 1g}\n"
    )
    told = process(str(JOBS / "score.py"), "--config", "night.yaml", "--set", "warehouse=ware house", cwd=folder)
    assert told.code == 0, told.err
    assert len(told.out.splitlines()) == 1
    result = told.json
    assert (result["rows_in"], result["rows_scored"]) == (5, 5)
    assert "published 5 rows of 2026-11-23" in told.err
    assert not (folder / "wrong").exists()
    counted = tlnlp("query", "select count(*) n from scores", "--json", warehouse=folder / "ware house").json
    assert counted == [{"n": 5}]
    (ledger,) = (folder / "ware house" / "ledgers").iterdir()
    kept = json.loads(ledger.read_text())
    assert kept["config"]["spark"]["master"] == "local[1]"
    assert {"process_bytes", "largest_child_bytes"} <= kept["peak_memory"].keys()


def test_promote_as_a_script(folder: Path) -> None:
    common = ("--set", "registry=registry", "--set", "labels=labels.jsonl")
    told = process(str(JOBS / "promote.py"), "--set", f"model={MODEL}@2", *common, cwd=folder)
    assert told.code == 0, told.err
    assert (told.json["version"], told.json["previous"], told.json["decision"]) == (2, 1, "promoted")
    again = process(str(JOBS / "promote.py"), "--set", f"model={MODEL}@2", *common, cwd=folder)
    assert (again.code, again.out) == (5, "")
    assert "Traceback" not in again.err


@pytest.mark.parametrize(
    ("job", "arguments", "code", "says"),
    [
        ("score.py", ["--set", "documentz=x"], 2, "did you mean 'documents'?"),
        ("score.py", ["--set", "documents=documents.jsonl"], 2, "'score_date' is not set"),
        ("score.py", ["--sett", "a=b"], 2, "unrecognized arguments"),
        ("finetune.py", ["--set", "labels=none.csv", "--set", "registry=registry"], 3, "nothing is there"),
        ("promote.py", ["--set", "model=nobody", "--set", "registry=registry"], 6, "no model 'nobody'"),
        ("promote.py", ["--set", "model=nobody", "--set", "registry=registry", "--debug"], 6, "Traceback"),
    ],
)
def test_mistakes_have_the_same_codes(folder: Path, job: str, arguments: list[str], code: int, says: str) -> None:
    told = process(str(JOBS / job), *arguments, cwd=folder)
    assert told.code == code, told.err
    assert says in told.err
    assert ("Traceback" in told.err) == (says == "Traceback")
    assert told.out == ""
