"""The page of a night as one file: it loads nothing, stays small, and shows hostile values as text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import html_kit
import pytest
from explore_kit import FIRST, THIRD, row
from nights_kit import publish

from tlnlp.cli.commands import cli
from tlnlp.config import ReportSettings
from tlnlp.errors import NotFoundError, StorageError, UsageError
from tlnlp.explore.night_file import LARGEST, report_night

HOSTILE = "<script>alert(1)</script>"


def written(warehouse: Path, out: Path, **changes: object) -> str:
    """Write the file of a night, and return it without its style sheet."""
    result = report_night(ReportSettings(warehouse=str(warehouse), labels=str(out.parent), **changes), str(out))
    assert result.page == out
    assert result.bytes == out.stat().st_size <= LARGEST
    page = out.read_text()
    assert "<style>" in page
    return re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


def test_a_night_is_one_file(warehouse: Path, tmp_path: Path) -> None:
    page = written(warehouse, tmp_path / "night.html", rows=5)
    assert f"Night of {THIRD}" in page
    assert html_kit.faults(page) == []
    for tag in ("<a ", "<link", "<script", "<img", "http"):
        assert tag not in page.replace("http-equiv", "")
    listed = page[page.index("most doubtful") :]
    assert re.findall(r'<th scope="row">\s*(d\d+)</th>', listed)[:5] == [f"d{number:03}" for number in range(5)]
    assert "null_text" in page
    assert "conflicting_id" in page


def test_an_earlier_night(warehouse: Path, tmp_path: Path) -> None:
    assert f"Night of {FIRST}" in written(warehouse, tmp_path / "night.html", score_date=FIRST)
    with pytest.raises(NotFoundError, match="no night of 2020-01-01"):
        written(warehouse, tmp_path / "night.html", score_date="2020-01-01")


def test_hostile_and_long_values(tmp_path: Path) -> None:
    texts = {"label": HOSTILE, "stage": HOSTILE, "probabilities": [(HOSTILE, 1.0)]}
    rows = [row(number, document_id=f"{HOSTILE}{number}", **texts) for number in range(300)]
    publish(tmp_path, FIRST, rows, rejected=(HOSTILE,))
    page = written(tmp_path, tmp_path / "out" / "night.html")
    assert html_kit.faults(page) == []
    assert "&lt;script&gt;" in page


def test_a_file_that_cannot_be_written(warehouse: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="name another with --out"):
        report_night(ReportSettings(warehouse=str(warehouse)), str(tmp_path / "file" / "night.html"))


def test_the_command(warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "night.html"
    cli(["report", "--night", "--json", "--set", f"warehouse={warehouse}", "--out", str(out)], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert found["page"] == str(out)
    assert found["rows"] == 120


@pytest.mark.parametrize("arguments", [["report"], ["report", "moods", "--night"]])
def test_a_report_is_of_a_model_or_of_a_night(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((UsageError, SystemExit)):
        cli(arguments, standalone_mode=False)
    assert "name a MODEL, or give --night" in capfd.readouterr().err
