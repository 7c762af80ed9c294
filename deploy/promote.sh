#!/usr/bin/env bash
# Promote after training: the newest version becomes champion if it is no worse on held-out labels. The gate needs no
# cluster: it runs on this machine.
#
#   deploy/promote.sh [--set KEY=VALUE ...]
#
# Exit code 5: the gate refused the version, and the champion stays.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=deploy/load-settings.sh
. deploy/load-settings.sh

exec "${PYTHON:-.venv/bin/python}" jobs/promote.py --config conf/promote.yaml \
    --set labels="$HELDOUT" \
    --set registry="$REGISTRY" \
    --set model="$MODEL" \
    "$@"
