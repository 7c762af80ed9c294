#!/usr/bin/env bash
# Train on a running Ray cluster whose nodes run the train image. Ctrl-C and the deadline stop the job.
#
#   deploy/ray/submit-finetune.sh [--set KEY=VALUE ...]
#
# After a failure, submit the same labels and config again: the job resumes at its last checkpoint. The new version
# becomes champion by deploy/promote.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/load-settings.sh
. deploy/load-settings.sh
deploy/render.py
export RAY_API_SERVER_ADDRESS
ray=${RAY:-.venv/bin/ray}
job=tlnlp-finetune-$(date -u +%Y%m%dT%H%M%SZ)

# Two jobs with the same labels and config would write the same checkpoints, so a second one is refused (exit code 75).
exec 9>"${TMPDIR:-/tmp}/tlnlp-finetune.lock"
flock --nonblock 9 || { echo "another training job is running; nothing was started; try again later" >&2; exit 75; }

# The job runs on the cluster, and goes on when this command ends. So a signal must stop it.
submitting=
# shellcheck disable=SC2329  # the trap calls stop
stop() {
    kill "$submitting" 2>/dev/null || true
    "$ray" job stop "$job"
    exit 130
}
trap stop INT TERM

# The deadline is four hours. After a lost worker the job itself resumes, up to ray.max_failures times.
timeout 4h "$ray" job submit --submission-id "$job" \
    --working-dir . --runtime-env "$RENDERED/ray/runtime-env.yaml" \
    -- python jobs/finetune.py --config conf/finetune.yaml \
    --set labels="$LABELS" \
    --set registry="$REGISTRY" \
    --set model="$MODEL" \
    --set ray.workers=2 \
    --set ray.max_failures=3 \
    "$@" &
submitting=$!
code=0
wait "$submitting" || code=$?
if [ "$code" -eq 124 ]; then
    echo "the deadline of 4 hours is over: stopping the job $job" >&2
    "$ray" job stop "$job"
fi
exit "$code"
