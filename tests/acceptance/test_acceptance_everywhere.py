"""The whole path on S3: training on a Ray cluster of two nodes, scoring on a Spark cluster of two workers.

The engines' own commands submit the jobs. No log, ledger or Spark event of these runs, or of the failures that are
provoked here, may hold the secret key or a sentence of the documents.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import kit
import pytest
import ray_cluster
import s3_server
import spark_cluster

from tlnlp.registry import Registry
from tlnlp.storage import Storage

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PACKED = ROOT / "dist" / "score-env.tar.gz"
CANARY = "a canary sang under the seventh bridge"
DAY = "2026-01-31"


@dataclass(frozen=True)
class Platform:
    """The clusters and the bucket of the tests; ``folder`` collects all logs."""

    folder: Path
    bucket: str
    master: str
    ray: dict[str, str]
    secret: str

    def run(self, name: str, command: list[str], code: int = 0, **environment: str) -> str:
        """Run a command as a user would. Write its stderr to a log, and return its stdout."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as stream:
            done = subprocess.run(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stream, env=os.environ | self.ray | environment
            )
        out = done.stdout.decode()
        (self.folder / f"{name}.out").write_text(out)
        assert done.returncode == code, f"{name}: {done.returncode}\n{out[-3000:]}\n{log.read_text()[-3000:]}"
        return out

    def finetune(self, name: str, *overrides: str, code: int = 0) -> str:
        """Submit a training job to the Ray cluster, and return its stdout."""
        job = ["python", "jobs/finetune.py", "--config", "conf/finetune.yaml", *_set(overrides)]
        return self.run(name, [str(BIN / "ray"), "job", "submit", "--working-dir", ".", "--", *job], code)

    def score(self, name: str, *overrides: str, code: int = 0, **environment: str) -> str:
        """Submit a night to the Spark cluster, and return its stdout."""
        submit = [str(spark_cluster.SPARK_HOME / "bin" / "spark-submit"), "--master", self.master]
        archive = ["--archives", f"{PACKED}#environment", "--conf", "spark.executor.memory=1g"]
        events = ["--conf", "spark.eventLog.enabled=true", "--conf", f"spark.eventLog.dir=file://{self.folder}/events"]
        jars = [part for item in s3_server.spark_classpath().items() for part in ("--conf", "=".join(item))]
        job = ["jobs/score.py", "--config", "conf/score.yaml", *_set([f"score_date={DAY}", *overrides])]
        python = {"PYSPARK_DRIVER_PYTHON": sys.executable, "PYSPARK_PYTHON": "./environment/bin/python"}
        own = python | {"SPARK_LOCAL_IP": "127.0.0.1"} | environment
        return self.run(name, [*submit, *archive, *events, *jars, *job], code, **own)


def _set(overrides: list[str] | tuple[str, ...]) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


