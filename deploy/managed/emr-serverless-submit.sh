#!/usr/bin/env bash
# One night on EMR Serverless: puts the day into the request, and sends it. For any scheduler that can run a command.
#
#   deploy/managed/emr-serverless-submit.sh                 today (UTC)
#   SCORE_DATE=2026-01-31 deploy/managed/emr-serverless-submit.sh
#
# The service keeps the rest: one run at a time (a second waits in its queue), the deadline, the second attempt.
set -euo pipefail
cd "$(dirname "$0")"
score_date=${SCORE_DATE:-$(date -u +%F)}
request=$(sed "s/@today@/$score_date/g" emr-serverless-job-run.json)
exec aws emr-serverless start-job-run --cli-input-json "$request"
