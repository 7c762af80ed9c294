"""The tests of scoring pass on a real cluster of two workers that have only the packed environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import spark_cluster

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parents[2]
PACKED = ROOT / "dist" / "score-env.tar.gz"
# Hundreds of tables are read on one machine; a cluster reads a few.
MANY = "tests/score/test_score_generated_tables.py::test_spark_finds_every_row_of_many_tables"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with spark_cluster.running(tmp_path_factory.mktemp("cluster") / "spark") as master:
        yield master


def test_the_scoring_tests_pass_on_two_workers(cluster: str) -> None:
    environment = os.environ | {
        "TLNLP_TEST_MASTER": cluster,
        "TLNLP_TEST_ARCHIVE": f"{PACKED}#environment",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": "./environment/bin/python",
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/score", "-q", "--deselect", MANY], cwd=ROOT, env=environment
    )
    assert done.returncode == 0
