#!/usr/bin/env bash
# Score one night on EMR Serverless: put the day into the request and send it. Any scheduler that can run a command can
# run this script.
#
#   deploy/managed/emr-serverless-submit.sh                 today (UTC)
#   SCORE_DATE=2026-01-31 deploy/managed/emr-serverless-submit.sh
#
# The service enforces the rest: one run at a time (a second one waits), the deadline, and the second attempt. It does
# not read exit codes. With cost.budget_usd set, each attempt has that budget: set maxAttempts in the request to 1.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/load-settings.sh
. deploy/load-settings.sh
deploy/render.py
score_date=${SCORE_DATE:-$(date -u +%F)}
request=$(sed "s/@today@/$score_date/g" "$RENDERED/managed/emr-serverless-job-run.json")
exec aws emr-serverless start-job-run --cli-input-json "$request"
