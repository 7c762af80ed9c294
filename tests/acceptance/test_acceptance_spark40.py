"""The tests of scoring pass on Spark 4.0, which managed services offer.

The tests on S3 are left out, because the S3A jars here need the Hadoop of the newer Spark.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parents[2]
OLDER = ROOT / ".cache" / "pyspark40"


def test_the_scoring_tests_pass_on_spark_40() -> None:
    environment = os.environ | {"PYTHONPATH": str(OLDER)}
    asked = [sys.executable, "-c", "import pyspark; print(pyspark.__version__)"]
    assert subprocess.run(asked, env=environment, capture_output=True, text=True).stdout.startswith("4.0.")
    on_s3 = (
        "test_score_s3.py",
        "test_score_announce.py::test_a_failed_announcement_neither_hides_nor_undoes_the_night",
    )
    without = [option for name in on_s3 for option in ("--deselect", f"tests/score/{name}")]
    # Spark 4.0 leaves sockets to the garbage collector, which warns of each; warnings are errors in these tests.
    leaks = ["-W", "ignore::ResourceWarning", "-W", "ignore::pytest.PytestUnraisableExceptionWarning"]
    command = [sys.executable, "-m", "pytest", "tests/score", "-q", "-m", "not acceptance", *leaks, *without]
    assert subprocess.run(command, cwd=ROOT, env=environment).returncode == 0
