"""Two DAGs: score every night, and learn again whenever the labels change.

Copy this file into Airflow's DAG folder and set, for its processes: TLNLP_HOME, a checkout of tlnlp; TLNLP_SCORE, the
command of a night (it finds the day in SCORE_DATE); TLNLP_FINETUNE and TLNLP_PROMOTE. The commands run where Airflow's
tasks run, and submit to clusters from there; Airflow's own environment needs nothing of tlnlp.
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
REFUSED = 5  # the gate keeps the champion: no failure of the night

scores = Asset(name="tlnlp_scores", uri="tlnlp://scores")
labels = Asset(name="tlnlp_labels", uri="tlnlp://labels")
START = pendulum.datetime(2026, 1, 1, tz="UTC")


def command(line: str) -> str:
    return f'cd "{HOME}" && {line}'


with DAG(
    "tlnlp_score",
    # A plain cron string has no data interval in Airflow 3; this has: the night after a day scores that day.
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,  # A night never overlaps itself.
    dagrun_timeout=timedelta(hours=8),
    tags=["tlnlp"],
):
    BashOperator(
        task_id="score",
        bash_command=command(SCORE),
        env={"SCORE_DATE": "{{ data_interval_start | ds }}"},
        append_env=True,
        # Running a day again replaces it, so a retry is safe.
        retries=2,
        retry_delay=timedelta(minutes=10),
        execution_timeout=timedelta(hours=6),
        outlets=[scores],
    )

with DAG(
    "tlnlp_learn",
    schedule=[labels],  # Whoever writes labels says so: an asset event of this name.
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
        # The same labels and config go on from the last checkpoint.
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
