#!/usr/bin/env bash
# Score one night on Kubernetes, without an operator: submit from outside the cluster, in cluster mode.
#
#   deploy/spark/submit-kubernetes.sh [--set KEY=VALUE ...]      today (UTC); further arguments go to the job
#   SCORE_DATE=2026-01-31 deploy/spark/submit-kubernetes.sh      another day
#
# Needs build/deploy/k8s/namespace.yaml and rbac.yaml applied, the score image pushed, and a kubeconfig that may create pods
# in the namespace. Code and Python are in the image. For every night, use build/deploy/k8s/score-cronjob.yaml instead.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/load-settings.sh
. deploy/load-settings.sh
deploy/render.py
score_date=${SCORE_DATE:-$(date -u +%F)}

# This command waits until the night ends. A second night at the same time is refused (exit code 75: try again later).
exec 9>"${TMPDIR:-/tmp}/tlnlp-score.lock"
flock --nonblock 9 || { echo "another night is running; nothing was started; try again later" >&2; exit 75; }

# The deadline is in driver-pod.yaml. To end the night, delete the driver's pod: it goes on if only this command ends.
exec "$SPARK_HOME/bin/spark-submit" \
    --master "k8s://$KUBERNETES_API" --deploy-mode cluster --name "tlnlp-score-$score_date" \
    --properties-file deploy/spark/spark-defaults.conf \
    --conf spark.kubernetes.namespace="$NAMESPACE" \
    --conf spark.kubernetes.container.image="$IMAGE_REGISTRY/score:$IMAGE_TAG" \
    --conf spark.kubernetes.authenticate.driver.serviceAccountName=tlnlp-driver \
    --conf spark.kubernetes.authenticate.executor.serviceAccountName=tlnlp-executor \
    --conf spark.kubernetes.driver.podTemplateFile="$RENDERED/spark/driver-pod.yaml" \
    --conf spark.kubernetes.executor.podTemplateFile="$RENDERED/spark/executor-pod.yaml" \
    --conf spark.kubernetes.submission.waitAppCompletion=true \
    local:///opt/tlnlp/jobs/score.py --config /opt/tlnlp/conf/score.yaml \
    --set documents="$DOCUMENTS" \
    --set registry="$REGISTRY" \
    --set warehouse="$WAREHOUSE" \
    --set model="$MODEL" \
    --set score_date="$score_date" \
    "$@"
