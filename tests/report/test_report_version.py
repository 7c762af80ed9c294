"""`tlnlp report`: from a version in a registry to its page, and what it says where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from report_kit import MODEL, made, registered

from tlnlp.cli.commands import cli

TRAINING = {"run_id": "finetune-1", "counts": {"<b>&": 30, "$x_{$": 30, "数字": 30}, "seed": 7, "text_sha256": ["ab"]}


def tlnlp(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["report", *arguments, "--set", f"registry={folder / 'registry'}"])


def test_the_page_of_a_champion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered(tmp_path, TRAINING | {"report": made()})
    monkeypatch.chdir(tmp_path)
    told = tlnlp(tmp_path, MODEL, "--json")
    assert told.exit_code == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    assert found == {"model": MODEL, "version": 1, "page": found["page"], "pictures": found["pictures"], **made()}
    assert found["page"] == f"report-{MODEL}-1/report.html"
    assert len(found["pictures"]) == 6
    assert all(Path(name).stat().st_size > 0 for name in [found["page"], *found["pictures"]])
    page = Path(found["page"]).read_text(encoding="utf-8")
    assert "<dt>labels</dt><dd>90</dd>" in page
    assert "<dt>run</dt><dd>finetune-1</dd>" in page
    assert "ab" not in {part.strip() for part in page.split(">")}


def test_a_person_reads_facts_and_warnings(tmp_path: Path) -> None:
    registered(tmp_path, TRAINING | {"report": made()})
    told = tlnlp(tmp_path, f"{MODEL}@1", "--out", str(tmp_path / "here"))
    assert told.exit_code == 0, told.stderr
    assert "87 of 90 held-out labels" in told.stdout
    assert "frozen encoder" in told.stdout
    assert "12 of the 25,000 documents" in told.stdout
    assert (tmp_path / "here" / "report.html").is_file()


@pytest.mark.parametrize(
    "training", [TRAINING, TRAINING | {"report": None}, TRAINING | {"report": {}}, {"report": [1]}]
)
def test_a_version_without_a_report(training: dict[str, Any], tmp_path: Path) -> None:
    registered(tmp_path, training)
    told = tlnlp(tmp_path, MODEL, "--out", str(tmp_path / "out"))
    assert told.exit_code == 4
    assert f"{MODEL}@1 was made without a report" in told.stderr
    assert "Fine-tune again" in told.stderr
    assert not (tmp_path / "out").exists()


def test_an_altered_or_missing_file_is_refused(tmp_path: Path) -> None:
    registered(tmp_path, TRAINING | {"report": made()})
    path = tmp_path / "registry" / MODEL / "versions" / "1" / "training.json"
    path.write_text(json.dumps(TRAINING | {"report": made(n=31)}))
    told = tlnlp(tmp_path, MODEL, "--out", str(tmp_path / "out"))
    assert (told.exit_code, "training.json was altered" in told.stderr) == (4, True)
    path.write_text("{")
    assert tlnlp(tmp_path, MODEL).exit_code == 4
    path.unlink()
    told = tlnlp(tmp_path, MODEL)
    assert (told.exit_code, "training.json is missing" in told.stderr) == (4, True)


def test_no_such_model_or_version(tmp_path: Path) -> None:
    registered(tmp_path, TRAINING)
    assert tlnlp(tmp_path, "nobody").exit_code == 6
    assert tlnlp(tmp_path, f"{MODEL}@7").exit_code == 6
    assert tlnlp(tmp_path, "Not A Name").exit_code == 2
