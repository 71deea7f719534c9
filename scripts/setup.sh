#!/usr/bin/env bash
# Makes .venv with the pinned packages; --dev adds what the tests need. Quick when nothing changed.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

kind=run
case "${1:-}" in
    "") ;;
    --dev) kind=dev ;;
    -h | --help)
        say "usage: scripts/setup.sh [--dev]    (PYTHON names the interpreter, if not python3)"
        exit 0
        ;;
    *) fail "scripts/setup.sh takes --dev or nothing, not '$1'." ;;
esac

# What has to be the same for the environment to be up to date: the pins, and the place (a virtual
# environment that was moved or copied is broken).
stamp() {
    {
        printf '%s\n' "$venv"
        cat "$root/requirements.txt"
        if [ "$1" = dev ]; then cat "$root/requirements-dev.txt"; fi
    } | cksum
}

is_current() {
    [ -x "$venv/bin/python" ] && [ ! -e "$venv/unfinished" ] &&
        [ "$(cat "$venv/installed-$1" 2>/dev/null)" = "$(stamp "$1")" ]
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_new_enough "$PYTHON" ||
            fail "PYTHON=$PYTHON is no Python 3.11 or later; point it at one, or unset it."
        printf '%s' "$PYTHON"
        return
    fi
    local name
    for name in python3 python3.13 python3.12 python3.11 python3.14; do
        if command -v "$name" >/dev/null && is_new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    local found
    found="$(python3 --version 2>/dev/null || echo 'no Python')"
    fail "Python 3.11 or later is needed, and $found is here. Install it (Debian, Ubuntu:" \
        "apt-get install python3 python3-venv) or name it: PYTHON=/path/to/python3 scripts/setup.sh"
}

make_venv() {
    local python
    python="$(find_python)"
    # Debian ships Python without ensurepip; then venv fails half way.
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python can't make virtual environments: install them (Debian, Ubuntu: apt-get" \
            "install python3-venv), then run this again."
    say "Making the virtual environment with $("$python" --version) ..."
    rm -rf "$venv"
    mkdir -p "$venv"
    touch "$venv/unfinished"
    "$python" -m venv "$venv"
}

check_room() {
    local needed_kb=$((600 * 1024)) free_kb
    [ "$kind" = run ] || needed_kb=$((1000 * 1024))
    free_kb="$(df -Pk "$root" | awk 'NR == 2 { print $4 }')"
    [ "$free_kb" -ge "$needed_kb" ] ||
        fail "No room on the disk: the packages need about $((needed_kb / 1024)) MB under $root and" \
            "$((free_kb / 1024)) MB are free; make room and run this again."
}

install() {
    local requirements="$root/requirements.txt" log="$root/var/log/setup.log"
    [ "$kind" = run ] || requirements="$root/requirements-dev.txt"
    say "Installing the packages (about a minute the first time) ..."
    touch "$venv/unfinished"
    # Not compiled ahead: Python compiles what is used, when it is used.
    if ! "$venv/bin/python" -m pip install --no-input --disable-pip-version-check --no-compile \
        --progress-bar off --requirement "$requirements" 2>&1 | tee "$log" |
        sed -un 's/^ *Downloading \([^ ]*\/\)\{0,1\}\([^ /]*\) \((.*)\).*/  \2 \3/p'; then
        tail -n 5 "$log" >&2
        if grep -q 'No space left on device' "$log"; then
            fail "No room on the disk for the packages; make room and run this again."
        fi
        fail "The packages can't be installed; see $log. Is there a network, or does pip need a" \
            "mirror (PIP_INDEX_URL)? Run this again afterwards."
    fi
    stamp run >"$venv/installed-run"
    if [ "$kind" = dev ]; then stamp dev >"$venv/installed-dev"; fi
    rm -f "$venv/unfinished"
}

if is_current "$kind"; then exit 0; fi

mkdir -p "$root/var/log" 2>/dev/null && [ -w "$root/var/log" ] ||
    fail "$root/var can't be written; give it to the account that runs this ($(id -un))."
# Two runs at once take turns; the second then has nothing left to do.
exec 9>"$root/var/setup.lock"
if command -v flock >/dev/null; then flock 9; fi
if is_current "$kind"; then exit 0; fi

check_room
# Whole, and in the place that it was made for; else from the start.
if [ -e "$venv/unfinished" ] || ! grep -qsF "$venv" "$venv/bin/activate" ||
    ! "$venv/bin/python" -c 'import pip' 2>/dev/null || ! is_new_enough "$venv/bin/python"; then
    make_venv
fi
install
say "Ready: $venv"
