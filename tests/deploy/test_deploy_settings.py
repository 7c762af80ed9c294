"""All values of an installation are in deploy/settings.env; deploy/render.py fills the other files in with them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import deploy_kit as kit
import pytest

RENDER = kit.DEPLOY / "render.py"
# Files of deploy/ that are neither settings nor pages for readers.
SOURCES = sorted(
    path
    for path in kit.DEPLOY.rglob("*")
    if path.is_file() and path.suffix not in (".md", ".env", ".pyc") and path != RENDER
)
# The values that differ from one installation to the next.
OWN = {
    name: value
    for name, value in kit.SETTINGS.items()
    if "example" in value or name in ("MODEL", "AWS_REGION", "AWS_ACCOUNT_ID", "GOOGLE_CLOUD_REGION")
}


def run_render(*arguments: str, settings: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run deploy/render.py as a user does."""
    environment = {"PATH": os.environ["PATH"]} | ({"TLNLP_SETTINGS": str(settings)} if settings else {})
    return subprocess.run([RENDER, *arguments], env=environment, capture_output=True, text=True, timeout=60)


def refusal(*arguments: str, settings: Path) -> str:
    """Run deploy/render.py on settings that it refuses, and return its message."""
    done = run_render(*arguments, settings=settings)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_one_command_fills_every_file_in(tmp_path: Path) -> None:
    done = run_render(settings=kit.own_settings(tmp_path))
    assert done.returncode == 0, done.stderr
    own = kit.SETTINGS | {"RENDERED": str(tmp_path / "rendered")}
    written = [path for path in (tmp_path / "rendered").rglob("*") if path.is_file()]
    assert {str(path.relative_to(tmp_path / "rendered")): path.read_text() for path in written} == kit.render.rendered(
        own
    )
    ignored = ["git", "check-ignore", "--quiet", f"{kit.SETTINGS['RENDERED']}/k8s/rbac.yaml"]
    assert subprocess.run(ignored, cwd=kit.ROOT).returncode == 0


@pytest.mark.parametrize("name", sorted(kit.FILES))
def test_no_placeholder_is_left_and_comments_stay(name: str) -> None:
    template = (kit.DEPLOY / name).read_text()
    assert "${" not in kit.FILES[name]
    assert re.sub(r"\$\{\w+\}", "", template).count("#") == kit.FILES[name].count("#")


def test_every_file_that_needs_settings_gets_them() -> None:
    paths = [path for path in SOURCES if path.suffix == ".sh"]
    scripts = {path: re.sub(r"^ *#.*$", "", path.read_text(), flags=re.MULTILINE) for path in paths}
    for path in SOURCES:
        name = str(path.relative_to(kit.DEPLOY))
        if path not in scripts and re.search(r"\$\{[A-Z_]+\}", path.read_text()):
            assert name in kit.FILES, f"{name} has placeholders, and deploy/render.py does not fill it in"
    for path, code in scripts.items():
        used = set(re.findall(r"\$\{?([A-Z_]+)\b(?!:)", code))
        if used & kit.SETTINGS.keys():
            assert path.name == "load-settings.sh" or "\n. deploy/load-settings.sh\n" in code, path.name
        assert used <= kit.SETTINGS.keys() | {"SPARK_ENTRYPOINT", "BASH_SOURCE"}, path.name


def test_every_setting_is_used_and_explained() -> None:
    texts = [path.read_text() for path in [*SOURCES, kit.DEPLOY / "README.md", kit.DEPLOY / "settings.env"]]
    for name in kit.SETTINGS:
        uses = sum(len(re.findall(rf"(?:\$\{{?|export ){name}\b", text)) for text in texts)
        assert uses or name == "TLNLP_HOME", f"{name} is used nowhere"
    lines = (kit.DEPLOY / "settings.env").read_text().splitlines()
    for number, line in enumerate(lines):
        if line and not line.startswith("#"):
            above = lines[max(0, number - 3) : number]
            assert any(one.startswith("# ") for one in above), f"{line}: no comment explains it"


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(kit.DEPLOY)) for path in SOURCES])
def test_no_other_file_holds_a_value_of_its_own(path: Path) -> None:
    text = path.read_text()
    for name, value in OWN.items():
        assert not re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", text), f"it holds the value of {name}"
    assert not re.search(r"\b(?:s3a?|gs)://[a-z0-9]", text), "it names a bucket"
    assert not re.search(r"\b\d{12}\b", text), "it names an AWS account"
    assert not re.search(r"\b(?:eu|us|ap|europe|asia)-(?:[a-z]+-\d|[a-z]+\d)\b", text), "it names a region"
    assert "example" not in text


