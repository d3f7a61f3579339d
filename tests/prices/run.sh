#!/usr/bin/env bash
# What calls cost by our table of prices, compared with LiteLLM's own function; installs it first.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${VENV:-$here/.venv}
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
# Everything is listed with its version, so that nothing else need be found out or brought.
"$venv/bin/pip" install -q --disable-pip-version-check --no-deps -r "$here/requirements.txt"
LITELLM_LOCAL_MODEL_COST_MAP=True "$venv/bin/pytest" -q "$here"
