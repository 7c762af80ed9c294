"""Three DAGs: score every night, train again when the labels change, and maintain the warehouse every week.

``deploy/render.py`` fills in the settings; then copy this file from build/deploy/airflow/ into Airflow's DAG folder.
The commands run where Airflow's tasks run, in the checkout there (TLNLP_HOME). They read the settings, and submit jobs
to clusters. Airflow's own environment needs no package of tlnlp.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowSkipException
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset
from airflow.timetables.interval import CronDataIntervalTimetable

HOME = "${TLNLP_HOME}"
SCORE = "${AIRFLOW_SCORE}"  # It reads the day from SCORE_DATE.
FINETUNE = "${AIRFLOW_FINETUNE}"
PROMOTE = "${AIRFLOW_PROMOTE}"
MAINTAIN = "deploy/maintain.sh"
REFUSED = 5  # The exit code of the gate when it refuses a version, which is no failure of the DAG.
# The exit codes that a retry cannot mend (NO_RETRY_EXIT_CODES in tlnlp/errors.py).
NO_RETRY = (2, 3, 4, 5, 8, 9, 10, 11)

scores = Asset(name="tlnlp_scores", uri="tlnlp://scores")
labels = Asset(name="tlnlp_labels", uri="tlnlp://labels")
START = pendulum.datetime(2026, 1, 1, tz="UTC")


class JobOperator(BashOperator):
    """Runs a command in the checkout. BashOperator would try again after every exit code but 0."""

    def __init__(self, *, command: str, **options: Any) -> None:
        # The space: Airflow takes a text that ends in .sh for the name of a file with a template.
        super().__init__(bash_command=f"{command} ", cwd=HOME, append_env=True, **options)

    def execute(self, context: Any) -> None:
        """Run the command; its exit code decides whether the task has failed, and whether Airflow tries again."""
        line = ["bash", "-c", self.bash_command]
        code = self.subprocess_hook.run_command(line, env=self.get_env(context), cwd=self.cwd).exit_code
        if code in self.skip_on_exit_code:
            raise AirflowSkipException(f"exit code {code}: skipped")
        if code in NO_RETRY:
            raise AirflowFailException(f"exit code {code}: a retry cannot mend it; the log above has the reason")
        if code != 0:
            raise AirflowException(f"exit code {code}; the log above has the reason")


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
    JobOperator(
        task_id="score",
        command=SCORE,
        env={"SCORE_DATE": "{{ data_interval_start | ds }}"},
        # A night that runs again replaces its day, so a retry is safe.
        retries=2,
        retry_delay=timedelta(minutes=10),
        execution_timeout=timedelta(hours=6),
        outlets=[scores],
    )

with DAG(
    "tlnlp_maintain",
    schedule="15 12 * * 0",  # It may run beside a night; on Sunday at 12:15 UTC it does not have to.
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=4),
    tags=["tlnlp"],
):
    JobOperator(
        task_id="maintain",
        command=MAINTAIN,
        retries=2,
        retry_delay=timedelta(minutes=10),
        execution_timeout=timedelta(hours=2),
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
    finetune = JobOperator(
        task_id="finetune",
        command=FINETUNE,
        # A retry with the same labels and config resumes at the last checkpoint.
        retries=2,
        retry_delay=timedelta(minutes=5),
        execution_timeout=timedelta(hours=6),
    )
    promote = JobOperator(
        task_id="promote",
        command=PROMOTE,
        skip_on_exit_code=REFUSED,
        execution_timeout=timedelta(hours=1),
    )
    finetune >> promote
