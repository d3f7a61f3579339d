#!/usr/bin/env bash
# Every fault of llmock, behind the proxy, and its verdict on us; installs it first.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${VENV:-$here/.venv}
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
"$venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
# Most of the time is spent in waiting: many at once, each with a proxy and an llmock of its own.
"$venv/bin/pytest" -q -n "${WORKERS:-8}" --dist worksteal "$here"
