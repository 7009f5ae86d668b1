#!/bin/sh
# Programs that some tests drive, from Debian's own packages: nginx (the shipped proxy configuration) and chromium (the walks
# in a browser). Without root or apt-get nothing is done: those tests are skipped and say why; with CI set they fail.
set -eu

missing=
for wanted in nginx:nginx-light chromium:chromium; do
    PATH="$PATH:/usr/sbin" command -v "${wanted%%:*}" >/dev/null 2>&1 || missing="$missing ${wanted##*:}"
done
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    printf 'Some tests will be skipped: install%s (on Debian: sudo apt-get install%s).\n' "$missing" "$missing" >&2
    exit 0
fi
printf 'Installing%s\n' "$missing" >&2
# The run level keeps the packages from starting a web server of their own.
# shellcheck disable=SC2086
if ! { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends $missing; } >&2; then
    printf 'Not installed:%s. The tests that need it are skipped.\n' "$missing" >&2
fi
