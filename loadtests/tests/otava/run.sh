#!/usr/bin/env bash
# Change points of 100 series by apache-otava and by outrigger-load; ends with 1 where fewer than 95 agree.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
VENV=${VENV:-$here/.venv}
OUTRIGGER_LOAD=${OUTRIGGER_LOAD:-${CARGO_TARGET_DIR:-$root/target}/debug/outrigger-load}
SEED=${SEED:-1}

if [[ ! -x $OUTRIGGER_LOAD ]]; then
    echo "otava: no load tester at OUTRIGGER_LOAD=$OUTRIGGER_LOAD; build it with" \
        "cargo build -p outrigger-loadtests --bin outrigger-load" >&2
    exit 2
fi
[[ -x $VENV/bin/python ]] || python3 -m venv "$VENV"
if ! cmp -s "$here/requirements.txt" "$VENV/requirements.txt"; then
    "$VENV/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$VENV/requirements.txt"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$VENV/bin/python" "$here/series.py" --seed "$SEED" >"$work/series.json"
"$OUTRIGGER_LOAD" changes "$work/series.json" --json "$work/ours.json" >/dev/null
"$VENV/bin/python" "$here/compare.py" "$work/series.json" "$work/ours.json"
