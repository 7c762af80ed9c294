"""A password or token in an address or a setting is masked wherever it is shown or stored."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli_kit import process, tlnlp

from tlnlp.cli.entry import guarded
from tlnlp.errors import StorageError, UsageError, masked
from tlnlp.runs import console
from tlnlp.runs.ledger import Ledger
from tlnlp.runs.progress import say
from tlnlp.storage import resolve_uri

SECRETS = {
    "postgresql://ada:canary@host/db": "postgresql://***@host/db",
    "postgresql+psycopg2://ada:can@ary@host:5432/db?password=canary": "postgresql+psycopg2://***@host:5432/db?password=***",
    "postgresql://ada:canary/1@host/db": "postgresql://***@host/db",
    "s3://AKIAcanary:can/ary@bucket/x": "s3://***@bucket/x",
    "https://canary@host/x": "https://***@host/x",
    "https://h/x?a=1&X-Amz-Signature=canary&X-Amz-Credential=canary%2F2&b=2": (
        "https://h/x?a=1&X-Amz-Signature=***&X-Amz-Credential=***&b=2"
    ),
    "az://c/p?sv=1&sig=canary%3D&se=2": "az://c/p?sv=1&sig=***&se=2",
    "host=h password='canary 2' user=u": "host=h password=*** user=u",
    "--set spark.conf.fs.s3a.secret.key=canary": "--set spark.conf.fs.s3a.secret.key=***",
    "{'client_secret': 'canary', 'a': 1}": "{'client_secret': ***, 'a': 1}",
    "Authorization: Bearer canary": "Authorization: ***",
}
HARMLESS = [
    "file:///data/a@b/c", "s3://bucket/reviews@1/x", "http://127.0.0.1:9000/registry/tickets@3", "reviews@champion",
    "max_tokens=3, tokenizer=x", "'password': the key is not known", "signals=3", "text_column=body",
]  # fmt: skip


def test_the_secrets_of_a_text_are_masked() -> None:
    assert {text: masked(text) for text in SECRETS} == SECRETS
    assert [masked(text) for text in HARMLESS] == HARMLESS


@pytest.mark.parametrize("text", SECRETS)
def test_whatever_is_printed_logged_or_recorded_is_masked(
    text: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("tlnlp"), "propagate", True)
    say(f"reading {text}")

    def fail() -> None:
        try:
            raise ValueError(f"a library knows {text}")
        except ValueError as error:
            raise StorageError(f"{text}: cannot be read") from error

    assert guarded(fail, debug=True) == 6
    console.print_json({"uri": text, "list": [text]})
    console.print_rows(["uri"], [[text]])
    console.print_facts({"uri": text, "more": {"a": text}})
    ledger = Ledger("score", "r1", {"documents": text, "conf": {"list": [text]}}, clock=lambda: datetime.now(UTC))
    ledger.inputs(text, None)
    ledger.results["warehouse"] = text
    ledger.finish("failed", StorageError(text))
    printed = capsys.readouterr()
    for place in (printed.out, printed.err, caplog.text, json.dumps(ledger.to_json())):
        assert "canary" not in place
        assert "***" in place
    assert "Traceback" in printed.err
    assert "canary" not in str(StorageError(text))


@pytest.mark.parametrize(
    "uri", ["s3://AKIA:canary@bucket/x", "az://c/p?sig=canary", "gs://b/x?X-Goog-Signature=canary"]
)
def test_an_address_that_holds_a_secret_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match="holds a password or token; take it out") as raised:
        resolve_uri(uri)
    assert "canary" not in str(raised.value)
    result = tlnlp("models", registry=uri)
    assert (result.code, result.out) == (2, "")
    assert "canary" not in result.err


def test_the_password_of_a_catalog_is_not_shown(tmp_path: Path) -> None:
    uri = "postgresql+psycopg2://ada:canary@127.0.0.1:1/db"
    environment = {"PYICEBERG_CATALOG__PROD__TYPE": "sql", "PYICEBERG_CATALOG__PROD__URI": uri}
    environment |= {"PYICEBERG_CATALOG__OTHER__URI": f"odd+{uri}"}
    for name in ("prod", "other"):
        command = ["-m", "tlnlp", "query", "select 1", "--debug", "--set", f"catalog={name}"]
        result = process(*command, "--set", f"warehouse={tmp_path}", cwd=tmp_path, extra=environment)
        assert result.code != 0
        assert f"catalog '{name}' cannot be opened" in result.err
        assert "canary" not in result.out + result.err


def test_a_character_that_a_terminal_obeys_is_escaped_in_messages(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise UsageError("the column \x1b[31m\u202e is unknown\nuse another")

    say("file \x1b]0;title\x07.csv")
    guarded(fail, debug=False)
    printed = capsys.readouterr().err
    assert "the column \\x1b[31m\\u202e is unknown\nuse another" in printed
    assert "\x1b" not in printed
    assert "\x07" not in printed
