"""Manifests are valid by the schemas of the programs that read them, and set what a night depends on."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import deploy_kit as kit
import jsonschema
import kubernetes_validate
import pytest
import yaml

KUBERNETES = "1.34"
ALL = [(name, document) for name in kit.MANIFESTS for document in kit.documents(name)]
PODS = [(f"{name}-{part}", pod) for name, document in ALL for part, pod in kit.pods(document)]
VERSION = tomllib.loads((kit.ROOT / "pyproject.toml").read_text())["project"]["version"]


def is_core(document: dict[str, Any]) -> bool:
    group = document["apiVersion"].partition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and not group.startswith("sparkoperator"))


CORE = [one for one in ALL if is_core(one[1])]


@pytest.mark.parametrize(("name", "document"), CORE, ids=[f"{name}-{document['kind']}" for name, document in CORE])
def test_a_core_manifest_holds_to_the_schema_of_kubernetes(name: str, document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize(("name", "pod"), PODS, ids=[name for name, _ in PODS])
def test_a_pod_inside_a_custom_resource_holds_to_the_schema_of_kubernetes(name: str, pod: dict[str, Any]) -> None:
    whole = {"apiVersion": "v1", "kind": "Pod", "metadata": pod["metadata"], "spec": pod["spec"]}
    kubernetes_validate.validate(whole, KUBERNETES, strict=True)


@pytest.mark.parametrize("document", [one for _, one in ALL if not is_core(one)], ids=lambda one: one["kind"])
def test_a_custom_resource_holds_to_its_definition(document: dict[str, Any]) -> None:
    folder = os.environ.get("TLNLP_SCHEMAS")
    if not folder:
        pytest.skip("TLNLP_SCHEMAS names no folder with <Kind>.schema.json of the operators' definitions")
    schema = json.loads((Path(folder) / f"{document['kind']}.schema.json").read_text())
    jsonschema.validate(document, schema)


@pytest.mark.parametrize(("name", "pod"), PODS, ids=[name for name, _ in PODS])
def test_a_pod_has_no_privileges(name: str, pod: dict[str, Any]) -> None:
    """The Pod Security Standard `restricted`, which the namespace enforces, and limited memory."""
    security = pod["spec"]["securityContext"]
    assert security["runAsNonRoot"]
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["spec"]["containers"]:
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        if not container["name"].startswith("spark-kubernetes"):  # Spark sets the limits of these containers itself.
            assert container["resources"]["limits"]["memory"]
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            assert volumes[mount["name"]]["emptyDir"]["sizeLimit"], "scratch space without a limit, or a lasting volume"


def test_images_are_pinned_to_this_version() -> None:
    assert kit.SETTINGS["IMAGE_TAG"] == VERSION
    named = {word for text in kit.FILES.values() for word in re.findall(r"registry\.example\.com/[\w/.:@-]+", text)}
    assert named == {f"registry.example.com/tlnlp/{part}:{VERSION}" for part in ("score", "train")}
    for part in ("score", "train"):
        assert f'image.version="{VERSION}"' in (kit.DEPLOY / f"images/{part}.Dockerfile").read_text()


def test_every_service_account_that_is_used_exists() -> None:
    there = {one["metadata"]["name"] for _, one in ALL if one["kind"] == "ServiceAccount"}
    named = {pod["spec"]["serviceAccountName"] for _, pod in PODS if "serviceAccountName" in pod["spec"]}
    scripts = [path.read_text() for path in kit.DEPLOY.rglob("*.sh")]
    for text in [*kit.FILES.values(), *scripts, (kit.DEPLOY / "README.md").read_text()]:
        named |= set(re.findall(r"(?:serviceAccountName=|serviceAccount: |--service-account )([a-z][\w-]+)", text))
    assert named == there
    (binding,) = (one for _, one in ALL if one["kind"] == "RoleBinding")
    assert {subject["name"] for subject in binding["subjects"]} == {"tlnlp-driver"}
    namespaces = {one["metadata"].get("namespace") for _, one in ALL if one["kind"] not in ("Pod", "Namespace")}
    assert namespaces == {kit.SETTINGS["NAMESPACE"]}


def _latest_s(schedule: str) -> int:
    minute, hour, *rest = schedule.split()
    assert rest == ["*", "*", "*"]
    return int(hour) * 3600 + int(minute) * 60


def test_a_night_ends_before_its_day_ends() -> None:
    """@today@ is the day on which a try starts, so the last try must not start after midnight."""
    cron = kit.manifest("k8s/score-cronjob.yaml")["spec"]
    assert cron["concurrencyPolicy"] == "Forbid"
    assert cron["timeZone"] == "Etc/UTC"
    job = cron["jobTemplate"]["spec"]
    assert _latest_s(cron["schedule"]) + cron["startingDeadlineSeconds"] + job["activeDeadlineSeconds"] < 86400
    scheduled = kit.manifest("k8s/score-scheduledsparkapplication.yaml")["spec"]
    assert scheduled["concurrencyPolicy"] == "Forbid"
    assert scheduled["timeZone"] == "Etc/UTC"
    application = scheduled["template"]
    retries = application["restartPolicy"]
    tries = 1 + retries["onFailureRetries"]
    each = application["driver"]["template"]["spec"]["activeDeadlineSeconds"] + retries["onFailureRetryInterval"]
    assert _latest_s(scheduled["schedule"]) + tries * each < 86400


def test_the_two_applications_are_the_same() -> None:
    once, nightly = (kit.spark_application(f"k8s/score-{kind}sparkapplication.yaml") for kind in ("", "scheduled"))
    assert once == nightly
    assert once["driver"]["template"] == _template("driver")
    assert once["executor"]["template"] == _template("executor")


def _template(part: str) -> dict[str, Any]:
    pod = kit.manifest(f"spark/{part}-pod.yaml")
    return {key: pod[key] for key in ("metadata", "spec")}


def test_ray_has_the_locked_version_and_every_worker_has_a_pod() -> None:
    job = kit.manifest("k8s/finetune-rayjob.yaml")["spec"]
    locked = re.search(r"^ray==(\S+)", (kit.ROOT / "requirements/train.lock").read_text(), re.MULTILINE)
    assert locked is not None
    assert job["rayClusterSpec"]["rayVersion"] == locked[1]
    (group,) = job["rayClusterSpec"]["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"]
    assert f"--set ray.workers={group['replicas']}" in job["entrypoint"]
    assert job["activeDeadlineSeconds"] > job["preRunningDeadlineSeconds"]
    resources = group["template"]["spec"]["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"]


def test_yaml_has_no_key_twice() -> None:
    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(map(str, keys))), f"{node.start_mark}: {keys}"
        return yaml.SafeLoader.construct_mapping(loader, node)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    for name, text in kit.FILES.items():
        if name.endswith(".yaml"):
            list(yaml.load_all(text, Strict))
