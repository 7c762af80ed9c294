#!/usr/bin/env bash
# One night on YARN, in cluster mode: the driver runs there too, and nothing depends on this machine's disk.
#
#   deploy/spark/submit-yarn.sh [--set KEY=VALUE ...]       with HADOOP_CONF_DIR and SPARK_HOME set
#   SCORE_DATE=2026-01-31 ... the same for another day
#
# Driver and executors get Python from the archive of `make pack`. Exit code 0 or 1: in cluster mode Spark keeps the
# job's own, which is in the driver's log and in the run's ledger.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${SPARK_HOME:?say where Spark is}" "${HADOOP_CONF_DIR:?say where the configuration of the cluster is}"
score_date=${SCORE_DATE:-$(date -u +%F)}

# A night never overlaps itself: this command waits for its end, and the second is refused (75: try again later).
exec 9>"${TMPDIR:-/tmp}/tlnlp-score.lock"
flock --nonblock 9 || { echo "a night is running; nothing was started" >&2; exit 75; }

# Ending this command does not end the application (`yarn application -kill` does): no deadline is set here.
# Two attempts: a night that starts again replaces its day, and the most likely failure is a lost driver's node.
exec "$SPARK_HOME/bin/spark-submit" \
    --master yarn --deploy-mode cluster --name "tlnlp-score-$score_date" \
    --properties-file deploy/spark/spark-defaults.conf \
    --archives dist/score-env.tar.gz#environment \
    --files conf/score.yaml \
    --conf spark.yarn.appMasterEnv.PYSPARK_PYTHON=./environment/bin/python \
    --conf spark.executorEnv.PYSPARK_PYTHON=./environment/bin/python \
    --conf spark.yarn.appMasterEnv.AWS_REGION=eu-central-1 \
    --conf spark.yarn.maxAppAttempts=2 \
    --conf spark.yarn.submit.waitAppCompletion=true \
    jobs/score.py --config score.yaml \
    --set documents=s3://example-bucket/documents \
    --set registry=s3://example-bucket/registry \
    --set warehouse=s3://example-bucket/warehouse \
    --set model=tickets \
    --set score_date="$score_date" \
    "$@"
