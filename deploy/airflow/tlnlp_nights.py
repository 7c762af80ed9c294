"""Two DAGs: score every night, and train again when the labels change.

Copy this file into Airflow's DAG folder, and set these environment variables for Airflow's processes: TLNLP_HOME, a
checkout of tlnlp; TLNLP_SCORE, the command that scores a night (it reads the day from SCORE_DATE); TLNLP_FINETUNE and
TLNLP_PROMOTE, the commands that train and promote. The commands run where Airflow's tasks run, and submit jobs to
clusters from there. Airflow's own environment needs no package of tlnlp.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset
from airflow.timetables.interval import CronDataIntervalTimetable

HOME = os.environ.get("TLNLP_HOME", ".")
SCORE = os.environ.get("TLNLP_SCORE", "deploy/spark/submit-standalone.sh")
FINETUNE = os.environ.get("TLNLP_FINETUNE", "deploy/ray/submit-finetune.sh")
PROMOTE = os.environ.get("TLNLP_PROMOTE", "python jobs/promote.py --config conf/promote.yaml")
REFUSED = 5  # The exit code of the gate when it refuses a version, which is no failure of the DAG.

scores = Asset(name="tlnlp_scores", uri="tlnlp://scores")
labels = Asset(name="tlnlp_labels", uri="tlnlp://labels")
START = pendulum.datetime(2026, 1, 1, tz="UTC")


def command(line: str) -> str:
    """Return the shell command that runs a line in TLNLP_HOME."""
    return f'cd "{HOME}" && {line}'


with DAG(
    "tlnlp_score",
    # In Airflow 3 a plain cron string has no data interval. With one, a night scores the day that has just ended.
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,  # One night at a time.
    dagrun_timeout=timedelta(hours=8),
    tags=["tlnlp"],
):
    BashOperator(
        task_id="score",
        bash_command=command(SCORE),
        env={"SCORE_DATE": "{{ data_interval_start | ds }}"},
        append_env=True,
        # A night that runs again replaces its day, so a retry is safe.
        retries=2,
        retry_delay=timedelta(minutes=10),
        execution_timeout=timedelta(hours=6),
        outlets=[scores],
    )

with DAG(
    "tlnlp_learn",
    schedule=[labels],  # Emit an event of this asset when the labels have changed.
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=12),
    tags=["tlnlp"],
):
    finetune = BashOperator(
        task_id="finetune",
        bash_command=command(FINETUNE),
        append_env=True,
        # A retry with the same labels and config resumes at the last checkpoint.
        retries=2,
        retry_delay=timedelta(minutes=5),
        execution_timeout=timedelta(hours=6),
    )
    promote = BashOperator(
        task_id="promote",
        bash_command=command(PROMOTE),
        append_env=True,
        skip_on_exit_code=REFUSED,
        execution_timeout=timedelta(hours=1),
    )
    finetune >> promote
