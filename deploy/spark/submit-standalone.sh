#!/usr/bin/env bash
# Score one night on a standalone Spark cluster.
#
#   MASTER=spark://spark-master.example.internal:7077 deploy/spark/submit-standalone.sh [--set KEY=VALUE ...]
#   SCORE_DATE=2026-01-31 ...   scores another day; further arguments go to the job
#
# Standalone Spark has no cluster mode for Python: the driver is a child of this process, and the night ends with it.
# Executors get Python from the archive of `make pack`. A worker needs Spark with the S3A jars (fetch-s3-jars.sh), Java,
# and the Python that the archive was packed with.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${SPARK_HOME:?set it to the folder of Spark}" "${MASTER:?set it to spark://HOST:PORT}"
score_date=${SCORE_DATE:-$(date -u +%F)}

# A second night at the same time is refused (exit code 75: try again later).
exec 9>"${TMPDIR:-/tmp}/tlnlp-score.lock"
flock --nonblock 9 || { echo "another night is running; nothing was started; try again later" >&2; exit 75; }

export PYSPARK_DRIVER_PYTHON=${PYSPARK_DRIVER_PYTHON:-.venv/bin/python}  # has tlnlp; `make setup` makes it
export PYSPARK_PYTHON=./environment/bin/python                           # inside the unpacked archive
# The deadline: SIGTERM after six hours, SIGKILL a minute later. The script ends with the exit code of the job.
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
