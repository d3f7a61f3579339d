#!/usr/bin/env bash
# outrigger-load beside wrk, and beside oha where it is installed, on the same endpoint, in turns: requests/s and p50 of
# each, medians over the rounds. Says how far outrigger-load is from the better. Needs the release build; pins the
# simulator to core 0 and the load to core 1.
#
#   loadtests/peers.sh [BIN] [ROUNDS] [SECONDS]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=${1:-$here/../target/release} rounds=${2:-5} seconds=${3:-5} users=32
work=$(mktemp -d)
taskset -c 0 "$bin/outrigger-sim" --listen 127.0.0.1:0 >"$work/sim" &
simulator=$!
trap 'kill $simulator; rm -r "$work"' EXIT
until grep -q http "$work/sim"; do sleep 0.1; done
url=$(sed 's/.*on //' "$work/sim")

cat >"$work/peers.toml" <<TOML
name = "peers"
[target]
url = "$url"
[load]
model = "closed"
users = $users
duration_secs = $seconds
[[requests]]
body_bytes = 1024
output_tokens = 16
unique = false
TOML
# The same bytes that chat.lua sends.
before='{"model":"sim","max_tokens":16,"messages":[{"role":"user","content":"' after='"}]}'
printf '%s%*s%s' "$before" $((1024 - ${#before} - ${#after})) '' "$after" | tr ' ' x >"$work/body"

ours() {
  taskset -c 1 "$bin/outrigger-load" run "$work/peers.toml" --quiet --json "$work/run.json" >/dev/null
  python3 -c 'import json,sys; run=json.load(open(sys.argv[1])); print(run["rates"]["requests"], run["latencies"]["service"]["p50"])' "$work/run.json"
}
wrk_() {
  taskset -c 1 wrk -t1 -c$users -d"${seconds}s" --latency -s "$here/chat.lua" "$url/v1/chat/completions" |
    awk '/Requests\/sec/ {rate=$2} $1=="50%" {p50=$2} END {f=1; if (p50 ~ /us$/) f=0.001; else if (p50 !~ /ms$/) f=1000; print rate, p50*f}'
}
oha_() {
  taskset -c 1 oha -z "${seconds}s" -c $users -m POST -H 'content-type: application/json' -D "$work/body" --no-tui \
    --output-format json "$url/v1/chat/completions" |
    python3 -c 'import json,sys; run=json.load(sys.stdin); print(run["summary"]["requestsPerSec"], run["latencyPercentiles"]["p50"]*1000)'
}

peers=(ours wrk_)
command -v oha >/dev/null && peers+=(oha_)
for ((round = 0; round < rounds; round++)); do
  for ((turn = 0; turn < ${#peers[@]}; turn++)); do
    peer=${peers[$(((turn + round) % ${#peers[@]}))]}
    echo "$peer $($peer)" | tee -a "$work/turns"
  done
done
python3 - "$work/turns" <<'PYTHON'
import collections, statistics, sys
turns = collections.defaultdict(list)
for line in open(sys.argv[1]):
    peer, rate, p50 = line.split()
    turns[peer.rstrip("_")].append((float(rate), float(p50)))
middle = {peer: [statistics.median(column) for column in zip(*rows)] for peer, rows in turns.items()}
for peer, (rate, p50) in middle.items():
    print(f"{peer:6} {rate:10.0f} requests/s   p50 {p50:.3f} ms")
rate = middle["ours"][0] / max(rate for rate, _ in middle.values())
p50 = middle["ours"][1] / min(p50 for _, p50 in middle.values())
print(f"ours to the better: throughput {rate:.3f}, p50 {p50:.3f}")
PYTHON
