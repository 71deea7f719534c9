#!/usr/bin/env bash
# Everything that has to hold, in order; goes on after a failure and names the failed parts at the
# end. Arguments are handed to pytest: scripts/test.sh tests/unit -k retry
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$root/scripts/setup.sh" --dev
cd "$root"
mkdir -p var/log
export PATH="$venv/bin:$PATH"

failed=()

part() {
    local title="$1"
    shift
    printf '\n== %s\n' "$title"
    if ! "$@"; then
        failed+=("$title")
        say "-- failed: $title"
    fi
}

install_chromium() {
    as_root apt-get update -qq || return 1
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends chromium
}

browser() {
    local name
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name"; then return; fi
    done
    may_install || {
        say "The console's tests need a browser: apt-get install chromium, as root."
        return 1
    }
    say "Installing Debian's chromium ..."
    if ! install_chromium >var/log/chromium.log 2>&1; then
        tail -n 5 var/log/chromium.log
        say "chromium can't be installed; see $root/var/log/chromium.log."
        return 1
    fi
    command -v chromium
}

scripts_lint() { shellcheck -x scripts/*.sh .ci/run; }

deploy_check() {
    env AUTOPILOT_ENV_FILE= DEBUG=false HTTPS=true HSTS_INCLUDE_SUBDOMAINS=true HSTS_PRELOAD=true \
        ALLOWED_HOSTS=autopilot.example SECRET_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(64))')" \
        python manage.py check --deploy --fail-level WARNING
}

openapi() {
    python manage.py spectacular --validate --fail-on-warn --file var/openapi.yaml || return 1
    diff -u docs/openapi.yaml var/openapi.yaml >var/openapi.diff || {
        head -n 40 var/openapi.diff
        say "docs/openapi.yaml is not what the code says: python manage.py spectacular --file docs/openapi.yaml"
        return 1
    }
}

# Bounded: the tests with real processes need room to breathe.
processes() {
    local cores
    cores="$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)"
    if [ "$cores" -lt 2 ]; then echo 2; elif [ "$cores" -gt 4 ]; then echo 4; else echo "$cores"; fi
}

# Long tests are handed on to whoever is done, rather than lie in one process's line.
tests() { pytest -n "$(processes)" --dist worksteal "$@" 2>&1 | tee var/log/pytest.log; }

part "A browser for the console's tests" browser
part "Lint (ruff check)" ruff check .
part "Format (ruff format)" ruff format --check .
part "Scripts (shellcheck)" scripts_lint
part "Types (mypy)" mypy .
part "Import contracts (lint-imports)" lint-imports
part "Settings for production (check --deploy)" deploy_check
part "Migrations (makemigrations --check)" python manage.py makemigrations --check --dry-run
part "API description (OpenAPI)" openapi
part "Tests (pytest)" tests "$@"

if [ "${#failed[@]}" -gt 0 ]; then
    printf '\nFailed:\n'
    printf '  %s\n' "${failed[@]}"
    tail -n 1 var/log/pytest.log
    exit 1
fi
