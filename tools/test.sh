#!/bin/sh
# Usage: tools/test.sh [pytest arguments]. Whole installations wait more than they work, so one after the other they run beside
# the rest; what they print comes after it. Nothing that fits the arguments in one half is no failure.
set -u

python=.venv/bin/python
said=$(mktemp)
"$python" -m pytest -m installation "$@" >"$said" 2>&1 &
installations=$!
trap 'kill "$installations" 2>/dev/null; rm -f "$said"; exit 130' INT TERM
"$python" -m pytest -n 2 -m "not installation" "$@"
rest=$?
wait "$installations"
whole=$?
cat "$said"
rm -f "$said"
nothing=5 # pytest's word for "no test fits"
if [ "$rest" -eq "$nothing" ]; then
    exit "$whole"
fi
if [ "$rest" -eq 0 ] && [ "$whole" -ne "$nothing" ]; then
    exit "$whole"
fi
exit "$rest"
