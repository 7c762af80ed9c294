"""The policies of the roles allow what the jobs do with the bucket, and no more; the README lists the same."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator

import deploy_kit as kit
import pytest

from tlnlp.config import FinetuneSettings

BUCKET = f"arn:aws:s3:::{kit.SETTINGS['BUCKET']}"
PARTS = ("code", "documents", "heldout", "labels", "logs", "registry", "warehouse")
ACTIONS = {"read": ("s3:GetObject",), "write": ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")}
# The keys of the jobs that hold an address which is read, or written.
READ, WRITTEN = ("documents", "labels", "unlabelled"), {"score.py": "warehouse", "finetune.py": "registry"}
WRITTEN |= {"promote.py": "registry", "maintain": "warehouse"}


def allowed(role: str, action: str, part: str) -> bool:
    """Return whether a role's policy allows an action on an object in a folder of the bucket."""
    statements = json.loads(kit.FILES[f"iam/{role}-policy.json"])["Statement"]
    for one in statements:
        actions, resources = ([one[key]] if isinstance(one[key], str) else one[key] for key in ("Action", "Resource"))
        if action in actions and any(fnmatch.fnmatchcase(f"{BUCKET}/{part}/a.parquet", each) for each in resources):
            return True
    return False


def rights(role: str) -> dict[str, set[str]]:
    """Return the folders of the bucket that a role may only read, and those that it may write."""
    write = {part for part in PARTS if all(allowed(role, action, part) for action in ACTIONS["write"])}
    return {"read": {part for part in PARTS if allowed(role, "s3:GetObject", part)} - write, "write": write}


def needed(role: str) -> Iterator[tuple[str, str]]:
    """Yield the kind of use and the folder of each address in the jobs that run with a role."""
    jobs = {"score": ("score.py", "maintain"), "train": ("finetune.py", "promote.py")}[role]
    for _, argv in kit.command_lines():
        for job in jobs:
            if any(word.rpartition("/")[2] == job for word in argv):
                settings = kit.job_settings(argv).model_dump()
                for key in {*READ, "registry", "warehouse"} & settings.keys():
                    address = str(settings[key] or "")
                    if address.startswith(kit.SETTINGS["STORAGE"]):
                        use = "write" if WRITTEN[job] == key else "read"
                        yield use, address.removeprefix(f"{kit.SETTINGS['STORAGE']}/").partition("/")[0]


@pytest.mark.parametrize("role", ["score", "train"])
def test_a_role_may_do_what_its_jobs_do(role: str) -> None:
    uses = set(needed(role))
    assert len(uses) >= 3
    for use, part in uses:
        for action in ACTIONS[use]:
            assert allowed(role, action, part), f"{role} may not {action} in {part}/"


def test_training_may_read_the_documents_too() -> None:
    assert "unlabelled" in FinetuneSettings.model_fields
    assert allowed("train", "s3:GetObject", "documents")


@pytest.mark.parametrize("role", ["score", "train"])
def test_a_role_may_do_no_more_and_the_readme_lists_it(role: str) -> None:
    expected = {
        "score": {"read": {"documents", "registry", "code"}, "write": {"warehouse", "logs"}},
        "train": {"read": {"labels", "heldout", "documents"}, "write": {"registry"}},
    }[role]
    assert rights(role) == expected
    readme = (kit.DEPLOY / "README.md").read_text()
    row = re.search(rf"^\| `{role.upper()}_ROLE`.*\| `(.+)` \| `(.+)` \|$", readme, re.MULTILINE)
    assert row is not None
    listed = [{folder.removesuffix("/") for folder in cell.split()} for cell in row.groups()]
    assert listed == [expected["read"], expected["write"]]


def test_a_role_is_used_by_what_the_files_name() -> None:
    trusted = json.loads(kit.FILES["iam/trust-policy.json"])["Statement"][0]["Principal"]["Service"]
    assert trusted == ["emr-serverless.amazonaws.com", "pods.eks.amazonaws.com"]
    role = f"arn:aws:iam::{kit.SETTINGS['AWS_ACCOUNT_ID']}:role/{kit.SETTINGS['SCORE_ROLE']}"
    assert kit.request("emr-serverless-job-run")["executionRoleArn"] == role
