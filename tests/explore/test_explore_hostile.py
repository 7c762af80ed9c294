"""A damaged or hostile table is shown escaped, or with a plain page: nothing runs, and nothing else is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from explore_kit import FIRST, SECOND, pages, row
from html_kit import faults, shown
from nights_kit import publish
from starlette.testclient import TestClient

from tlnlp.runs.ledger import Ledger
from tlnlp.warehouse.run_folder import all_ledgers
from tlnlp.warehouse.schema import Column

SCRIPT = "<script>document.title='run'</script>"
HANDLER = '"><img src=x onerror="document.title=\'run\'">'
TEXTS = {
    "a script": SCRIPT,
    "a handler": HANDLER,
    "an end of an attribute": "' autofocus onfocus='document.title=1",
    "an address of a script": "javascript:document.title='run'",
    "a template": "{{ 7 * 7 }}{% raw %}${7*7}<%= 7*7 %>",
    "an entity": "&lt;script&gt;&#60;u&#62;",
    "the end of a comment": "--><u>x</u><!--",
    "the end of a title": "</title></svg></textarea><u>x</u>",
    "a change of direction": "\u202e\u2066abc\u2069",
    "control characters": "a\x00b\x1b[31m\x07\x85\u2028",
    "sql": "'; DROP TABLE scores; --\" OR 1=1",
    "an address of another site": "//evil.example/x",
    "a long text": "x" * 300_000,
    "no text": "",
    "a lone accent": "\u0301\u200d\ufeff",
}
NUMBERS = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "negative": -5.0,
    "huge": 1e308,
    "tiny": 5e-324,
}


def every_page(client: TestClient, name: str) -> dict[str, Any]:
    """Return the answer of every page that can show a document of this id, by its address."""
    addresses = ["/night", "/changes", "/groups", "/groups?column=shop", "/documents", "/documents?sort=confidence"]
    found = {address: client.get(address) for address in addresses}
    links = re.findall(r'href="(/[^"?]*)(\?[^"]*)"', "".join(answer.text for answer in found.values()))
    for path, query in dict(links).items():  # One of each page: the last.
        if not path.startswith(("/documents/export", "/model")) and len(query) < 20_000:
            found[path + unescape(query)] = client.get(path + unescape(query))
    if len(name) < 20_000:
        found["the document"] = client.get("/document", params={"id": name})
    return found


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_of_a_table_are_shown_and_never_run(tmp_path: Path, kind: str) -> None:
    text = TEXTS[kind]
    rows = [
        row(number, document_id=f"{text}{number}", label=text, stage=text, shop=text, scored_by=text, run_id=text)
        | {"probabilities": [(text, 1.0)], "text_sha256": text}
        for number in range(3)
    ]
    source = text[:100]
    publish(tmp_path, FIRST, [row(number) for number in range(3)], source=source)
    publish(tmp_path, SECOND, rows, rejected=(text,), source=source)
    answers = every_page(pages(tmp_path), f"{text}0")
    assert {address: answer.status_code for address, answer in answers.items() if answer.status_code != 200} == {}
    assert {address: found for address, answer in answers.items() if (found := faults(answer.text))} == {}
    for answer in answers.values():
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e\u2066-\u2069]", shown(answer.text))
        assert len(answer.text) < 2_000_000
    assert kind != "a template" or "{{ 7 * 7 }}{% raw %}${7*7}<%= 7*7 %>" in shown(answers["/night"].text)


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_a_table_are_shown_or_said_to_be_none(tmp_path: Path, kind: str) -> None:
    value = NUMBERS[kind]
    rows = [row(number, score=value, weight=value, probabilities=[("positive", value)]) for number in range(3)]
    publish(tmp_path, FIRST, rows)
    answers = every_page(pages(tmp_path), "d000")
    assert {address: answer.status_code for address, answer in answers.items() if answer.status_code != 200} == {}
    assert {address: found for address, answer in answers.items() if (found := faults(answer.text))} == {}
    if kind != "tiny":
        assert "is no number" in answers["/night"].text


def test_names_of_columns_are_no_code(tmp_path: Path) -> None:
    names = ['a"b', SCRIPT, "x' OR '1'='1", "order by", "night", "copied"]
    kept = tuple(Column(name, "string") for name in names)
    made = [{key: one[key] for key in one if key not in ("shop", "weight")} for one in map(row, range(4))]
    publish(tmp_path, FIRST, [one | dict.fromkeys(names, f"v{number}") for number, one in enumerate(made)], kept=kept)
    client = pages(tmp_path)
    for name in names:
        for address, values in (
            ("/groups", {"column": name}),
            ("/documents", {"column": name, "value": "v1"}),
            ("/documents/export.csv", {"column": name, "value": "v1"}),
            ("/document", {"id": "d001"}),
        ):
            answer = client.get(address, params=values)
            assert answer.status_code == 200
            assert not address.endswith("s") or faults(answer.text) == []
        assert "1 of 4 documents are selected" in client.get("/documents", params={"column": name, "value": "v1"}).text


@pytest.mark.parametrize(
    "value", ["' OR '1'='1", "1); SELECT * FROM read_csv('/etc/passwd'); --", '"', "\\", "%", "*", "$1", "?"]
)
def test_values_of_an_address_are_no_code(warehouse: Path, value: str) -> None:
    client = pages(warehouse)
    for values in ({"label": value}, {"stage": value}, {"words": value}, {"column": "shop", "value": value}):
        answer = client.get("/documents", params=values)
        assert (answer.status_code, faults(answer.text)) == (200, [])
        assert "0 of 120 documents are selected" in answer.text
    answer = client.get("/documents", params={"column": value})
    assert (answer.status_code, faults(answer.text)) == (400, [])
    assert client.get("/document", params={"id": value}).status_code == 404


def test_an_address_that_is_shown_in_an_error_is_escaped(warehouse: Path) -> None:
    for name in ("date", "from", "sort", "after", "column"):
        answer = pages(warehouse).get("/documents", params={name: HANDLER})
        assert answer.status_code == 400
        assert faults(answer.text) == []


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/environ"])
def test_a_ledger_that_names_another_file_shows_nothing_of_it(tmp_path: Path, path: str) -> None:
    run_id = publish(tmp_path, FIRST, [row(0)])
    config: dict[str, Any] = {"documents": f"file://{path}", "format": "csv", "id_column": "_c0", "text_column": "_c6"}
    config |= {"csv": {"header": False, "delimiter": ":"}}
    Ledger("score", run_id, config).save(all_ledgers(str(tmp_path)), f"{run_id}.json")
    for name in ("d000", "root"):
        assert "/bin/" not in pages(tmp_path).get("/document", params={"id": name}).text


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run_id": 1}', json.dumps({"config": "x"}).encode(), b"\xff"])
def test_a_damaged_ledger_spoils_no_page(tmp_path: Path, content: bytes) -> None:
    run_id = publish(tmp_path, FIRST, [row(0)])
    (tmp_path / "ledgers").mkdir()
    (tmp_path / "ledgers" / f"{run_id}.json").write_bytes(content)
    assert pages(tmp_path).get("/document?id=d000").status_code == 200


@pytest.mark.parametrize("content", [b"", b"{}", b"not a pointer", b'{"metadata_location": "file:///etc/passwd"}'])
def test_a_damaged_catalog_is_a_plain_page(tmp_path: Path, content: bytes) -> None:
    publish(tmp_path, FIRST, [row(0)])
    (tmp_path / "catalog" / "tlnlp" / "scores.json").write_bytes(content)
    answer = pages(tmp_path).get("/night")
    assert answer.status_code in (500, 503)
    assert "root:" not in answer.text


def test_a_damaged_file_of_a_table_is_a_plain_page(tmp_path: Path) -> None:
    publish(tmp_path, FIRST, [row(number) for number in range(50)])
    (file,) = tmp_path.glob("runs/*/scores-0000/0/*.parquet")
    file.write_bytes(file.read_bytes()[:-100])
    client = pages(tmp_path)
    for address in ("/night", "/groups", "/documents", "/document?id=d001", "/documents/export.csv"):
        answer = client.get(address)
        assert answer.status_code in (500, 503), address
        assert "cannot be read" in answer.text


def test_an_unexpected_error_shows_and_logs_its_class_alone(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(counts: Sequence[int]) -> None:
        raise KeyError("a text of a row")

    monkeypatch.setattr("tlnlp.explore.pages.night.histogram", fail)
    with caplog.at_level("DEBUG", logger="tlnlp"):
        answer = pages(warehouse).get("/night")
    assert answer.status_code == 500
    assert "KeyError" in answer.text
    assert "a text of a row" not in answer.text + caplog.text
    assert "KeyError" in caplog.text
