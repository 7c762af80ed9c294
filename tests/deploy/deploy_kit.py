"""What the tests of ``deploy/`` share: its documents, its pods, and the command lines that are in them."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tlnlp.cli.entry import job_parser
from tlnlp.config import FinetuneSettings, PromoteSettings, ScoreSettings, Settings, load_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
JOBS: dict[str, type[Settings]] = {
    "finetune.py": FinetuneSettings,
    "promote.py": PromoteSettings,
    "score.py": ScoreSettings,
}
TODAY = "2026-11-24"  # What stands for @today@: nothing here depends on the clock.
# Where a manifest finds what lies in the repository: the images copy it, the README installs it.
INSTALLED = {"/opt/tlnlp/": "", "/etc/tlnlp/": "conf/"}
Recorded = Callable[..., list[str]]
MANIFESTS = sorted([*(DEPLOY / "k8s").glob("*.yaml"), *(DEPLOY / "spark").glob("*.yaml")])


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def manifest(name: str) -> dict[str, Any]:
    (document,) = documents(DEPLOY / name)
    return document


def pods(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod that a document describes, with a name for it: ``{"metadata": ..., "spec": ...}``."""
    kind, spec = document["kind"], document.get("spec", {})
    if kind == "Pod":
        yield "pod", document
    elif kind == "Job":
        yield "pod", spec["template"]
    elif kind == "CronJob":
        yield "pod", spec["jobTemplate"]["spec"]["template"]
    elif kind in ("SparkApplication", "ScheduledSparkApplication"):
        spec = spec.get("template", spec)
        yield from ((part, spec[part]["template"]) for part in ("driver", "executor"))
    elif kind == "RayJob":
        yield "submitter", spec["submitterPodTemplate"]
        yield "head", spec["rayClusterSpec"]["headGroupSpec"]["template"]
        yield from ((group["groupName"], group["template"]) for group in spec["rayClusterSpec"]["workerGroupSpecs"])


def spark_application(name: str) -> dict[str, Any]:
    spec = manifest(name)["spec"]
    return spec.get("template", spec)


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Where a job is started, and its argv, for every file that holds it as data. Scripts and units are run or read."""
    for path in MANIFESTS:
        for document in documents(path):
            if document["kind"].endswith("SparkApplication"):
                spec = document["spec"].get("template", document["spec"])
                yield path.name, [spec["mainApplicationFile"], *spec["arguments"]]
            elif document["kind"] == "RayJob":
                yield path.name, shlex.split(document["spec"]["entrypoint"])
            for _, pod in pods(document):
                for container in pod["spec"]["containers"]:
                    if container.get("args"):
                        yield path.name, container["args"]
    spark = json.loads((DEPLOY / "managed/emr-serverless-job-run.json").read_text())["jobDriver"]["sparkSubmit"]
    yield "emr-serverless-job-run.json", [spark["entryPoint"], *spark["entryPointArguments"]]
    batch = json.loads((DEPLOY / "managed/dataproc-batch.json").read_text())["pysparkBatch"]
    yield "dataproc-batch.json", [batch["mainPythonFileUri"], *batch["args"]]


def job_settings(argv: list[str], files: tuple[str, ...] = ()) -> Settings:
    """The settings that a job would run with: parsed by the real parser, loaded by the real loader.

    ``files`` are those that Spark lays into the working folder (``--files``).
    """
    place = next(number for number, word in enumerate(argv) if Path(word).name in JOBS)
    job = Path(argv[place]).name
    assert (ROOT / "jobs" / job).is_file()
    if argv[place].startswith(("/opt/tlnlp/", "local:///opt/tlnlp/")):
        assert argv[place].endswith(f"/opt/tlnlp/jobs/{job}")
    parsed = job_parser("").parse_args([word.replace("@today@", TODAY) for word in argv[place + 1 :]])
    config = config_file(parsed.config, files) if parsed.config else None
    return load_settings(JOBS[job], config, parsed.overrides)


def config_file(named: str, files: tuple[str, ...] = ()) -> Path:
    """The file of the repository that stands behind a name in a manifest."""
    shipped = {Path(file).name: file for file in files}
    named = shipped.get(named, named)
    for folder, own in INSTALLED.items():
        if named.startswith(folder):
            named = own + named.removeprefix(folder)
    path = ROOT / named
    assert path.is_file(), f"{named}: no such file in the repository"
    return path


def after(argv: list[str], option: str) -> str:
    return argv[argv.index(option) + 1]


def needs(there: bool, told: str) -> None:
    """Skip the test where something of the machine is missing; in CI that is a failure."""
    if not there:
        pytest.fail(told) if os.environ.get("CI") else pytest.skip(told)
