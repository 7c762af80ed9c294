"""`tlnlp report`: it writes the page of a version, and fails where the version has no report."""

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
    result = tlnlp(tmp_path, MODEL, "--json")
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    assert document == {
        "model": MODEL,
        "version": 1,
        "page": document["page"],
        "pictures": document["pictures"],
        **made(),
    }
    assert document["page"] == f"report-{MODEL}-1/report.html"
    assert len(document["pictures"]) == 6
    assert all(Path(name).stat().st_size > 0 for name in [document["page"], *document["pictures"]])
    page = Path(document["page"]).read_text(encoding="utf-8")
    assert "<dt>labels</dt><dd>90</dd>" in page
    assert "<dt>run</dt><dd>finetune-1</dd>" in page
    assert "ab" not in {part.strip() for part in page.split(">")}


def test_a_terminal_shows_facts_and_warnings(tmp_path: Path) -> None:
    registered(tmp_path, TRAINING | {"report": made()})
    result = tlnlp(tmp_path, f"{MODEL}@1", "--out", str(tmp_path / "here"))
    assert result.exit_code == 0, result.stderr
    assert "87 of 90 held-out labels" in result.stdout
    assert "frozen encoder" in result.stdout
    assert "went on to learn from unlabelled documents" in " ".join(result.stdout.split())
    assert (tmp_path / "here" / "report.html").is_file()


@pytest.mark.parametrize(
    "training", [TRAINING, TRAINING | {"report": None}, TRAINING | {"report": {}}, {"report": [1]}]
)
def test_a_version_without_a_report(training: dict[str, Any], tmp_path: Path) -> None:
    registered(tmp_path, training)
    result = tlnlp(tmp_path, MODEL, "--out", str(tmp_path / "out"))
    assert result.exit_code == 4
    assert f"{MODEL}@1 was made without a report" in result.stderr
    assert "fine-tune again (tlnlp finetune)" in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_altered_or_missing_file_is_refused(tmp_path: Path) -> None:
    registered(tmp_path, TRAINING | {"report": made()})
    path = tmp_path / "registry" / MODEL / "versions" / "1" / "training.json"
    path.write_text(json.dumps(TRAINING | {"report": made(n=31)}))
    result = tlnlp(tmp_path, MODEL, "--out", str(tmp_path / "out"))
    assert (result.exit_code, "training.json was altered" in result.stderr) == (4, True)
    path.write_text("{")
    assert tlnlp(tmp_path, MODEL).exit_code == 4
    path.unlink()
    result = tlnlp(tmp_path, MODEL)
    assert (result.exit_code, "training.json is missing" in result.stderr) == (4, True)


def test_no_such_model_or_version(tmp_path: Path) -> None:
    registered(tmp_path, TRAINING)
    assert tlnlp(tmp_path, "nobody").exit_code == 2
    assert tlnlp(tmp_path, f"{MODEL}@7").exit_code == 2
    assert tlnlp(tmp_path, "Not A Name").exit_code == 2
