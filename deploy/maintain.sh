#!/usr/bin/env bash
# Maintain the warehouse, once a week: merge manifests, expire old snapshots, remove files that nothing refers to. This
# needs no cluster: it runs on this machine, and may run beside a night.
#
#   deploy/maintain.sh [--set KEY=VALUE ...]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=deploy/load-settings.sh
. deploy/load-settings.sh

exec "${PYTHON:-.venv/bin/python}" -m tlnlp maintain --config conf/maintain.yaml \
    --set warehouse="$WAREHOUSE" \
    "$@"
