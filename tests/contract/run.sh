#!/usr/bin/env bash
# Runs the openai SDK's own tests against a mock of the API description, directly and through Outrigger:
# what passes directly must pass through. README.md says what each variable does.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
OPENAPI=${OPENAPI:-$root/../shared/data/openapi/openai.json}
OUTRIGGER_BIN=${OUTRIGGER_BIN:-$root/target/debug/outrigger}
VENV=${VENV:-$here/.venv-contract}
SELECTION=${SELECTION:-all}
WORKERS=${WORKERS:-2}

if [[ ! -f $OPENAPI ]]; then
    echo "SKIPPED: contract: no API description at OPENAPI=$OPENAPI, so nothing was compared"
    exit 0
fi
OPENAPI=$(realpath "$OPENAPI")
if [[ -z ${DIRECT_ONLY:-} && ! -x $OUTRIGGER_BIN ]]; then
    echo "contract: no proxy at OUTRIGGER_BIN=$OUTRIGGER_BIN (DIRECT_ONLY=1 runs without it)" >&2
    exit 2
fi

# What the 475 tests of the endpoints that model servers have in common are.
core=(chat responses test_completions.py test_embeddings.py test_models.py test_moderations.py test_responses.py)
case $SELECTION in
    all) selected=(tests/api_resources) ;;
    core) selected=("${core[@]/#/tests/api_resources/}") ;;
    *) read -r -a selected <<<"$SELECTION" ;;
esac

work=$(mktemp -d)
started=()
finish() {
    local pid
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT

# Waits up to 30 s for URL to answer 200; gives up at once when PID has ended, and shows LOG.
wait_for() {
    local url=$1 pid=$2 log=$3
    for _ in $(seq 150); do
        if "$VENV/bin/python" -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=2)' "$url" 2>/dev/null; then
            return 0
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.2
    done
    echo "contract: $url does not answer" >&2
    tail -n 40 "$log" >&2
    return 1
}

set_up() {
    [[ -x $VENV/bin/python ]] || python3 -m venv "$VENV"
    if ! cmp -s "$here/requirements.txt" "$VENV/requirements.txt"; then
        "$VENV/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
        cp "$here/requirements.txt" "$VENV/requirements.txt"
    fi
    local version
    version=$(sed -n 's/^openai==//p' "$here/requirements.txt")
    sdist=$VENV/sdist/openai-$version.tar.gz
    if [[ ! -f $sdist ]]; then
        "$VENV/bin/pip" download -q --disable-pip-version-check --no-binary openai --no-deps \
            -d "$VENV/sdist" "openai==$version"
    fi
    mkdir "$work/sdk"
    tar -xzf "$sdist" -C "$work/sdk" --strip-components=1
    # The installed package is under test, not the unpacked one beside the tests.
    rm -rf "$work/sdk/src"
    [[ -x $here/node_modules/.bin/steady ]] || npm --prefix "$here" ci --silent
}

start_mock() {
    "$VENV/bin/python" "$here/describe.py" "$OPENAPI" "$work/openapi.json"
    # The formats are those of the SDK's own scripts/mock.
    node "$here/node_modules/.bin/steady" --log=false --no-color -p "$mock_port" \
        --validator-query-array-format=brackets --validator-form-array-format=brackets \
        --validator-query-object-format=brackets --validator-form-object-format=brackets \
        "$work/openapi.json" >"$work/mock.log" 2>&1 &
    started+=($!)
    wait_for "http://127.0.0.1:$mock_port/_x-steady/health" "$!" "$work/mock.log"
}

start_proxy() {
    cat >"$work/outrigger.toml" <<TOML
[server]
listen = "127.0.0.1:$proxy_port"
admin = "127.0.0.1:$admin_port"
passed = ["* /*"]

[[backends]]
name = "mock"
url = "http://127.0.0.1:$mock_port"
TOML
    RUST_BACKTRACE=0 "$OUTRIGGER_BIN" --config "$work/outrigger.toml" >"$work/proxy.log" 2>&1 &
    started+=($!)
    wait_for "http://127.0.0.1:$admin_port/readyz" "$!" "$work/proxy.log"
}

# Failures are judged by compare.py, so pytest's own exit 1 is no end; anything worse is.
run_tests() {
    local url=$1 report=$2 began=$SECONDS status=0
    (
        cd "$work/sdk"
        unset "${!OPENAI_@}"
        TEST_API_BASE_URL=$url "$VENV/bin/python" -m pytest "${selected[@]}" -o addopts= -q --tb=line \
            -p no:cacheprovider -n "$WORKERS" --junitxml "$report"
    ) >"$report.log" 2>&1 || status=$?
    if ((status > 1)); then
        echo "contract: pytest ended with $status" >&2
        tail -n 40 "$report.log" >&2
        return 1
    fi
    echo "$url: $((SECONDS - began)) s"
}

set_up
read -r mock_port proxy_port admin_port < <("$VENV/bin/python" "$here/ports.py" 3)
start_mock
run_tests "http://127.0.0.1:$mock_port/v1" "$work/direct.xml"
reports=("$work/direct.xml")
if [[ -z ${DIRECT_ONLY:-} ]]; then
    start_proxy
    run_tests "http://127.0.0.1:$proxy_port/v1" "$work/through.xml"
    reports+=("$work/through.xml")
fi
if [[ -n ${KEEP:-} ]]; then
    mkdir -p "$KEEP"
    cp "$work"/*.xml "$work"/*.log "$KEEP"
fi
status=0
"$VENV/bin/python" "$here/compare.py" "${reports[@]}" || status=1
if [[ -f $work/proxy.log ]] && grep -q 'panicked at' "$work/proxy.log"; then
    echo "contract: the proxy panicked" >&2
    status=1
fi
if [[ -f $work/proxy.log ]] && ((status)); then
    tail -n 40 "$work/proxy.log" >&2
fi
exit "$status"
