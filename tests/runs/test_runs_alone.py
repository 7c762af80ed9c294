"""Nothing is sent anywhere, and no other machine can reach a run: shown in a network namespace, on an odd machine.

One run proves several promises at once, since each start of Spark and Ray takes its time: the machine has no name and
no home for the user, as in many containers; the path has a space, and files have odd names; the locale is C; proxies
are set, and variables for another Spark.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kit
import namespace_main
import pytest

pytestmark = pytest.mark.acceptance
HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
UNSHARE = ("unshare", "--user", "--map-user=12345", "--map-group=12345", "--keep-caps", "--net", "--mount", "--")
PATIENCE_S = 900
DAY = "2026-11-23"
API = """
import sys, tlnlp
encoder, labels = sys.argv[1:]
made = tlnlp.finetune(labels, registry="api", model="reviews", encoder=encoder, max_length=32,
    training={"moves": "never"})
loaded = tlnlp.Classifier.load("reviews@1", registry="api")
print(*loaded.predict(["good bread", "bad bread"]))
"""


def refusal() -> str | None:
    """Return why this machine has no namespaces for this test; None if it has."""
    code = "import namespace_main as own; own.raise_interface(); own.watch_packets(set())"
    program = [*UNSHARE, sys.executable, "-c", code]
    try:
        done = subprocess.run(program, cwd=HERE, capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def short_tmp() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        yield Path(folder)


def tlnlp(*arguments: str, **settings: object) -> list[str]:
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, "-m", "tlnlp", *arguments, *sets]


@pytest.fixture(scope="module")
def alone(tiny_encoder: Path, short_tmp: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Fine-tune, promote, score and query by the command, then by the Python API; return what was seen of it."""
    if reason := refusal():
        pytest.skip(f"*** NOT TESTED: that nothing is sent; this machine allows no namespaces: {reason} ***")
    folder = tmp_path_factory.mktemp("alone")
    place, home = folder / "my projects", folder / "home"
    (place / "documents").mkdir(parents=True)
    home.mkdir()
    kit.write_jsonl(place / "labels:50% off.jsonl", kit.labelled(40))
    documents = [{"id": f"d{number}", "text": text} for number, text in enumerate(kit.texts(8))]
    for number, name in enumerate(("a,b.jsonl", "50% off.jsonl", "grün.jsonl", "two words.jsonl")):
        kit.write_jsonl(place / "documents" / name, documents[2 * number : 2 * number + 2])
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    environment |= {"TMPDIR": str(short_tmp), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY"), "http://proxy.example:3128")
    environment |= {"SPARK_CONF_DIR": "/nowhere", "PYSPARK_DRIVER_PYTHON": "/nowhere/python"}
    environment |= {"JAVA_TOOL_OPTIONS": "-Dtlnlp.odd=1", "PYTHONPATH": f"/nowhere{os.pathsep}{ROOT}"}
    environment |= {name: os.environ[name] for name in ("JAVA_HOME", "OMP_NUM_THREADS") if name in os.environ}
    labels = "labels:50% off.jsonl"
    commands = [
        (environment, tlnlp(
            "finetune", "--json", labels=labels, model="reviews", encoder=tiny_encoder, max_length=32,
            **{"training.moves": "never", "ray.job_tokens": 0},
        )),
        (environment, tlnlp("promote", "reviews", "--json")),
        (environment, tlnlp("score", "--json", documents="documents", model="reviews", score_date=DAY,
                            **{"spark.driver_memory": "700m"})),
        (environment, tlnlp("query", "select document_id from scores order by all", "--json")),
        (environment | {"HOME": str(home)}, [sys.executable, "-c", API, str(tiny_encoder), labels]),
        (environment | {"HOME": str(home)}, tlnlp("report", "reviews", "--out", ".tlnlp/report")),
    ]  # fmt: skip
    request, report = folder / "request.json", folder / "report.json"
    runs = [{"command": command, "cwd": str(place), "environment": own, "code": 0} for own, command in commands]
    request.write_text(json.dumps({"runs": runs}))
    program = [*UNSHARE, sys.executable, namespace_main.__file__, str(request), str(report)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(report.read_text())
    print(json.dumps(seen, indent=1))
    assert seen["faults"] == []
    assert [run["code"] for run in seen["runs"]] == [0] * len(runs), seen["runs"][-1]["err"]
    return seen | {"place": place, "home": home}


def test_the_whole_path_runs_without_a_name_a_home_or_utf8(alone: dict[str, Any]) -> None:
    scored, rows, predicted = (alone["runs"][number]["out"] for number in (2, 3, 4))
    assert json.loads(scored)["rows_scored"] == 8
    assert [row["document_id"] for row in json.loads(rows)] == [f"d{number}" for number in range(8)]
    assert set(predicted.split()) <= set(kit.CLASSES)


def test_nothing_is_looked_up_or_sent(alone: dict[str, Any]) -> None:
    assert [run["attempts"] for run in alone["runs"]] == [[]] * len(alone["runs"])


def test_nothing_is_written_outside_the_workspace(alone: dict[str, Any]) -> None:
    assert [str(path) for path in alone["home"].rglob("*")] == []
    assert sorted(path.name for path in alone["place"].iterdir()) == [
        ".tlnlp", "api", "documents", "labels:50% off.jsonl",
    ]  # fmt: skip
    assert len(list((alone["place"] / "documents").iterdir())) == 4


def test_everything_listens_on_loopback_and_folders_belong_to_the_user(alone: dict[str, Any]) -> None:
    assert any("gcs_server" in found for found in alone["on_loopback"]), "Ray was never seen"
    assert any("java" in found for found in alone["on_loopback"]), "Spark was never seen"
    assert alone["on_other_addresses"] == []
    assert alone["open_folders"] == []