def test_settings_hold_no_secret() -> None:
    assert not [name for name in kit.SETTINGS if re.search("SECRET|PASSWORD|TOKEN|CREDENTIAL|_KEY", name)]


def test_bash_reads_the_settings_as_the_program_does(tmp_path: Path) -> None:
    own = kit.own_settings(tmp_path, STORAGE="gs://${BUCKET}")
    names = " ".join(f'"${name}"' for name in kit.SETTINGS)
    done = subprocess.run(
        ["bash", "-euc", f". deploy/load-settings.sh; printf '%s\\n' {names}; env"],
        cwd=kit.ROOT,
        env={"PATH": os.environ["PATH"], "TLNLP_SETTINGS": str(own)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = done.stdout.splitlines()
    assert dict(zip(kit.SETTINGS, lines, strict=False)) == kit.render.read_settings(own)
    assert lines[list(kit.SETTINGS).index("DOCUMENTS")] == "gs://example-bucket/documents"
    assert "AWS_REGION=eu-central-1" in lines
    assert not [line for line in lines if line.startswith("HADOOP_CONF_DIR=")], "Spark would read it on every cluster"


def test_envsubst_gives_the_same_files() -> None:
    kit.needs(shutil.which("envsubst") is not None, "no envsubst (Debian's package gettext-base has it)")
    variables = " ".join(f"${{{name}}}" for name in kit.SETTINGS)
    for name, text in kit.FILES.items():
        template, command = (kit.DEPLOY / name).read_text(), ["envsubst", variables]
        done = subprocess.run(command, env=os.environ | kit.SETTINGS, input=template, capture_output=True, text=True)
        assert done.stdout == text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("MODEL=", "MODEL has no value: set it"),
        ("MODLE=reviews", "MODLE is no setting"),
        ('MODEL="my reviews"', "write NAME=VALUE, without spaces and quotes"),
        ("MODEL=$BUCKET", "write NAME=VALUE, without spaces and quotes"),
        ("MODEL=$(hostname)", "write NAME=VALUE, without spaces and quotes"),
        ("AWS_SECRET_ACCESS_KEY=abc", "AWS_SECRET_ACCESS_KEY is no setting"),
        ("MODEL=${BUKCET}", r"${BUKCET} is no setting"),
        ("# MODEL=reviews", "MODEL is not set: copy its line"),
    ],
)
def test_a_wrong_line_is_refused_with_a_sentence(tmp_path: Path, line: str, message: str) -> None:
    own = kit.own_settings(tmp_path)
    own.write_text(re.sub(r"^MODEL=.*$", line, own.read_text(), flags=re.MULTILINE))
    refused = refusal(settings=own)
    assert message in refused
    assert str(own) in refused
    assert not (tmp_path / "rendered").exists()


def test_a_script_refuses_wrong_settings_before_it_does_anything(run_script: kit.Recorded, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        run_script("spark/submit-standalone.sh", settings={"SPARK_MASTER": ""})
    assert refused.value.returncode == 2
    assert not (tmp_path / "recorded").exists()


def test_an_unknown_name_in_a_file_is_refused(tmp_path: Path) -> None:
    copied = shutil.copytree(kit.DEPLOY, tmp_path / "deploy")
    timer = copied / "systemd" / "tlnlp-score.timer"
    timer.write_text(timer.read_text() + "# ${NO_SUCH_NAME}\n")
    done = subprocess.run([copied / "render.py"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"{timer}: ${{NO_SUCH_NAME}} is no setting" in done.stderr
    assert not (tmp_path / "build").exists()


def test_settings_that_are_not_there_are_named(tmp_path: Path) -> None:
    assert "there is no such file of settings" in refusal(settings=tmp_path / "none.env")


def test_files_are_written_only_where_they_change(tmp_path: Path) -> None:
    """Scripts fill in before each start, also in a checkout that their user may not write to."""
    own = kit.own_settings(tmp_path)
    run_render(settings=own)
    files = [path for path in (tmp_path / "rendered").rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    own.write_text(own.read_text().replace("MODEL=tickets", "MODEL=reviews"))
    run_render("--check", settings=own)
    assert {path: path.stat().st_mtime_ns for path in files} == before
    run_render(settings=own)
    changed = {path.name for path in files if path.stat().st_mtime_ns != before[path]}
    assert "promote-job.yaml" in changed
    assert "rbac.yaml" not in changed
