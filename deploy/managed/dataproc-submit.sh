#!/usr/bin/env bash
# One night on Dataproc Serverless (Google Cloud Serverless for Apache Spark): puts the day into the request, and sends
# it. For any scheduler that can run a command.
#
#   deploy/managed/dataproc-submit.sh                       today (UTC)
#   SCORE_DATE=2026-01-31 SUFFIX=-again deploy/managed/dataproc-submit.sh
#
# A batch's name is used once, so a day is started once, unless a suffix says that it is meant. The service has no
# retries for batches: a failed night is sent again with a suffix.
set -euo pipefail
cd "$(dirname "$0")"
score_date=${SCORE_DATE:-$(date -u +%F)}
batches=https://dataproc.googleapis.com/v1/projects/example-project/locations/europe-west3/batches
request=$(sed "s/@today@/$score_date/g" dataproc-batch.json)
# The token goes by a file descriptor: an argument could be read by every user of this machine.
exec curl --fail-with-body --silent --show-error --request POST \
    --header @<(echo "Authorization: Bearer $(gcloud auth print-access-token)") \
    --header "Content-Type: application/json" \
    --data "$request" "$batches?batchId=tlnlp-score-$score_date${SUFFIX:-}"
