"""`tlnlp report`: it writes the page of a version, and fails where the version has no report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from report_kit import MODEL, made, registered

from tlnlp.cli.commands import cli
from tlnlp.data.text import text_sha256
from tlnlp.runs.ledger import Ledger

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
    shown = dict(re.split(r"  +", line, maxsplit=1) for line in result.stdout.splitlines())
    assert shown["better than"] == "ngram"
    assert shown["cannot be distinguished from"] == "frozen encoder"
    assert shown["labels to check"].startswith("Check 2 labels of 90:")
    assert "at most 5 are listed by mistake" in shown["labels to check"]
    assert shown["more labels"].startswith("100 more labels would raise accuracy by 4.2 points")
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


def test_texts_are_shown_on_request_alone_and_only_the_labelled_ones(tmp_path: Path) -> None:
    texts = ["Bread <b>still</b> warm.", "Cold soup again.", "The lift is broken."]
    (tmp_path / "my.csv").write_text("body,label\n" + "".join(f"{text},x\n" for text in texts))
    (tmp_path / "other.jsonl").write_text(json.dumps({"body": texts[2]}) + "\n")
    report = made()
    fault = report["suspected_faults"][0]
    report["suspected_faults"] = [
        fault | {"file": f"file://{tmp_path}/{name}", "row": row, "text_sha256": text_sha256(text)}
        for name, row, text in (
            ("my.csv", 1, texts[0]),
            ("my.csv", 2, "Another text was labelled here."),
            ("my.csv", 9, texts[0]),
            ("gone.csv", 1, texts[0]),
        )
    ]
    # A version of an older tlnlp knows which texts it was trained on, but not in which rows they stood.
    report["suspected_faults"] += [
        {key: value for key, value in one.items() if key != "text_sha256"}
        for one in (fault | {"file": f"file://{tmp_path}/other.jsonl", "row": 1}, report["suspected_faults"][1])
    ]
    registry, version = registered(tmp_path, TRAINING | {"report": report, "text_sha256": [text_sha256(texts[2])]})
    ledger = Ledger("finetune", "finetune-1", {"text_column": "body"})
    with ledger.recorded(lambda finished: registry.write_ledger(version.name, finished)):
        pass
    plain, full = tmp_path / "plain", tmp_path / "full"
    assert tlnlp(tmp_path, MODEL, "--out", str(plain)).exit_code == 0
    result = tlnlp(tmp_path, MODEL, "--out", str(full), "--with-texts")
    assert result.exit_code == 0, result.stderr
    assert "the page shows 2 of 6 texts" in result.stdout
    without, page = ((folder / "report.html").read_text(encoding="utf-8") for folder in (plain, full))
    assert "warm." in page
    assert "Bread &lt;b&gt;still&lt;/b&gt; warm." in page
    assert "The lift is broken." in page
    assert page.count("This row holds another text than the one that was labelled.") == 2
    assert page.count("The file has no such row now.") == 1
    assert page.count("The file cannot be read now.") == 1
    assert "Cold soup" not in page + result.output
    assert not [text for text in ("warm.", "lift is") if text in without + result.output]


def test_texts_are_read_as_the_files_of_the_labels_are_written(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("The lift is broken.;slow\n", encoding="utf-8")
    suspect = made()["suspected_faults"][0] | {
        "file": f"file://{tmp_path}/labels.txt",
        "row": 1,
        "text_sha256": text_sha256("The lift is broken."),
    }
    registry, version = registered(tmp_path, TRAINING | {"report": made() | {"suspected_faults": [suspect]}})
    written = {"text_column": "_c0", "format": "csv", "csv": {"header": False, "delimiter": ";"}}
    with Ledger("finetune", "finetune-1", written).recorded(lambda done: registry.write_ledger(version.name, done)):
        pass
    result = tlnlp(tmp_path, MODEL, "--out", str(tmp_path / "out"), "--with-texts")
    assert result.exit_code == 0, result.stderr
    assert "the page shows 1 of 1 text" in result.stdout


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
