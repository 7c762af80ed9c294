#!/usr/bin/env bash
# Score one night on YARN, in cluster mode: the driver runs on the cluster too.
#
#   deploy/spark/submit-yarn.sh [--set KEY=VALUE ...]            today (UTC); further arguments go to the job
#   SCORE_DATE=2026-01-31 deploy/spark/submit-yarn.sh            another day
#
# Driver and executors get Python from the archive of `make pack`. The exit code is 0 or 1: in cluster mode Spark does
# not return the exit code of the job, which is in the driver's log and in the run's ledger.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/load-settings.sh
. deploy/load-settings.sh
export HADOOP_CONF_DIR
score_date=${SCORE_DATE:-$(date -u +%F)}

# This command waits until the night ends. A second night at the same time is refused (exit code 75: try again later).
exec 9>"${TMPDIR:-/tmp}/tlnlp-score.lock"
flock --nonblock 9 || { echo "another night is running; nothing was started; try again later" >&2; exit 75; }

# No deadline is set here: the application goes on when this command ends (`yarn application -kill` ends it).
# Two attempts, for a lost node of the driver. A night that starts again replaces its day, so a second attempt is safe.
# YARN does not read exit codes. With cost.budget_usd set, each attempt has that budget: allow one attempt.
exec "$SPARK_HOME/bin/spark-submit" \
    --master yarn --deploy-mode cluster --name "tlnlp-score-$score_date" \
    --properties-file deploy/spark/spark-defaults.conf \
    --archives dist/score-env.tar.gz#environment \
    --files conf/score.yaml \
    --conf spark.yarn.appMasterEnv.PYSPARK_PYTHON=./environment/bin/python \
    --conf spark.executorEnv.PYSPARK_PYTHON=./environment/bin/python \
    --conf spark.executorEnv.LC_ALL=C.UTF-8 \
    --conf spark.yarn.appMasterEnv.AWS_REGION="$AWS_REGION" \
    --conf spark.yarn.maxAppAttempts=2 \
    --conf spark.yarn.submit.waitAppCompletion=true \
    jobs/score.py --config score.yaml \
    --set documents="$DOCUMENTS" \
    --set registry="$REGISTRY" \
    --set warehouse="$WAREHOUSE" \
    --set model="$MODEL" \
    --set score_date="$score_date" \
    "$@"
