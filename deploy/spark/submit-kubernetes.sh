#!/usr/bin/env bash
# Score one night on Kubernetes, without an operator: submit from outside the cluster, in cluster mode.
#
#   KUBERNETES_API=https://kubernetes.example.internal:6443 deploy/spark/submit-kubernetes.sh [--set KEY=VALUE ...]
#   SCORE_DATE=2026-01-31 ...   scores another day
#
# Needs deploy/k8s/namespace.yaml and rbac.yaml applied, the score image pushed, and a kubeconfig that may create pods
# in the namespace. Code and Python are in the image. For every night, use deploy/k8s/score-cronjob.yaml instead.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${SPARK_HOME:?set it to the folder of Spark}" "${KUBERNETES_API:?set it to https://HOST:PORT}"
score_date=${SCORE_DATE:-$(date -u +%F)}

# This command waits until the night ends. A second night at the same time is refused (exit code 75: try again later).
exec 9>"${TMPDIR:-/tmp}/tlnlp-score.lock"
flock --nonblock 9 || { echo "another night is running; nothing was started; try again later" >&2; exit 75; }

# The deadline is in driver-pod.yaml. To end the night, delete the driver's pod: it goes on if only this command ends.
exec "$SPARK_HOME/bin/spark-submit" \
    --master "k8s://$KUBERNETES_API" --deploy-mode cluster --name "tlnlp-score-$score_date" \
    --properties-file deploy/spark/spark-defaults.conf \
    --conf spark.kubernetes.namespace=tlnlp \
    --conf spark.kubernetes.container.image=registry.example.com/tlnlp/score:0.1.0 \
    --conf spark.kubernetes.authenticate.driver.serviceAccountName=tlnlp-driver \
    --conf spark.kubernetes.authenticate.executor.serviceAccountName=tlnlp-executor \
    --conf spark.kubernetes.driver.podTemplateFile=deploy/spark/driver-pod.yaml \
    --conf spark.kubernetes.executor.podTemplateFile=deploy/spark/executor-pod.yaml \
    --conf spark.kubernetes.submission.waitAppCompletion=true \
    local:///opt/tlnlp/jobs/score.py --config /opt/tlnlp/conf/score.yaml \
    --set documents=s3://example-bucket/documents \
    --set registry=s3://example-bucket/registry \
    --set warehouse=s3://example-bucket/warehouse \
    --set model=tickets \
    --set score_date="$score_date" \
    "$@"
