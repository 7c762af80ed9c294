"""Every schedule that reads exit codes retries what a retry may mend, and nothing else."""

from __future__ import annotations

import ast
import re

import deploy_kit as kit
import pytest

from tlnlp import errors

NO_RETRY = set(errors.NO_RETRY_EXIT_CODES)
CLASSES = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.TlnlpError)]


def codes(text: str) -> set[int]:
    """Return the numbers in a list of exit codes."""
    return {int(number) for number in re.findall(r"\d+", text)}


def test_every_class_with_an_exit_code_says_whether_a_retry_may_mend_it() -> None:
    for one in CLASSES:
        assert ("exit_code" in vars(one)) == ("retryable" in vars(one)), one.__name__
    assert {one.exit_code for one in CLASSES if not one.retryable} == NO_RETRY
    assert not NO_RETRY & {one.exit_code for one in CLASSES if one.retryable}
    assert errors.BudgetError.exit_code in NO_RETRY, "three tries would cost three budgets"
    assert errors.EngineError.exit_code not in NO_RETRY


@pytest.mark.parametrize("name", ["score-cronjob", "promote-job", "maintain-cronjob"])
def test_kubernetes(name: str) -> None:
    spec = kit.manifest(f"k8s/{name}.yaml")["spec"]
    job = spec.get("jobTemplate", {}).get("spec", spec)
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # Without it Kubernetes refuses a failure policy.
    (rule,) = (rule for rule in job["podFailurePolicy"]["rules"] if rule["action"] == "FailJob")
    assert set(rule["onExitCodes"]["values"]) == NO_RETRY


def test_systemd() -> None:
    unit = kit.FILES["systemd/tlnlp-score@.service"]
    (listed,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)
    assert codes(listed) == NO_RETRY


def test_airflow() -> None:
    (listed,) = re.findall(r"^NO_RETRY = (\(.*?\))", kit.FILES["airflow/tlnlp_nights.py"], re.MULTILINE)
    assert set(ast.literal_eval(listed)) == NO_RETRY


def test_the_pages() -> None:
    readme = (kit.DEPLOY / "README.md").read_text()
    listed = re.findall(r"codes that a retry cannot mend \(([\d, ]+)\)", readme.replace("\n  ", " "))
    assert [codes(one) for one in listed] == [NO_RETRY]
    page = (kit.ROOT / "docs/operations.md").read_text()
    table = dict(re.findall(r"^\| (\d+) \|.*\| (cannot|may help|-) \|$", page, re.MULTILINE))
    assert table.keys() == {str(one.exit_code) for one in CLASSES} | {"0"}
    assert {int(code) for code, retry in table.items() if retry == "cannot"} == NO_RETRY
    (may,) = re.findall(r"A retry may mend the codes ([\d, and]+)\.", page)
    assert codes(may) == {one.exit_code for one in CLASSES} - NO_RETRY


def test_a_file_that_lists_exit_codes_is_tested_here() -> None:
    """A schedule that is added later is not forgotten: its list is one of those above."""
    listing = re.compile(r"onExitCodes|RestartPreventExitStatus|NO_RETRY")
    tested = {f"k8s/{name}.yaml" for name in ("score-cronjob", "promote-job", "maintain-cronjob")}
    tested.add("systemd/tlnlp-score@.service")
    assert {name for name, text in kit.FILES.items() if listing.search(text)} == tested | {"airflow/tlnlp_nights.py"}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("k8s/score-scheduledsparkapplication.yaml", "onFailureRetries"),
        ("k8s/score-sparkapplication.yaml", "onFailureRetries"),
        ("k8s/finetune-rayjob.yaml", "backoffLimit"),
        ("spark/submit-yarn.sh", "maxAppAttempts"),
        ("managed/emr-serverless-submit.sh", "maxAttempts"),
    ],
)
def test_a_schedule_that_reads_no_exit_codes_warns_of_the_budget(name: str, key: str) -> None:
    text = (kit.DEPLOY / name).read_text()
    assert key in text
    assert "does not read exit codes" in re.sub(r"\s+#? *", " ", text).replace("does\nnot", "does not")
    assert "cost.budget_usd" in text
