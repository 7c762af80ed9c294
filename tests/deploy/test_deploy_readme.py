"""The checklists of deploy/README.md name only what exists, and nothing in deploy/ is missing there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import deploy_kit as kit
import pytest

README = (kit.DEPLOY / "README.md").read_text()
PAGES = [kit.DEPLOY / "README.md", kit.DEPLOY / "warehouse.md", kit.ROOT / "docs/operations.md"]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
# Variables that a shell has, or that a checklist sets itself.
OF_THE_SHELL = {"HOME", "EDITOR", "AIRFLOW_HOME", "account"}


def section(title: str) -> str:
    """Return the text below a heading."""
    found = re.search(rf"^## {title}.*?\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def test_every_file_of_the_folder_is_listed() -> None:
    files = section("The files")
    for path in kit.DEPLOY.rglob("*"):
        if path.is_file() and path.suffix not in (".md", ".dockerignore", ".pyc"):
            assert path.name in files, f"{path.name} is not in the list of files"


def test_every_file_that_is_named_exists() -> None:
    names = {path.name for path in kit.DEPLOY.rglob("*")} | {path.name for path in (kit.ROOT / "tests").iterdir()}
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL))
    words = [word for code in inline for word in code.split()]
    named = {
        word.rstrip("/") for word in words if re.fullmatch(r"[\w@/.-]+\.(?:sh|ya?ml|json|py|env|service|timer)", word)
    }
    assert len(named) > 15
    for word in named:
        assert (kit.DEPLOY / word).is_file() or (kit.ROOT / word).is_file(), word
    for block in [*BLOCKS, section("The files")]:
        for word in re.findall(r"[\w@-]+\.(?:sh|yaml|service|timer)\b", block):
            assert word in names | {path.name for path in (kit.ROOT / "conf").iterdir()}, word
    for name in re.findall(r"\$RENDERED/(\w+/[\w.-]+)", README):
        assert name in kit.FILES, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_variable_is_a_setting(page: Path) -> None:
    named = set(re.findall(r"\$\{?([A-Za-z_]+)", page.read_text())) - {"NAME"}
    assert len(named) > 1
    assert named <= kit.SETTINGS.keys() | OF_THE_SHELL


def test_every_path_is_a_numbered_checklist_to_a_published_night() -> None:
    paths = {
        "One machine with systemd": 1,
        "A standalone Spark cluster": 5,
        "YARN": 5,
        "Airflow": 9,
        "Kubernetes": 4,
        "AWS: EMR Serverless": 5,
        "Google Cloud: Dataproc Serverless": 5,
    }
    for title, first in paths.items():
        steps = [int(number) for number in re.findall(r"^# (\d+)\. ", section(title), re.MULTILINE)]
        assert steps == list(range(first, first + len(steps))), title
        assert len(steps) >= 3, title
        assert "tlnlp query" in section(title), f"{title} does not end with a look at the night"
    assert [int(number) for number in re.findall(r"^# (\d+)\. ", section("The first steps"), re.MULTILINE)] == [
        1,
        2,
        3,
        4,
    ]


def test_every_heading_that_is_linked_exists() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^## (.+)$", README, re.MULTILINE)
    }
    linked = re.findall(r"\]\(#([\w-]+)\)", README)
    assert len(linked) >= 8
    assert set(linked) <= anchors


def test_the_table_of_ports_has_every_port_of_the_files() -> None:
    table = section("Ports and addresses")
    texts = [
        *kit.FILES.values(),
        *(path.read_text() for path in kit.DEPLOY.rglob("*.sh")),
        "\n".join(kit.SETTINGS.values()),
    ]
    ports = {port for text in texts for port in re.findall(r"(?:[cC]ontainerPort: |\bport: |://[\w.-]+:)(\d+)", text)}
    assert ports >= {"6379", "8265", "7077", "6443"}
    assert not {port for port in ports if not re.search(rf"\b{port}\b", table)}
    for name in ("RAY_API_SERVER_ADDRESS", "SPARK_MASTER", "KUBERNETES_API", "HADOOP_CONF_DIR", "STORAGE"):
        assert f"`{name}`" in table


def test_a_line_of_cron_runs_a_script_in_the_checkout() -> None:
    lines = re.findall(r"^\d+ \d+ \* \* \* cd (\S+) && (\S+) >>", README, re.MULTILINE)
    assert {script for _, script in lines} == {
        "deploy/spark/submit-standalone.sh",
        "deploy/spark/submit-yarn.sh",
        "deploy/managed/emr-serverless-submit.sh",
        "deploy/managed/dataproc-submit.sh",
    }
    assert all(folder == kit.SETTINGS["TLNLP_HOME"] and (kit.ROOT / script).is_file() for folder, script in lines)
    assert README.count("CRON_TZ=UTC\n") == len(lines)


def test_the_namespaced_names_of_the_checklists_exist() -> None:
    made = [document["metadata"] for name in kit.MANIFESTS for document in kit.documents(name)]
    assert any(one.get("name") == "tlnlp-score" for one in made)
    assert "--from=cronjob/tlnlp-score" in README
    components = {one.get("labels", {}).get("app.kubernetes.io/component") for one in made}
    assert set(re.findall(r"-l app\.kubernetes\.io/component=(\w+)", README)) <= components
    accounts = {one["metadata"]["name"] for one in kit.documents("k8s/rbac.yaml") if one["kind"] == "ServiceAccount"}
    (loop,) = re.findall(r"^for account in (.+); do$", README, re.MULTILINE)
    assert {*loop.split(), *re.findall(r"--service-account ([a-z-]+)", README)} == accounts


def test_the_commands_of_the_checklists_are_shell() -> None:
    """Bash parses each block, without the lines that go into a crontab."""
    for block in BLOCKS:
        code = re.sub(r"^\d+ \d+ \* \* \* .*$", "", block, flags=re.MULTILINE)
        done = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
