#!/usr/bin/env bash
# Brings the database up to date: the tables, then the roles. Safe to run again.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$root/scripts/setup.sh"
cd "$root"
"$venv/bin/python" manage.py migrate --no-input "$@"
"$venv/bin/python" manage.py sync_roles
