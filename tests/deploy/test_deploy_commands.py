"""The programs that read the command lines in deploy/ accept them, and tlnlp accepts their keys."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import deploy_kit as kit
import pyspark
import pytest
import yaml
from pyspark.sql import SparkSession

from tlnlp.config import FinetuneSettings, ScoreSettings

LINES = list(kit.command_lines())
SPARK_HOME = Path(pyspark.__file__).parent


def spark_accepts(argv: list[str]) -> None:
    """Check the arguments of spark-submit with Spark's own launcher, which knows every option."""
    launcher = ["java", "-cp", f"{SPARK_HOME}/jars/*", "org.apache.spark.launcher.Main"]
    done = subprocess.run(
        [*launcher, "org.apache.spark.deploy.SparkSubmit", *argv],
        env=os.environ | {"SPARK_HOME": str(SPARK_HOME), "SPARK_SCALA_VERSION": "2.13"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "--usage-error" not in done.stdout, done.stderr


@pytest.mark.parametrize(("place", "argv"), LINES, ids=[place for place, _ in LINES])
def test_a_command_line_in_a_manifest_loads(place: str, argv: list[str]) -> None:
    settings = kit.job_settings(argv)
    if isinstance(settings, ScoreSettings):
        assert str(settings.score_date) == kit.TODAY


def test_every_job_is_started_by_some_manifest() -> None:
    started = {Path(word).name for _, argv in LINES for word in argv} & set(kit.JOBS)
    assert started == set(kit.JOBS)


def test_the_cronjob_gives_spark_options_that_it_knows() -> None:
    (argv,) = (argv for place, argv in LINES if place == "score-cronjob.yaml")
    assert argv[0] == "/opt/spark/bin/spark-submit"
    spark_accepts(argv[1:])
    copied = (kit.DEPLOY / "images/score.Dockerfile").read_text()
    for word in argv:  # The driver reads these paths from its own disk, so the image must contain them.
        for path in re.findall(r"(?:=|^)/opt/tlnlp/(spark|jobs|conf)/(\S+)", word):
            assert f"/opt/tlnlp/{path[0]}" in copied
            assert ((kit.DEPLOY if path[0] == "spark" else kit.ROOT) / path[0] / path[1]).is_file()


@pytest.mark.parametrize("cluster", ["standalone", "yarn", "kubernetes"])
@pytest.mark.parametrize("day", [None, "2026-01-31"])
def test_a_submit_script_starts_the_night_of_its_day(cluster: str, day: str | None, run_script: kit.Recorded) -> None:
    before = datetime.now(UTC).date()
    given = {"SCORE_DATE": day} if day else {}
    argv = run_script(f"spark/submit-{cluster}.sh", "--set", "table=more", **given)
    spark_accepts(argv)
    assert (kit.ROOT / kit.after(argv, "--properties-file")).is_file()
    files = (kit.after(argv, "--files"),) if "--files" in argv else ()
    settings = kit.job_settings(argv, files)
    assert isinstance(settings, ScoreSettings)
    assert settings.table == "more"
    assert str(settings.score_date) in ({day} if day else {str(before), str(datetime.now(UTC).date())})
    for word in argv:
        if "podTemplateFile=" in word:
            assert (kit.ROOT / word.partition("=")[2]).is_file()


def test_a_second_night_is_refused(run_script: kit.Recorded, tmp_path: Path) -> None:
    with (tmp_path / "tlnlp-score.lock").open("w") as lock:
        subprocess.run(["flock", "--nonblock", str(lock.fileno())], pass_fds=[lock.fileno()], check=True)
        with pytest.raises(subprocess.CalledProcessError) as refused:
            run_script("spark/submit-standalone.sh")
    assert refused.value.returncode == 75
    assert not (tmp_path / "recorded").exists()


def test_a_script_ends_with_the_exit_code_of_its_job(run_script: kit.Recorded) -> None:
    for script in ("spark/submit-standalone.sh", "ray/submit-finetune.sh", "promote.sh", "maintain.sh"):
        with pytest.raises(subprocess.CalledProcessError) as ended:
            run_script(script, RECORDER_EXIT="8")
        assert ended.value.returncode == 8


def test_the_ray_script_submits_the_job_with_its_environment(run_script: kit.Recorded) -> None:
    from ray.dashboard.modules.job.cli import submit
    from ray.runtime_env import RuntimeEnv

    argv = run_script("ray/submit-finetune.sh", "--set", "seed=3")
    assert argv[:2] == ["job", "submit"]
    parsed = submit.make_context("submit", argv[2:]).params
    assert parsed["working_dir"] == "."
    settings = kit.job_settings(list(parsed["entrypoint"]))
    assert isinstance(settings, FinetuneSettings)
    assert settings.seed == 3
    environment = yaml.safe_load((kit.ROOT / parsed["runtime_env"]).read_text())
    assert RuntimeEnv(**environment)["env_vars"]["AWS_REGION"]
    assert "tlnlp" not in environment["excludes"]
    assert (kit.ROOT / parsed["entrypoint"][1]).is_file()


def test_the_entrypoint_of_the_image_replaces_today(run_script: kit.Recorded, tmp_path: Path) -> None:
    (argv,) = (argv for place, argv in LINES if place == "score-scheduledsparkapplication.yaml")
    client = str(tmp_path / "bin" / "spark-submit")
    before = datetime.now(UTC).date()
    given = run_script("images/entrypoint.sh", "driver", *argv, "a b", SPARK_ENTRYPOINT=client)
    days = {str(before), str(datetime.now(UTC).date())}
    assert given in [["driver", *(word.replace("@today@", day) for word in argv), "a b"] for day in days]


def test_every_property_is_one_that_spark_knows(spark: SparkSession) -> None:
    """Spark accepts any name, and ignores a misspelt one without a message."""
    defaults = (kit.DEPLOY / "spark/spark-defaults.conf").read_text()
    lines = [line.split() for line in defaults.splitlines() if line.strip() and not line.startswith("#")]
    assert all(len(line) == 2 for line in lines)
    names = {name for name, _ in lines}
    assert len(names) == len(lines)
    registry = spark._jvm.org.apache.spark.internal.config.ConfigEntry  # type: ignore[union-attr]
    unknown = {name for name in names if not name.startswith("spark.hadoop.") and registry.findEntry(name) is None}
    assert not unknown


def test_the_operator_gets_the_properties_of_the_defaults_file() -> None:
    defaults = dict(
        line.split()
        for line in (kit.DEPLOY / "spark/spark-defaults.conf").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    )
    spec = kit.spark_application("k8s/score-sparkapplication.yaml")
    own = spec["dynamicAllocation"]
    properties = spec["sparkConf"] | {
        f"spark.{part}.{key}": str(spec[part][key])
        for part in ("driver", "executor")
        for key in ("cores", "memory", "memoryOverhead")
    }
    properties |= {
        "spark.dynamicAllocation.enabled": str(own["enabled"]).lower(),
        "spark.dynamicAllocation.shuffleTracking.enabled": str(own["shuffleTrackingEnabled"]).lower(),
        "spark.dynamicAllocation.minExecutors": str(own["minExecutors"]),
        "spark.dynamicAllocation.maxExecutors": str(own["maxExecutors"]),
    }
    assert {name: properties.get(name) for name in defaults} == defaults


def test_the_images_have_the_python_of_the_lock_files() -> None:
    """Images, lock files and archive are tested with one minor version."""
    for part in ("score", "train"):
        base = re.findall(
            r"^FROM docker.io/library/python:(\S+)$", (kit.DEPLOY / f"images/{part}.Dockerfile").read_text(), re.M
        )
        assert [tag.rsplit("-", 2)[0].rsplit(".", 1)[0] for tag in base] == ["3.11"]
    assert sys.version_info >= (3, 11)
