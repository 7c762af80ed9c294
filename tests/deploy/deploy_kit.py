"""Helpers for the tests of ``deploy/``: read its documents, the pods in them, and the command lines in them."""

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
TODAY = "2026-11-24"  # Replaces @today@, so that no test depends on the clock.
# Folders of an image or a machine, and the folders of the repository that are copied there.
INSTALLED = {"/opt/tlnlp/": "", "/etc/tlnlp/": "conf/"}
Recorded = Callable[..., list[str]]
MANIFESTS = sorted([*(DEPLOY / "k8s").glob("*.yaml"), *(DEPLOY / "spark").glob("*.yaml")])


def documents(path: Path) -> list[dict[str, Any]]:
    """Return every document of a YAML file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def manifest(name: str) -> dict[str, Any]:
    """Return the only document of a YAML file in deploy/."""
    (document,) = documents(DEPLOY / name)
    return document


def pods(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a name and the pod ``{"metadata": ..., "spec": ...}`` for every pod that a document describes."""
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
    """Return the application that a SparkApplication or a ScheduledSparkApplication describes."""
    spec = manifest(name)["spec"]
    return spec.get("template", spec)


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Yield the file name and the argv of every job in a manifest or request. Other tests cover scripts and units."""
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
    """Return the settings that a job would run with, by the real parser and the real loader.

    ``files``: the files that Spark copies into the working folder (``--files``).
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
    """Return the file of the repository that a name in a manifest refers to."""
    shipped = {Path(file).name: file for file in files}
    named = shipped.get(named, named)
    for folder, own in INSTALLED.items():
        if named.startswith(folder):
            named = own + named.removeprefix(folder)
    path = ROOT / named
    assert path.is_file(), f"{named}: no such file in the repository"
    return path


def after(argv: list[str], option: str) -> str:
    """Return the value that follows an option."""
    return argv[argv.index(option) + 1]


def needs(there: bool, reason: str) -> None:
    """Skip the test where the machine lacks something that it needs. In CI, fail instead."""
    if not there:
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
