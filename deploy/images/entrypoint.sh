#!/bin/bash
# Replace @today@ in the arguments by the present day (UTC), then start Spark's own entrypoint.
# Schedules of the Spark operator, and CronJobs without a shell, cannot compute a date, and the job needs a given day.
# A schedule that uses @today@ must end before midnight, with all its retries: else a retry would score another day.
set -euo pipefail
today=$(date -u +%F)
arguments=()
for argument in "$@"; do
    arguments+=("${argument//@today@/$today}")
done
exec "${SPARK_ENTRYPOINT:-/opt/entrypoint.sh}" "${arguments[@]}"
