#!/usr/bin/env bash
# Score one night on a standalone Spark cluster.
#
#   deploy/spark/submit-standalone.sh [--set KEY=VALUE ...]      today (UTC); further arguments go to the job
#   SCORE_DATE=2026-01-31 deploy/spark/submit-standalone.sh      another day
#
# Standalone Spark has no cluster mode for Python: the driver is a child of this process, and the night ends with it.
# Executors get Python from the archive of `make pack`. A worker needs Spark with the S3A jars (fetch-s3-jars.sh), Java,
# and the Python that the archive was packed with.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/load-settings.sh
. deploy/load-settings.sh
score_date=${SCORE_DATE:-$(date -u +%F)}

# A second night at the same time is refused (exit code 75: try again later).
exec 9>"${TMPDIR:-/tmp}/tlnlp-score.lock"
flock --nonblock 9 || { echo "another night is running; nothing was started; try again later" >&2; exit 75; }

export PYSPARK_DRIVER_PYTHON=${PYSPARK_DRIVER_PYTHON:-.venv/bin/python}  # has tlnlp; `make setup` makes it
export PYSPARK_PYTHON=./environment/bin/python                           # inside the unpacked archive
# The deadline: SIGTERM after six hours, SIGKILL a minute later. The script ends with the exit code of the job.
exec timeout --kill-after=60s 6h "$SPARK_HOME/bin/spark-submit" \
    --master "$SPARK_MASTER" --deploy-mode client --name "tlnlp-score-$score_date" \
    --properties-file deploy/spark/spark-defaults.conf \
    --archives dist/score-env.tar.gz#environment \
    --conf spark.cores.max=32 \
    --conf spark.executorEnv.LC_ALL=C.UTF-8 \
    jobs/score.py --config conf/score.yaml \
    --set documents="$DOCUMENTS" \
    --set registry="$REGISTRY" \
    --set warehouse="$WAREHOUSE" \
    --set model="$MODEL" \
    --set score_date="$score_date" \
    "$@"
