# shellcheck shell=bash
# Check the settings and read them into the shell that sources this file, in the folder of the checkout:
#   . deploy/load-settings.sh
deploy/render.py --check || return 2
# shellcheck source=deploy/settings.env
. "${TLNLP_SETTINGS:-deploy/settings.env}"
export AWS_REGION
