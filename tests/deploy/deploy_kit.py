"""Helpers for the tests of ``deploy/``: its files, filled in with the example settings, and the pods and jobs in them.

``FILES`` has what ``deploy/render.py`` would write: the tests check the files that a cluster gets, not their templates.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Never

import pytest
import yaml

from tlnlp.cli.commands import cli
from tlnlp.cli.job import job_command
from tlnlp.config import (
    FinetuneSettings,
    MaintainSettings,
    PromoteSettings,
    ScoreSettings,
    Settings,
    load_settings,
)

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
JOBS: dict[str, type[Settings]] = {
    "finetune.py": FinetuneSettings,
    "promote.py": PromoteSettings,
    "score.py": ScoreSettings,
}
TODAY = "2026-11-24"  # Replaces @today@, so that no test depends on the clock.
# The folder of an image, and of the checkout on a machine with systemd, that holds the repository's files.
INSTALLED = "/opt/tlnlp/"
Recorded = Callable[..., list[str]]


def _load_render() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render", DEPLOY / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


render = _load_render()
SETTINGS: dict[str, str] = render.read_settings(DEPLOY / "settings.env")
FILES: dict[str, str] = render.rendered(SETTINGS)
MANIFESTS = sorted(name for name in FILES if name.startswith(("k8s/", "spark/")) and name.endswith(".yaml"))


def own_settings(folder: Path, **changes: str) -> Path:
    """Write the example settings, with changes, to a folder that gets the filled-in files too; return the path."""
    text = (DEPLOY / "settings.env").read_text()
    for name, value in ({"RENDERED": str(folder / "rendered")} | changes).items():
        text, count = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        assert count == 1, f"{name} is not in deploy/settings.env"
    path = folder / "settings.env"
    path.write_text(text)
    return path


def documents(name: str) -> list[dict[str, Any]]:
    """Return every document of a YAML file of deploy/, filled in."""
    return list(yaml.safe_load_all(FILES[name]))


def manifest(name: str) -> dict[str, Any]:
    """Return the only document of a YAML file of deploy/, filled in."""
    (document,) = documents(name)
    return document


def request(name: str) -> dict[str, Any]:
    """Return a request to a managed service, filled in."""
    content: dict[str, Any] = json.loads(FILES[f"managed/{name}.json"])
    return content


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
    application: dict[str, Any] = spec.get("template", spec)
    return application


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Yield the file name and the argv of every job in a manifest or request. Other tests cover scripts and units."""
    for path in map(Path, MANIFESTS):
        for document in documents(str(path)):
            if document["kind"].endswith("SparkApplication"):
                spec = document["spec"].get("template", document["spec"])
                yield path.name, [spec["mainApplicationFile"], *spec["arguments"]]
            elif document["kind"] == "RayJob":
                yield path.name, shlex.split(document["spec"]["entrypoint"])
            for _, pod in pods(document):
                for container in pod["spec"]["containers"]:
                    if container.get("args"):
                        yield path.name, container["args"]
    spark = request("emr-serverless-job-run")["jobDriver"]["sparkSubmit"]
    yield "emr-serverless-job-run.json", [spark["entryPoint"], *spark["entryPointArguments"]]
    batch = request("dataproc-batch")["pysparkBatch"]
    yield "dataproc-batch.json", [batch["mainPythonFileUri"], *batch["args"]]


def job_settings(argv: list[str], files: tuple[str, ...] = ()) -> Settings:
    """Return the settings that a job would run with, by the real parser and the real loader.

    ``files``: the files that Spark copies into the working folder (``--files``).
    """
    if "maintain" in argv:
        return _maintain_settings(argv)
    place = next(number for number, word in enumerate(argv) if Path(word).name in JOBS)
    job = Path(argv[place]).name
    assert (ROOT / "jobs" / job).is_file()
    if argv[place].startswith(("/opt/tlnlp/", "local:///opt/tlnlp/")):
        assert argv[place].endswith(f"/opt/tlnlp/jobs/{job}")
    arguments = [word.replace("@today@", TODAY) for word in argv[place + 1 :]]
    parsed = job_command("", JOBS[job], _never_run).make_context(job, arguments).params
    config = config_file(parsed["config"], files) if parsed["config"] else None
    return load_settings(JOBS[job], config, parsed["overrides"])


def _maintain_settings(argv: list[str]) -> Settings:
    """Return the settings of ``python -m tlnlp maintain``."""
    place = argv.index("maintain")
    assert argv[place - 2 : place] == ["-m", "tlnlp"]
    parsed = cli.commands["maintain"].make_context("maintain", argv[place + 1 :]).params
    return load_settings(MaintainSettings, config_file(parsed["config"]), parsed["overrides"])


def _never_run(settings: Settings) -> Never:
    pytest.fail(f"{type(settings).__name__}: the job was started, not only its arguments read")


def config_file(named: str, files: tuple[str, ...] = ()) -> Path:
    """Return the file of the repository that a name in a manifest refers to."""
    shipped = {Path(file).name: file for file in files}
    named = shipped.get(named, named)
    path = ROOT / named.removeprefix(INSTALLED)
    assert path.is_file(), f"{named}: no such file in the repository"
    return path


def after(argv: list[str], option: str) -> str:
    """Return the value that follows an option."""
    return argv[argv.index(option) + 1]


def needs(there: bool, reason: str) -> None:
    """Skip the test where the machine lacks something that it needs. In CI, fail instead."""
    if not there:
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
