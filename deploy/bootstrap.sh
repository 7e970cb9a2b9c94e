#!/usr/bin/env bash
# Makes the virtual environment "$1". Refuses with one sentence where Python, its headers or a compiler are missing;
# as root on Debian it installs them instead.
set -euo pipefail
venv=$1

die() { echo "trisagion: $*" >&2; exit 1; }

# The pinned wheels cover these versions.
suits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if suits "$candidate"; then echo "$candidate"; return; fi
    done
}

missing_packages() {
    local python
    python=$(find_python)
    [ -n "$python" ] || { echo python3 python3-venv python3-dev gcc libc6-dev; return; }
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    [ -f "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] || echo python3-dev
    command -v "${CC:-gcc}" >/dev/null || echo gcc libc6-dev
}

missing=$(missing_packages | xargs)
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $missing …"
    # shellcheck disable=SC2086 # a list of names
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing; } >/dev/null
    missing=$(missing_packages | xargs)
fi
[ -n "$(find_python)" ] || die "Python 3.11, 3.12 or 3.13 is needed and none was found; name one with: make PYTHON=/path/to/python3"
[ -z "$missing" ] || die "this machine lacks $missing; as root on Debian: apt-get install $missing"

"$(find_python)" -m venv --clear "$venv"
