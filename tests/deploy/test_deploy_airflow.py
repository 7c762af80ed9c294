"""The DAGs hold what the settings say. (`make acceptance` runs them in a real Airflow.)"""

from __future__ import annotations

import ast
import os
from typing import Any

import deploy_kit as kit
import pytest
from ray.dashboard.modules.job.cli import submit

from tlnlp.config import FinetuneSettings, MaintainSettings, PromoteSettings, ScoreSettings

TREE = ast.parse(kit.FILES["airflow/tlnlp_nights.py"])
CONSTANTS: dict[str, Any] = {
    node.targets[0].id: node.value.value
    for node in TREE.body
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Constant)
}


def test_the_commands_are_scripts_of_the_checkout() -> None:
    assert CONSTANTS["HOME"] == kit.SETTINGS["TLNLP_HOME"]
    for name in ("SCORE", "FINETUNE", "PROMOTE"):
        assert CONSTANTS[name] == kit.SETTINGS[f"AIRFLOW_{name}"]
        assert os.access(kit.ROOT / CONSTANTS[name], os.X_OK)


def test_no_command_is_taken_for_the_name_of_a_template() -> None:
    """Airflow reads a command that ends in .sh as a file of that name, which it does not find."""
    calls = [node for node in ast.walk(TREE) if isinstance(node, ast.keyword) and node.arg == "bash_command"]
    assert len(calls) == 1
    assert ast.unparse(calls[0].value) == "f'{command} '"
    called = {ast.unparse(node.func) for node in ast.walk(TREE) if isinstance(node, ast.Call)}
    assert "JobOperator" in called
    assert "BashOperator" not in called


@pytest.mark.parametrize("model", [None, "reviews"])
def test_what_is_trained_is_promoted_and_scored(model: str | None, run_script: kit.Recorded) -> None:
    own = {"MODEL": model} if model else {}
    scripts = {name: CONSTANTS[name].removeprefix("deploy/") for name in ("SCORE", "FINETUNE", "PROMOTE")}
    score = kit.job_settings(run_script(scripts["SCORE"], settings=own))
    submitted = submit.make_context("submit", run_script(scripts["FINETUNE"], settings=own)[2:]).params
    finetune = kit.job_settings(list(submitted["entrypoint"]))
    promote = kit.job_settings(run_script(scripts["PROMOTE"], settings=own))
    assert isinstance(score, ScoreSettings)
    assert isinstance(finetune, FinetuneSettings)
    assert isinstance(promote, PromoteSettings)
    assert {score.model, finetune.model, promote.model} == {model or kit.SETTINGS["MODEL"]}
    assert {score.registry, finetune.registry, promote.registry} == {kit.SETTINGS["REGISTRY"]}
    assert (finetune.labels, promote.labels) == (kit.SETTINGS["LABELS"], kit.SETTINGS["HELDOUT"])


def test_every_job_of_every_path_has_the_model_of_the_settings() -> None:
    for place, argv in kit.command_lines():
        settings = kit.job_settings(argv)
        if not isinstance(settings, MaintainSettings):
            assert settings.model_dump()["model"] == kit.SETTINGS["MODEL"], place


def test_the_weekly_maintenance_is_of_the_warehouse_of_the_nights(run_script: kit.Recorded) -> None:
    assert os.access(kit.ROOT / CONSTANTS["MAINTAIN"], os.X_OK)
    maintained = kit.job_settings(run_script("maintain.sh", "--set", "keep_days=7"))
    assert isinstance(maintained, MaintainSettings)
    assert (maintained.warehouse, maintained.keep_days) == (kit.SETTINGS["WAREHOUSE"], 7.0)
