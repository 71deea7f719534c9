#!/usr/bin/env bash
# From a fresh clone to a finished execution, then the web pages and the workers until Ctrl-C.
#   scripts/run.sh [--once] [--port 8000] ...    (all options: scripts/run.sh --help)
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$root/scripts/setup.sh"
cd "$root"
# In this shell's place: Ctrl-C and kill reach it directly.
exec "$venv/bin/python" manage.py quickstart "$@"
