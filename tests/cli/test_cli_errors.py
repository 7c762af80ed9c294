"""A user's mistake: its exit code, a message that helps, no traceback; and nothing that is private."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import kit
import pytest
from cli_kit import MODEL, Told, documents, process, tlnlp
from pyspark.sql import SparkSession

Here = tuple[Path, Path, Path, Path]


@pytest.fixture
def here(registry: Path, labels: Path, tmp_path: Path) -> Here:
    """A folder of one's own, registry, labels, documents."""
    return tmp_path, registry, labels, kit.write_jsonl(tmp_path / "documents.jsonl", documents(3))


def score(here: Here, *arguments: str, **changes: object) -> Told:
    places = {"documents": here[3], "warehouse": here[0] / "warehouse", "registry": here[1], "model": MODEL}
    return tlnlp("score", *arguments, **places | {"score_date": "2026-11-23"} | changes)


def damaged(here: Here) -> Path:
    own = Path(shutil.copytree(here[1], here[0] / "damaged"))
    path = own / MODEL / "versions" / "1" / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    return own


def faulty(here: Here) -> Path:
    return kit.write_jsonl(here[0] / "faulty.jsonl", [{"text": "", "label": "positive"}, *kit.labelled(10)])


MISTAKES: dict[str, tuple[int, str, Callable[..., Told]]] = {
    "unknown key": (2, "unknown key 'documentz'; did you mean 'documents'?", lambda h, *a: score(h, *a, documentz=1)),
    "inner key": (
        2,
        "unknown key 'spark.mastr'; did you mean 'spark.master'?",
        lambda h, *a: score(h, *a, **{"spark.mastr": "x"}),
    ),
    "not a day": (2, "write the day as YYYY-MM-DD", lambda h, *a: score(h, *a, score_date="23.11.2026")),
    "not a number": (2, "'max_bytes':", lambda h, *a: score(h, *a, max_bytes="many")),
    "not a mode": (2, "'mode':", lambda h, *a: score(h, *a, mode="fully")),
    "no value": (2, "write key=value", lambda h, *a: tlnlp("score", "--set", "documents", *a)),
    "nothing given": (2, "'documents'", lambda h, *a: tlnlp("score", *a)),
    "no such file": (2, "cannot read the config file", lambda h, *a: score(h, "--config", str(h[0] / "no.yaml"), *a)),
    "reserved": (2, "would take the name", lambda h, *a: score(h, *a, keep_columns="label")),
    "no labels": (2, "give labels", lambda h, *a: tlnlp("promote", f"{MODEL}@2", *a, registry=h[1])),
    "no reason": (2, "needs a reason", lambda h, *a: tlnlp("promote", f"{MODEL}@2", "--force", *a, registry=h[1])),
    "bad name": (2, "no model name", lambda h, *a: tlnlp("evaluate", "Big Model", *a, registry=h[1], labels=h[2])),
    "missing folder": (3, "nothing is there; check the path", lambda h, *a: score(h, *a, documents=h[0] / "none")),
    "missing column": (3, "has no column 'body' (it has:", lambda h, *a: score(h, *a, text_column="body")),
    "missing labels": (3, "nothing is there", lambda h, *a: tlnlp("labels", "check", str(h[0] / "no.csv"), *a)),
    "faulty labels": (
        3,
        "row 1: empty text",
        lambda h, *a: tlnlp("promote", f"{MODEL}@2", *a, registry=h[1], labels=faulty(h)),
    ),
    "flipped byte": (4, "model.onnx was altered", lambda h, *a: score(h, *a, registry=damaged(h))),
    "flipped for evaluate": (
        4,
        "model.onnx was altered",
        lambda h, *a: tlnlp("evaluate", MODEL, *a, registry=damaged(h), labels=h[2]),
    ),
    "champion already": (
        5,
        "champion already",
        lambda h, *a: tlnlp("promote", f"{MODEL}@1", *a, registry=h[1], labels=h[2]),
    ),
    "no model": (6, "no model 'nobody'", lambda h, *a: score(h, *a, model="nobody")),
    "no version": (6, "has no version 7", lambda h, *a: tlnlp("promote", f"{MODEL}@7", *a, registry=h[1])),
    "no warehouse": (6, "there is no such folder", lambda h, *a: tlnlp("query", "select 1", *a, warehouse=h[0] / "no")),
    "nothing before": (6, "nothing to roll back to", lambda h, *a: tlnlp("rollback", MODEL, *a, registry=h[1])),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_has_its_code_and_a_message(spark: SparkSession, here: Here, mistake: str) -> None:
    code, says, run = MISTAKES[mistake]
    told = run(here)
    assert told.code == code, told.err
    last = told.err.strip().splitlines()
    assert any(line.startswith("tlnlp: ") for line in last)
    assert says in told.err
    assert "Traceback" not in told.err
    assert told.out == ""


@pytest.mark.parametrize("mistake", ["unknown key", "missing folder", "champion already", "no model"])
def test_debug_shows_where_it_happened(spark: SparkSession, here: Here, mistake: str) -> None:
    code, says, run = MISTAKES[mistake]
    told = run(here, "--debug")
    assert told.code == code
    assert "Traceback (most recent call last)" in told.err
    assert says in told.err


def test_wrong_sql_and_unknown_tables(scored: tuple[Path, Told]) -> None:
    for sql in ("selec 1", "select * from nobody", "drop table scores", "select 1; select 2"):
        told = tlnlp("query", sql, warehouse=scored[0] / "warehouse")
        assert told.code == 2, sql
        assert "Traceback" not in told.err
        assert told.out == ""


def test_click_says_what_it_does_not_know() -> None:
    for arguments in (["nonsense"], ["promote"], ["score", "--nonsense"]):
        assert tlnlp(*arguments).code == 2


def test_an_empty_input_and_too_much_in_quarantine(spark: SparkSession, here: Here) -> None:
    here[3].write_text("")
    told = score(here)
    assert told.code == 8
    assert "no documents there" in told.err
    kit.write_jsonl(here[3], [*documents(2), {"id": "x", "text": " "}])
    told = score(here, "--json")
    assert (told.code, told.out) == (8, "")
    assert "1 of 3 documents are unfit (1 blank_text)" in told.err


def test_a_table_of_another_source(scored: tuple[Path, Told], here: Here) -> None:
    told = score(here, warehouse=scored[0] / "warehouse")
    assert told.code == 9
    assert "table scores belongs to source" in told.err


def test_an_unforeseen_fault_shows_its_class_and_not_its_words(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a canary that sings")

    monkeypatch.setattr("tlnlp.score.job.score", fail)
    told = score(here)
    assert told.code == 1
    assert "unexpected RuntimeError; run again with --debug" in told.err
    assert "canary" not in told.err
    assert "canary" in score(here, "--debug").err


def test_a_missing_package_names_the_extra_that_brings_it(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("tlnlp.report")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "jinja2", None)  # What an import of a package that is not there finds.
    told = tlnlp("report", MODEL, registry=here[1])
    assert told.code == 2
    assert "install tlnlp[report]" in told.err


CANARY = "the canary sings in cellar nine"
SECRET = "wJalrXUtnFEMIcanary7MDENG"


def refusals(here: Here) -> dict[str, dict[str, object]]:
    """Documents that end a night, each holding the canary."""
    base = here[0]
    line = f'{{"id": "1", "text": "{CANARY}", "item": 1}}\n'
    contents: dict[str, str] = {
        "malformed.jsonl": line + f'{{"id": "2", "text": "{CANARY}\n' * 3,
        "conflict.jsonl": line + line.replace("nine", "ten"),
        "wide.csv": f"id,text\n1,{CANARY}\n2,{CANARY},{CANARY}\n",
        "late.jsonl": line * 300 + line.replace('"item": 1', f'"item": "{CANARY}"'),
        "no_column.csv": f"id,body\n1,{CANARY}\n",
    }
    for name, content in contents.items():
        (base / name).write_text(content)
    found: dict[str, dict[str, object]] = {name: {"documents": base / name} for name in contents}
    found["late.jsonl"] |= {"keep_columns": "item", "max_quarantine_share": 0}
    return found


def test_no_text_and_no_secret_is_ever_told(
    spark: SparkSession, here: Here, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    hidden = {"spark.conf.spark.hadoop.fs.s3a.secret.key": SECRET}
    for name, changes in refusals(here).items():
        told = score(here, **changes, **hidden)
        assert told.code in (3, 8), (name, told.err)
        captured = capfd.readouterr()
        for text in (told.out, told.err, captured.out, captured.err):
            assert CANARY not in text, name
            assert SECRET not in text, name
    files = [path for path in (here[0] / "warehouse").rglob("*") if path.is_file()]
    assert len([path for path in files if path.parent.name == "ledgers"]) == 5
    for path in files:
        data = path.read_bytes()
        assert CANARY.encode() not in data, path
        assert SECRET.encode() not in data, path
    listed = tlnlp("runs", "--json", warehouse=here[0] / "warehouse", registry=here[1])
    assert len(listed.json) == 5
    assert SECRET not in listed.out


@pytest.mark.parametrize("fault", ["no Java", "no archive"])
def test_spark_that_does_not_start_is_an_engine_failure(here: Here, fault: str) -> None:
    places = {"documents": here[3], "warehouse": here[0] / "warehouse", "registry": here[1], "model": MODEL}
    sets = [f"--set={key}={value}" for key, value in places.items()]
    command = ("-c", "from tlnlp.cli.commands import main; main()", "score", *sets, "--set=score_date=2026-11-23")
    extra = {"JAVA_HOME": str(here[0] / "no-java")} if fault == "no Java" else {}
    conf = [] if extra else ['--set=spark.conf={"spark.archives": "/nowhere.tar.gz"}']
    told = process(*command, *conf, cwd=here[0], extra=extra)
    assert told.code == 7, told.err
    assert "tlnlp: Spark does not start" in told.err
    assert "check Java" in told.err
    assert "Traceback" not in told.err
    assert told.out == ""
