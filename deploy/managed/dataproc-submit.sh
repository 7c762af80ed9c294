#!/usr/bin/env bash
# Score one night on Dataproc Serverless (Google Cloud Serverless for Apache Spark): put the day into the request and
# send it. Any scheduler that can run a command can run this script.
#
#   deploy/managed/dataproc-submit.sh                       today (UTC); STORAGE in the settings is gs://...
#   SCORE_DATE=2026-01-31 SUFFIX=-again deploy/managed/dataproc-submit.sh
#
# The name of a batch can be used only once, so a day can be started only once without a suffix. The service does not
# retry a batch: send a failed night again with a suffix.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/load-settings.sh
. deploy/load-settings.sh
deploy/render.py
[[ $STORAGE == gs://* ]] || { echo "Dataproc reads gs:// only, not $STORAGE: set STORAGE in the settings" >&2; exit 2; }
score_date=${SCORE_DATE:-$(date -u +%F)}
batches=https://dataproc.googleapis.com/v1/projects/$GOOGLE_CLOUD_PROJECT/locations/$GOOGLE_CLOUD_REGION/batches
request=$(sed "s/@today@/$score_date/g" "$RENDERED/managed/dataproc-batch.json")
# The token is passed by a file descriptor, because every user of this machine can read the arguments of a process.
exec curl --fail-with-body --silent --show-error --request POST \
    --header @<(echo "Authorization: Bearer $(gcloud auth print-access-token)") \
    --header "Content-Type: application/json" \
    --data "$request" "$batches?batchId=tlnlp-score-$score_date${SUFFIX:-}"
