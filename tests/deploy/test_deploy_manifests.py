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
ALL = [(path, document) for path in kit.MANIFESTS for document in kit.documents(path)]
NAMES = [f"{path.name}-{document['kind']}" for path, document in ALL]
PODS = [(f"{path.name}-{part}", pod) for path, document in ALL for part, pod in kit.pods(document)]
VERSION = tomllib.loads((kit.ROOT / "pyproject.toml").read_text())["project"]["version"]


def is_core(document: dict[str, Any]) -> bool:
    group = document["apiVersion"].partition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and not group.startswith("sparkoperator"))


@pytest.mark.parametrize(("path", "document"), [one for one in ALL if is_core(one[1])], ids=lambda one: str(one)[-40:])
def test_a_core_manifest_holds_to_the_schema_of_kubernetes(path: Path, document: dict[str, Any]) -> None:
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
    named = {
        word
        for path in kit.DEPLOY.rglob("*")
        if path.is_file() and "airflow" not in path.parts
        for word in re.findall(r"registry\.example\.com/tlnlp/[\w.:@-]+", path.read_text())
    }
    assert named == {f"registry.example.com/tlnlp/{part}:{VERSION}" for part in ("score", "train")}
    for part in ("score", "train"):
        assert f'image.version="{VERSION}"' in (kit.DEPLOY / f"images/{part}.Dockerfile").read_text()


def test_every_service_account_that_is_used_exists() -> None:
    there = {one["metadata"]["name"] for _, one in ALL if one["kind"] == "ServiceAccount"}
    named = {pod["spec"]["serviceAccountName"] for _, pod in PODS if "serviceAccountName" in pod["spec"]}
    for path in kit.DEPLOY.rglob("*"):
        if path.suffix in (".yaml", ".sh"):
            named |= set(re.findall(r"(?:serviceAccountName=|serviceAccount: )(\S+)", path.read_text()))
    assert named == there
    (binding,) = (one for _, one in ALL if one["kind"] == "RoleBinding")
    assert {subject["name"] for subject in binding["subjects"]} == {"tlnlp-driver"}
    namespaces = {one["metadata"].get("namespace") for _, one in ALL if one["kind"] not in ("Pod", "Namespace")}
    assert namespaces == {"tlnlp"}


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


@pytest.mark.parametrize(("name", "hopeless"), [("score-cronjob", {2, 3, 4, 8, 9}), ("promote-job", {2, 3, 4, 5})])
def test_exit_codes_that_a_retry_cannot_change_are_not_retried(name: str, hopeless: set[int]) -> None:
    from tlnlp import errors

    spec = kit.manifest(f"k8s/{name}.yaml")["spec"]
    job = spec.get("jobTemplate", {}).get("spec", spec)
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # Without it Kubernetes refuses a failure policy.
    (rule,) = (rule for rule in job["podFailurePolicy"]["rules"] if rule["action"] == "FailJob")
    assert set(rule["onExitCodes"]["values"]) == hopeless
    assert hopeless <= {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type)}


def test_the_two_applications_differ_in_the_day_alone() -> None:
    once, nightly = (kit.spark_application(f"k8s/score-{kind}sparkapplication.yaml") for kind in ("", "scheduled"))
    assert once["arguments"][:-1] == nightly["arguments"][:-1]
    assert once | {"arguments": []} == nightly | {"arguments": []}
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


def test_every_file_and_every_placeholder_is_in_the_readme() -> None:
    readme = (kit.DEPLOY / "README.md").read_text()
    for path in kit.DEPLOY.rglob("*"):
        if (
            path.is_file()
            and "airflow" not in path.parts
            and path.name != "README.md"
            and path.suffix != ".dockerignore"
        ):
            assert path.name in readme, f"{path.name} is not in deploy/README.md"
            held = set(
                re.findall(r"111122223333|eu-central-1|europe-west3|[\w.]*example[\w]*(?:-\w+)*", path.read_text())
            )
            for word in held - {"example"}:
                known = word in readme or re.search(r"\.example$|^registry\.example|^[\w-]+\.example", word)
                assert known, f"{path.name}: {word} is not among the placeholders of deploy/README.md"


def test_yaml_has_no_key_twice() -> None:
    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(map(str, keys))), f"{node.start_mark}: {keys}"
        return yaml.SafeLoader.construct_mapping(loader, node)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    for path in kit.DEPLOY.rglob("*.yaml"):
        list(yaml.load_all(path.read_text(), Strict))
