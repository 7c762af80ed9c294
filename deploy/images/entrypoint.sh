#!/bin/bash
# Spark's own entrypoint, after one substitution: @today@ in an argument becomes this container's day (UTC). The Spark
# operator's schedules, and CronJobs without a shell, have no way to write a date, and the job takes no day but a given
# one. A schedule that uses it must be over, retries and all, before midnight: or a retry would be another day's night.
set -euo pipefail
today=$(date -u +%F)
arguments=()
for argument in "$@"; do
    arguments+=("${argument//@today@/$today}")
done
exec "${SPARK_ENTRYPOINT:-/opt/entrypoint.sh}" "${arguments[@]}"
