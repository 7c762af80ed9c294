#!/usr/bin/env bash
# One night on a standalone Spark cluster.
#
#   MASTER=spark://spark-master.example.internal:7077 deploy/spark/submit-standalone.sh [--set KEY=VALUE ...]
#   SCORE_DATE=2026-01-31 ... the same for another day; anything further goes to the job
#
# Standalone Spark has no cluster mode for Python: the driver is this process, so it must stay, and its end is the
# night's end. Executors get Python from the archive of `make pack`; of a worker nothing is asked but Spark with the S3
# jars (fetch-s3-jars.sh), Java, and the Python that the archive was packed with.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${SPARK_HOME:?say where Spark is}" "${MASTER:?say spark://host:port}"
score_date=${SCORE_DATE:-$(date -u +%F)}

# A night never overlaps itself: the second is refused (75: try again later).
exec 9>"${TMPDIR:-/tmp}/tlnlp-score.lock"
flock --nonblock 9 || { echo "a night is running; nothing was started" >&2; exit 75; }

export PYSPARK_DRIVER_PYTHON=${PYSPARK_DRIVER_PYTHON:-.venv/bin/python}  # has tlnlp: made by `make setup`
export PYSPARK_PYTHON=./environment/bin/python                           # in the unpacked archive
# The deadline: asked to end after six hours, made to a minute later. The job's exit code is this script's.
exec timeout --kill-after=60s 6h "$SPARK_HOME/bin/spark-submit" \
    --master "$MASTER" --deploy-mode client --name "tlnlp-score-$score_date" \
    --properties-file deploy/spark/spark-defaults.conf \
    --archives dist/score-env.tar.gz#environment \
    --conf spark.cores.max=32 \
    jobs/score.py --config conf/score.yaml \
    --set documents=s3://example-bucket/documents \
    --set registry=s3://example-bucket/registry \
    --set warehouse=s3://example-bucket/warehouse \
    --set model=tickets \
    --set score_date="$score_date" \
    "$@"
