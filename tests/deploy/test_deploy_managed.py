"""Requests to managed services are valid by the models in the client libraries of the services."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import botocore.session
import deploy_kit as kit
import pytest
from botocore.validate import ParamValidator

# Google Cloud reads code and data at gs:// only.
GOOGLE = {"STORAGE": "gs://example-bucket"}


def _faults(operation: str, request: dict[str, Any]) -> str:
    """Return what is wrong with a request, by botocore and by the patterns, which botocore leaves to the service."""
    service = botocore.session.get_session().get_service_model("emr-serverless")
    shape = service.operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape).generate_report()
    return "\n".join([report, *_misfits(request, shape, "")]).strip()


def _misfits(value: Any, shape: Any, place: str) -> list[str]:
    if shape.type_name == "structure":
        return [
            one
            for key in value
            if key in shape.members
            for one in _misfits(value[key], shape.members[key], f"{place}.{key}")
        ]
    if shape.type_name == "list":
        return [one for item in value for one in _misfits(item, shape.member, f"{place}[]")]
    if shape.type_name == "map":
        return [one for key, item in value.items() for one in _misfits(item, shape.value, f"{place}.{key}")]
    pattern = shape.metadata.get("pattern")
    wrong = shape.metadata.get("enum") and value not in shape.metadata["enum"]
    wrong = wrong or (pattern and not re.fullmatch(pattern, str(value), re.DOTALL))
    return [f"{place}: {value!r} does not fit"] if wrong else []


@pytest.mark.parametrize(
    ("operation", "name"),
    [("CreateApplication", "emr-serverless-application"), ("StartJobRun", "emr-serverless-job-run")],
)
def test_a_request_to_emr_faults(operation: str, name: str) -> None:
    request = kit.request(name)
    # The aws command adds a token to every request that lacks one.
    assert _faults(operation, request | {"clientToken": "token"}) == ""
    faults = _faults("StartJobRun", {"clientToken": "token", "executionRoleArn": "arn:aws:im::1:role/a"})
    assert "applicationId" in faults
    assert "executionRoleArn" in faults


def test_emr_runs_one_night_at_a_time_and_ends_it() -> None:
    application = kit.request("emr-serverless-application")
    run = kit.request("emr-serverless-job-run")
    assert application["schedulerConfiguration"]["maxConcurrentRuns"] == 1
    assert 0 < run["executionTimeoutMinutes"] <= 12 * 60
    properties = run["configurationOverrides"]["applicationConfiguration"][0]["properties"]
    workers = int(properties["spark.dynamicAllocation.maxExecutors"])
    cores = workers * int(properties["spark.executor.cores"]) + int(properties["spark.driver.cores"])
    assert cores <= int(application["maximumCapacity"]["cpu"].split()[0])


def test_the_scripts_put_the_day_into_the_request(run_script: kit.Recorded) -> None:
    day = "2026-01-31"
    argv = run_script("managed/emr-serverless-submit.sh", SCORE_DATE=day)
    assert argv[:2] == ["emr-serverless", "start-job-run"]
    request = json.loads(kit.after(argv, "--cli-input-json"))
    assert _faults("StartJobRun", request | {"clientToken": "token"}) == ""
    assert f"score_date={day}" in request["jobDriver"]["sparkSubmit"]["entryPointArguments"]
    argv = run_script("managed/dataproc-submit.sh", settings=GOOGLE, SCORE_DATE=day, SUFFIX="-again")
    batch = json.loads(kit.after(argv, "--data"))["pysparkBatch"]
    assert f"score_date={day}" in batch["args"]
    assert batch["mainPythonFileUri"] == "gs://example-bucket/code/score.py"
    assert "/projects/example-project/locations/europe-west3/" in argv[-1]
    batch_id = argv[-1].partition("batchId=")[2]
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{2,61}[a-z0-9]", batch_id), "not an id that Dataproc takes"
    assert "token" not in " ".join(argv)


def test_dataproc_is_not_sent_to_a_store_that_it_cannot_read(run_script: kit.Recorded, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        run_script("managed/dataproc-submit.sh", settings={"STORAGE": "s3://bucket"})
    assert refused.value.returncode == 2
    assert not (tmp_path / "recorded").exists()


def test_a_request_to_dataproc_faults() -> None:
    reason = "google-cloud-dataproc is not installed: the request to Dataproc was not checked"
    try:
        from google.cloud import dataproc_v1
    except ImportError:
        kit.needs(False, reason)

    batch = dataproc_v1.Batch.from_json(kit.FILES["managed/dataproc-batch.json"], ignore_unknown_fields=False)
    execution = batch.environment_config.execution_config
    assert 0 < execution.ttl.total_seconds() <= 12 * 3600
    assert execution.authentication_config.user_workload_authentication_type.name == "SERVICE_ACCOUNT"


def test_both_services_get_the_same_night() -> None:
    emr, dataproc = (
        kit.job_settings(argv) for place, argv in kit.command_lines() if place.startswith(("emr-", "dataproc-"))
    )
    assert emr == dataproc
