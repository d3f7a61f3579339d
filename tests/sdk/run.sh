#!/usr/bin/env bash
# The official SDKs of Python and Node, through the proxy; installs them first.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${VENV:-$here/.venv}
[ -x "$venv/bin/pytest" ] || python3 -m venv "$venv"
"$venv/bin/pip" install -q --disable-pip-version-check -r "$here/python/requirements.txt"
"$venv/bin/pytest" -q "$here/python"
cd "$here/node"
[ -d node_modules/openai ] || npm ci --no-audit --no-fund --loglevel=error
node --test
