"""The submit script of deploy/spark runs unchanged on a real standalone cluster and a real S3 server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import kit
import pytest
import s3_server
import spark_cluster

from tlnlp.registry import Registry
from tlnlp.storage import Storage

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parents[2]


@pytest.fixture
def spark_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Spark that has the S3A jars among its own, as deploy/README.md requires of the nodes of a cluster."""
    home = tmp_path / "spark-home"
    (home / "jars").mkdir(parents=True)
    for part in spark_cluster.SPARK_HOME.iterdir():
        if part.name != "jars":
            (home / part.name).symlink_to(part)
    for jar in [*(spark_cluster.SPARK_HOME / "jars").iterdir(), *s3_server.JARS.glob("*.jar")]:
        if not (home / "jars" / jar.name).exists():
            (home / "jars" / jar.name).symlink_to(jar)
    monkeypatch.setattr(spark_cluster, "SPARK_HOME", home)
    return home


@pytest.fixture
def master(spark_home: Path, tmp_path: Path) -> Iterator[str]:
    with spark_cluster.running(tmp_path / "cluster") as address:
        yield address


def test_a_night_by_the_script(
    master: str, spark_home: Path, s3_bucket: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    storage = Storage(f"{s3_bucket}/submit")
    storage.write("documents/a.jsonl", kit.write_jsonl(tmp_path / "a.jsonl", kit.labelled(100)))
    Registry(storage.url("registry")).publish("tickets", tiny_bundle)
    own = {"STORAGE": storage.uri, "SPARK_MASTER": master, "SPARK_HOME": str(spark_home)}
    own |= {"AWS_REGION": os.environ["AWS_REGION"]}
    settings = (ROOT / "deploy/settings.env").read_text()
    for name, value in own.items():
        settings = re.sub(rf"^{name}=.*$", f"{name}={value}", settings, flags=re.MULTILINE)
    (tmp_path / "settings.env").write_text(settings)
    done = subprocess.run(
        [ROOT / "deploy/spark/submit-standalone.sh", "--set", "model=tickets@1"],
        env=os.environ
        | {
            "TLNLP_SETTINGS": str(tmp_path / "settings.env"),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SCORE_DATE": "2026-01-31",
            "PYSPARK_DRIVER_PYTHON": sys.executable,
            "TMPDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["rows_in"], result["rows_scored"], result["score_date"]) == (100, 100, "2026-01-31")
    assert "committed by copying" not in done.stderr