@pytest.fixture(scope="module")
def platform(s3_bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("platform")
    (folder / "events").mkdir()
    with spark_cluster.running(folder / "spark") as master, ray_cluster.running(folder / "ray") as ray:
        yield Platform(folder, f"{s3_bucket}/everywhere", master, ray, os.environ["AWS_SECRET_ACCESS_KEY"])


@pytest.fixture(scope="module")
def inputs(platform: Platform, tiny_encoder: Path) -> Storage:
    """Labels, encoder and documents on S3. One of the documents is the canary."""
    storage = Storage(platform.bucket)
    for file in tiny_encoder.iterdir():
        storage.write(f"encoder/{file.name}", file)
    storage.write("labels/labels.jsonl", kit.write_jsonl(platform.folder / "labels.jsonl", kit.labelled(60)))
    rows = [{"id": f"d{number}", "text": text} for number, text in enumerate([*kit.texts(300, seed=4), CANARY])]
    storage.write("documents/a.jsonl", kit.write_jsonl(platform.folder / "documents.jsonl", rows))
    return storage


def overrides(storage: Storage) -> list[str]:
    return [
        f"labels={storage.url('labels')}", f"encoder={storage.url('encoder')}", f"registry={storage.url('registry')}",
        "model=moods", "ray.workers=2", "ray.cpus_per_worker=1", "training.min_steps=30", "training.max_steps=30",
        "max_length=64",
    ]  # fmt: skip


def scoring(storage: Storage, *more: str) -> list[str]:
    places = [f"{name}={storage.url(name)}" for name in ("documents", "registry", "warehouse")]
    return [*places, "model=moods", *more]


def by_id(text: str) -> dict[str, float]:
    return {row["document_id"]: row["p"] for row in json.loads(text)}


def test_scores_on_clusters_and_s3_are_the_scores_of_local_folders(
    platform: Platform, inputs: Storage, tmp_path: Path
) -> None:
    assert '"version": 1' in platform.finetune("finetune", *overrides(inputs))
    registry = inputs.url("registry")
    promote = [sys.executable, "jobs/promote.py", *_set([f"registry={registry}", "model=moods"])]
    assert json.loads(platform.run("promote", promote))["decision"] == "promoted"
    counts = json.loads(platform.score("score", *scoring(inputs)).splitlines()[-1])
    assert (counts["rows_in"], counts["rows_scored"], counts["texts_scored"]) == (301, 301, 301)

    sql = "select document_id, probabilities['positive'] as p from scores"
    query = [str(BIN / "tlnlp"), "query", sql, "--json"]
    there = by_id(platform.run("query", [*query, "--set", f"warehouse={inputs.url('warehouse')}"]))
    # The same bundle with local folders and a local Spark.
    home = Registry(str(tmp_path / "registry"))
    bundle = Registry(registry).fetch(Registry(registry).resolve("moods@1"), tmp_path / "bundle")
    home.publish("moods", bundle)
    local = [f"documents={platform.folder / 'documents.jsonl'}", f"registry={tmp_path / 'registry'}", "model=moods@1"]
    warehouse = f"warehouse={tmp_path / 'warehouse'}"
    platform.run("home", [str(BIN / "tlnlp"), "score", "--json", *_set([*local, warehouse, f"score_date={DAY}"])])
    here = by_id(platform.run("home-query", [*query, "--set", warehouse]))
    assert len(there) == 301
    worst = max(abs(there[key] - here[key]) for key in here)
    print(json.dumps({"documents": len(there), "largest_difference": worst, "packed_mb": PACKED.stat().st_size >> 20}))
    assert there.keys() == here.keys()
    assert worst < 1e-6


def test_each_failure_has_its_exit_code(platform: Platform, inputs: Storage) -> None:
    """The next test reads the logs of these failures."""
    wrong = "canary-wrong-secret-key"
    platform.score("wrong-key", *scoring(inputs), code=6, AWS_SECRET_ACCESS_KEY=wrong)
    platform.score("no-model", *scoring(inputs, "model=nobody"), code=2)
    bad = [{"id": "same", "text": CANARY}, {"id": "same", "text": f"{CANARY} twice"}, {"id": None, "text": CANARY}]
    lines = "".join(json.dumps(row) + "\n" for row in bad) + f'{{"id": "broken", "text": "{CANARY}\n'
    inputs.write("unfit/a.jsonl", lines.encode())
    elsewhere = f"warehouse={inputs.url('warehouse-2')}"
    platform.score("unfit", *scoring(inputs, f"documents={inputs.url('unfit')}", elsewhere), code=8)
    inputs.write("cut/a.parquet", b"PAR1" + CANARY.encode() * 9)
    platform.score("cut", *scoring(inputs, f"documents={inputs.url('cut')}", elsewhere), code=3)
    platform.score("other-source", *scoring(inputs, "source=another"), code=9)
    # The tasks fail on the workers, which have no such Python.
    platform.score("tasks-die", *scoring(inputs, elsewhere), code=7, PYSPARK_PYTHON="./environment/bin/nothing")
    faulty = f'{{"text": "{CANARY}", "label": "positive"}}\n{{"text": "{CANARY}", "label": "negative"}}\n'
    inputs.write("faulty/a.jsonl", faulty.encode())
    platform.finetune("faulty-labels", *overrides(inputs), f"labels={inputs.url('faulty')}", code=1)
    platform.finetune("no-encoder", *overrides(inputs), f"encoder={inputs.url('nothing')}", code=1)


def test_no_log_holds_a_secret_or_a_sentence(platform: Platform, inputs: Storage) -> None:
    needles = {"secret": platform.secret, "wrong secret": "canary-wrong-secret-key", "sentence": CANARY}
    found, read = [], 0
    for path in _logs(platform.folder):
        text = path.read_bytes()
        read += 1
        found += [f"{name} in {path}" for name, needle in needles.items() if needle.encode() in text]
    for entry in inputs.list():
        if "/ledgers/" in f"/{entry.key}" or entry.key.endswith((".json", "_SUCCESS")):
            read += 1
            text = inputs.read(entry.key)
            found += [f"{name} in {entry.key}" for name, needle in needles.items() if needle.encode() in text]
    print(json.dumps({"logs_read": read}))
    assert read > 40
    assert list((platform.folder / "events").iterdir())
    assert not found


def _logs(folder: Path) -> Iterator[Path]:
    """Yield the outputs, logs and events of the runs and clusters, without the code and packages that they unpacked."""
    inputs = {folder / "labels.jsonl", folder / "documents.jsonl"}
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name not in ("environment", "runtime_resources", "session_latest")]
        for name in names:
            path = Path(parent, name)
            if path.is_file() and path not in inputs and not path.name.endswith((".jar", ".gz", ".zip")):
                yield path
