"""`tlnlp explain`: a text given, on stdin or in a file of documents; JSON, a table, and a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kit
import pytest
from cli_kit import MODEL, process, tlnlp
from click.testing import CliRunner

from tlnlp.cli.commands import cli
from tlnlp.model.classifier import Classifier
from tlnlp.model.evidence import MOST_SENTENCES, explain

TEXT = "Good bread was warm. The ferry was cold! Never bad, it was a fine night."
KEYS = {
    "model", "version", "scored_by", "document_id", "label", "explained", "probabilities", "views", "stage",
    "unmeasured", "sentences",
}  # fmt: skip


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows: list[dict[str, Any]] = [
        {"key": 1, "body": TEXT}, {"key": 2, "body": "Cold."}, {"key": 2, "body": "Warm."}, {"key": 3, "body": None},
        {"key": 4, "body": " "},
    ]  # fmt: skip
    return kit.write_jsonl(tmp_path_factory.mktemp("explain") / "documents.jsonl", rows)


def by_stdin(registry: Path, data: bytes, *arguments: str) -> Any:
    given = ["explain", MODEL, "--set", f"registry={registry}", *arguments]
    return CliRunner().invoke(cli, given, input=data, prog_name="tlnlp")


def test_a_text_from_everywhere_gives_the_same_json(registry: Path, documents: Path, tiny_bundle: Path) -> None:
    given = tlnlp("explain", MODEL, "--text", TEXT, "--json", registry=registry).json
    assert given.keys() == KEYS
    assert (given["model"], given["version"], given["document_id"]) == (MODEL, 1, None)
    assert given["scored_by"].startswith("onnx-fp32@")
    expected = explain(Classifier.load(tiny_bundle), TEXT).to_json()
    assert {key: given[key] for key in expected} == json.loads(json.dumps(expected))
    assert [TEXT[one["start"] : one["end"]] for one in given["sentences"]] == [
        one["text"] for one in given["sentences"]
    ]
    assert json.loads(by_stdin(registry, TEXT.encode(), "--json").stdout) == given
    places = {"documents": documents, "id_column": "key", "text_column": "body", "registry": registry}
    assert tlnlp("explain", MODEL, "--id", "1", "--json", **places).json == given | {"document_id": "1"}


def test_the_file_of_a_night_serves(registry: Path, documents: Path, tmp_path: Path) -> None:
    night = tmp_path / "night.yaml"
    night.write_text(f"documents: {documents}\nid_column: key\ntext_column: body\nregistry: {registry}\ntable: t\n")
    found = tlnlp("explain", f"{MODEL}@2", "--id", "1", "--config", str(night), "--json").json
    assert (found["version"], len(found["sentences"])) == (2, 3)


def test_the_table_ranks_the_sentences(registry: Path) -> None:
    for label in kit.CLASSES:
        shown = tlnlp("explain", MODEL, "--text", TEXT, "--label", label, registry=registry)
        given = tlnlp("explain", MODEL, "--text", TEXT, "--label", label, "--json", registry=registry).json
        ranked = sorted(given["sentences"], key=lambda one: -one["log_odds"])
        lines = shown.out.splitlines()
        (start,) = [number for number, line in enumerate(lines) if line.startswith("probability log-odds")]
        for line, one in zip(lines[start + 1 :], ranked, strict=True):
            assert line.endswith(one["text"])
            assert line.split()[:2] == [f"{one['contribution']:+.3f}", f"{one['log_odds']:+.2f}"]
            assert ("+" if one["log_odds"] > 0 else "-") * 2 in line or abs(one["log_odds"]) < 0.2 * max(
                abs(other["log_odds"]) for other in ranked
            )
        assert f"What each sentence contributes to {label}" in shown.out
        assert shown.err == ""


def test_what_was_not_read_and_not_measured_is_said(registry: Path) -> None:
    text = " ".join(f"The bread n{number} was good." for number in range(40))
    found = tlnlp("explain", MODEL, "--text", text, "--sentences", "3", "--json", registry=registry).json
    assert found["unmeasured"] > 3
    shown = tlnlp("explain", MODEL, "--text", text, "--sentences", "3", registry=registry).out
    assert shown.count("not measured") == found["unmeasured"]
    assert shown.count(" unread ") == sum(one["read"] == "unread" for one in found["sentences"]) > 3


def test_data_stays_as_it_is_and_a_terminal_is_not_obeyed(registry: Path) -> None:
    text = "See https://ada:pier@example.org now. Warm \x1b[31mbread\x1b[0m."
    result = tlnlp("explain", MODEL, "--text", text, "--json", registry=registry)
    assert result.json["sentences"][0]["text"] == "See https://ada:pier@example.org now."
    shown = tlnlp("explain", MODEL, "--text", text, registry=registry).out
    assert "\x1b" not in result.out + shown
    assert "\\x1b[31mbread" in shown


def test_no_text_is_in_a_message(registry: Path, documents: Path, tmp_path: Path) -> None:
    places = {"documents": documents, "id_column": "key", "text_column": "body", "registry": registry}
    for document_id, says in (
        ("2", "the id '2' has 2 different texts"),
        ("3", "is in no row that has a text"),
        ("5", "the id '5' is in no row"),
    ):
        result = tlnlp("explain", MODEL, "--id", document_id, **places)
        assert (result.code, result.out) == (3, "")
        assert says in result.err
        assert not {"Cold", "Warm"} & set(result.err.replace(".", " ").split())
    blank = tlnlp("explain", MODEL, "--id", "4", "--json", **places)
    assert blank.json["sentences"] == []
    assert "the text is blank: a night would not score it" in blank.err
    ok = process(
        "-m", "tlnlp", "explain", MODEL, "--text", TEXT, "--json", "--set", f"registry={registry}", cwd=tmp_path
    )
    assert ok.code == 0
    assert ok.err == ""


def test_help_has_the_default_of_the_library() -> None:
    (option,) = [one for one in cli.commands["explain"].params if one.name == "most_sentences"]
    assert option.default == MOST_SENTENCES


def test_wrong_calls_are_refused(registry: Path, documents: Path) -> None:
    both = tlnlp("explain", MODEL, "--text", "x", "--id", "1", registry=registry)
    assert (both.code, both.err) == (2, "tlnlp: --text and --id exclude each other: give one of the two\n")
    missing = tlnlp("explain", MODEL, "--id", "1", registry=registry)
    assert (missing.code, "'documents' is not set" in missing.err) == (2, True)
    unknown = tlnlp("explain", MODEL, "--text", TEXT, "--label", "positiv", registry=registry)
    assert (unknown.code, "did you mean 'positive'?" in unknown.err) == (2, True)
    assert by_stdin(registry, b"caf\xe9").exit_code == 3
    column = tlnlp("explain", MODEL, "--id", "1", documents=documents, registry=registry)
    assert (column.code, "--set id_column=" in column.err) == (3, True)
    cascade = tlnlp("explain", MODEL, "--text", TEXT, "--json", registry=registry, optimise="safe")
    assert "has no safe cascade" in cascade.err
    assert cascade.json["stage"] == "encoder"
