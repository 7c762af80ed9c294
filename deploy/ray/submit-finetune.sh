#!/usr/bin/env bash
# Train on a Ray cluster that is there already; its nodes run the train image. Ctrl-C, or the deadline, stops the job.
#
#   RAY_API_SERVER_ADDRESS=http://ray-head.example.internal:8265 deploy/ray/submit-finetune.sh [--set KEY=VALUE ...]
#
# Sent again after a failure, the same labels and config go on from the last checkpoint. The new version is champion
# only after the gate: `ray job submit --working-dir . -- python jobs/promote.py ...` the same way, or `tlnlp promote`.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${RAY_API_SERVER_ADDRESS:?say http://host:8265, the dashboard of the cluster}"
ray=${RAY:-.venv/bin/ray}
job=tlnlp-finetune-$(date -u +%Y%m%dT%H%M%SZ)

# Two jobs on the same labels and config would write the same checkpoints: the second is refused (75: try again later).
exec 9>"${TMPDIR:-/tmp}/tlnlp-finetune.lock"
flock --nonblock 9 || { echo "a training job is running; nothing was started" >&2; exit 75; }

# The job lives on the cluster: ending this command would leave it running.
submitting=
# shellcheck disable=SC2329  # the trap calls it
stop() {
    kill "$submitting" 2>/dev/null || true
    "$ray" job stop "$job"
    exit 130
}
trap stop INT TERM

# The deadline: four hours. A lost worker is not a retry of the job: ray.max_failures resumes inside it.
timeout 4h "$ray" job submit --submission-id "$job" \
    --working-dir . --runtime-env deploy/ray/runtime-env.yaml \
    -- python jobs/finetune.py --config conf/finetune.yaml \
    --set labels=s3://example-bucket/labels \
    --set registry=s3://example-bucket/registry \
    --set model=tickets \
    --set ray.workers=2 \
    --set ray.max_failures=3 \
    "$@" &
submitting=$!
code=0
wait "$submitting" || code=$?
if [ "$code" -eq 124 ]; then
    echo "past the deadline; stopping $job" >&2
    "$ray" job stop "$job"
fi
exit "$code"
