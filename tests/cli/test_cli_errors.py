"""A user's mistake gives its exit code and a helpful message, without a traceback and without private data."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import kit
import pytest
from cli_kit import MODEL, ROOT, CliResult, documents, process, tlnlp
from pyspark.sql import SparkSession

Here = tuple[Path, Path, Path, Path]


@pytest.fixture
def here(registry: Path, labels: Path, tmp_path: Path) -> Here:
    """The test's own folder, the registry, the labels, the documents."""
    return tmp_path, registry, labels, kit.write_jsonl(tmp_path / "documents.jsonl", documents(3))


def score(here: Here, *arguments: str, **changes: object) -> CliResult:
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


MISTAKES: dict[str, tuple[int, str, Callable[..., CliResult]]] = {
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
    "a config of another job": (
        2,
        "finetune.yaml is a config of finetune: score needs a file with its own keys",
        lambda h, *a: score(h, *a, "--config", str(ROOT / "conf/finetune.yaml")),
    ),
    "no labels": (
        2,
        "the comparison needs labels that neither version was trained on: give them with --set labels=",
        lambda h, *a: tlnlp("promote", f"{MODEL}@2", *a, registry=h[1]),
    ),
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
    "no better": (
        5,
        "refused",
        lambda h, *a: tlnlp("promote", f"{MODEL}@2", *a, registry=h[1], labels=h[2], margin=0),
    ),
    "no model": (
        2,
        "no model 'reviewz' in the registry",
        lambda h, *a: score(h, *a, model="reviewz"),
    ),
    "no version": (2, "has no version 7", lambda h, *a: tlnlp("promote", f"{MODEL}@7", *a, registry=h[1])),
    "no warehouse": (6, "there is no such folder", lambda h, *a: tlnlp("query", "select 1", *a, warehouse=h[0] / "no")),
    "nothing before": (2, "nothing to roll back to", lambda h, *a: tlnlp("rollback", MODEL, *a, registry=h[1])),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_has_its_exit_code_and_message(spark: SparkSession, here: Here, mistake: str) -> None:
    code, says, run = MISTAKES[mistake]
    result = run(here)
    assert result.code == code, result.err
    lines = result.err.strip().splitlines()
    assert any(line.startswith("tlnlp: ") for line in lines)
    assert says in result.err
    assert "Traceback" not in result.err
    assert result.out == ""


@pytest.mark.parametrize("mistake", ["unknown key", "missing folder", "no better", "no model"])
def test_debug_prints_the_traceback(spark: SparkSession, here: Here, mistake: str) -> None:
    code, says, run = MISTAKES[mistake]
    result = run(here, "--debug")
    assert result.code == code
    assert "Traceback (most recent call last)" in result.err
    assert says in result.err


def test_wrong_sql_and_unknown_tables(scored: tuple[Path, CliResult]) -> None:
    for sql in ("selec 1", "select * from nobody", "drop table scores", "select 1; select 2"):
        result = tlnlp("query", sql, warehouse=scored[0] / "warehouse")
        assert result.code == 2, sql
        assert "Traceback" not in result.err
        assert result.out == ""


def test_an_unknown_command_argument_or_option_is_a_usage_error() -> None:
    for arguments in (["nonsense"], ["promote"], ["score", "--nonsense"]):
        assert tlnlp(*arguments).code == 2


def test_an_empty_input_and_too_much_in_quarantine(spark: SparkSession, here: Here) -> None:
    here[3].write_text("")
    result = score(here)
    assert result.code == 8
    assert "the input holds no documents; nothing was published" in result.err
    kit.write_jsonl(here[3], [*documents(2), {"id": "x", "text": " "}])
    result = score(here, "--json")
    assert (result.code, result.out) == (8, "")
    assert "quarantine would take 1 of 3 documents (1 blank_text)" in result.err


def test_a_table_of_another_source(scored: tuple[Path, CliResult], here: Here) -> None:
    result = score(here, warehouse=scored[0] / "warehouse")
    assert result.code == 9
    assert "table scores belongs to source" in result.err


def test_an_unexpected_error_shows_its_class_without_its_message(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a canary that sings")

    monkeypatch.setattr("tlnlp.score.job.score", fail)
    result = score(here)
    assert result.code == 1
    assert "unexpected RuntimeError: run the command again with --debug to see the traceback" in result.err
    assert "canary" not in result.err
    assert "canary" in score(here, "--debug").err


def test_a_missing_package_is_reported_with_the_extra_that_installs_it(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("tlnlp.report")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "jinja2", None)  # Python's own mark of a package that cannot be imported.
    result = tlnlp("report", MODEL, registry=here[1])
    assert result.code == 2
    assert "install tlnlp[report]" in result.err


CANARY = "the canary sings in cellar nine"
SECRET = "wJalrXUtnFEMIcanary7MDENG"


def refusals(here: Here) -> dict[str, dict[str, object]]:
    """Return the settings of nights that fail; the documents of each contain the canary."""
    base = here[0]
    line = f'{{"id": "1", "text": "{CANARY}", "item": 1}}\n'
    contents: dict[str, str] = {
        "malformed.jsonl": line + f'{{"id": "2", "text": "{CANARY}\n' * 3,
        "conflict.jsonl": line + line.replace("nine", "ten"),
        "wide.csv": f"id,text\n1,{CANARY}\n2,{CANARY},{CANARY}\n",
        "no_column.csv": f"id,body\n1,{CANARY}\n",
    }
    for name, content in contents.items():
        (base / name).write_text(content)
    found: dict[str, dict[str, object]] = {name: {"documents": base / name} for name in contents}
    return found


def test_no_text_and_no_secret_is_printed_or_stored(
    spark: SparkSession, here: Here, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    hidden = {"spark.conf.spark.hadoop.fs.s3a.secret.key": SECRET}
    (here[0] / "warehouse").mkdir(exist_ok=True)  # A refused night creates none, and would leave no ledger to look at.
    for name, changes in refusals(here).items():
        result = score(here, **changes, **hidden)
        assert result.code in (3, 8), (name, result.err)
        captured = capfd.readouterr()
        for text in (result.out, result.err, captured.out, captured.err):
            assert CANARY not in text, name
            assert SECRET not in text, name
    files = [path for path in (here[0] / "warehouse").rglob("*") if path.is_file()]
    assert len([path for path in files if path.parent.name == "ledgers"]) == 4
    for path in files:
        data = path.read_bytes()
        assert CANARY.encode() not in data, path
        assert SECRET.encode() not in data, path
    listed = tlnlp("runs", "--json", warehouse=here[0] / "warehouse", registry=here[1])
    assert len(listed.json) == 4
    assert SECRET not in listed.out


@pytest.mark.parametrize("fault", ["no Java", "no archive"])
def test_spark_that_does_not_start_is_an_engine_failure(here: Here, fault: str) -> None:
    places = {"documents": here[3], "warehouse": here[0] / "warehouse", "registry": here[1], "model": MODEL}
    sets = [f"--set={key}={value}" for key, value in places.items()]
    command = ("-c", "from tlnlp.cli.commands import main; main()", "score", *sets, "--set=score_date=2026-11-23")
    extra = {"JAVA_HOME": str(here[0] / "no-java")} if fault == "no Java" else {}
    conf = [] if extra else ['--set=spark.conf={"spark.archives": "/nowhere.tar.gz"}']
    result = process(*command, *conf, cwd=here[0], extra=extra)
    assert result.code == 7, result.err
    if fault == "no Java":
        assert f"tlnlp: JAVA_HOME={here[0]}/no-java is no folder of Java" in result.err
    else:
        assert "tlnlp: Spark does not start" in result.err
        assert "check spark.conf (spark.archives)" in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
