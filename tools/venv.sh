#!/bin/sh
# Makes the environment DIR hold what LOCK says, and does nothing when it does already.
# Usage: tools/venv.sh DIR LOCK [project]   ("project" installs ml-connector itself too, editable)
# Only wheels are installed, but for the packages that SOURCES names (with commas), which have none.
set -eu
cd "$(dirname "$0")/.."
dir=$1
lock=$2
project=${3:-}

say() { printf '%s\n' "$*" >&2; }

# An environment cannot be moved, so the place is part of what a stamp says.
state() {
    printf '%s\n' "$PWD/$dir"
    cksum "$@"
}

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1; }

find_python() {
    for python in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if fits "$python"; then
            return
        fi
    done
    say "Python 3.11, 3.12 or 3.13 is needed: install python3, or name one with PYTHON=/path/to/python."
    exit 1
}

need_venv() {
    if "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        return
    fi
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        say "Python's venv module is missing: install the package $package (on Debian: sudo apt-get install $package)."
        exit 1
    fi
    say "Installing $package"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$package" >&2
}

installed="$dir/.installed-$(basename "$lock")"
editable="$dir/.installed-project"

if ! fits "$dir/bin/python" || { [ -f "$dir/.place" ] && [ "$(cat "$dir/.place")" != "$PWD/$dir" ]; }; then
    find_python
    need_venv
    say "Making $dir"
    "$python" -m venv --clear "$dir"
fi
printf '%s\n' "$PWD/$dir" >"$dir/.place"

if [ "$(state "$lock")" != "$(cat "$installed" 2>/dev/null)" ]; then
    say "Installing $lock into $dir"
    "$dir/bin/python" -m pip install -qq --disable-pip-version-check --no-input \
        --require-hashes --no-deps --only-binary :all: ${SOURCES:+--no-binary "$SOURCES"} -r "$lock"
    state "$lock" >"$installed"
    rm -f "$editable"
fi

if [ -n "$project" ] && [ "$(state pyproject.toml)" != "$(cat "$editable" 2>/dev/null)" ]; then
    "$dir/bin/python" -m pip install -qq --disable-pip-version-check --no-input \
        --no-deps --no-build-isolation --editable .
    state pyproject.toml >"$editable"
fi
