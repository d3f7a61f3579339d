#!/usr/bin/env bash
# The manifests of docker/k8s, checked without a cluster, and the queries of the scalers asked of a real Prometheus.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${VENV:-$here/.venv}
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
# Everything is listed with its version, so that nothing else need be found out or brought.
"$venv/bin/pip" install -q --disable-pip-version-check --no-deps -r "$here/requirements.txt"
"$venv/bin/pytest" -q "$here"
