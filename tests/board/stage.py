"""The parts that the board is looked at with, as processes on loopback: Redis, two backends of which one fails sometimes, a
collector, Outrigger, Prometheus. What was started here ends here, by its process id, however it goes."""

import contextlib
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(os.environ.get("OUTRIGGER_BIN", ROOT / "target/debug"))
PROMETHEUS_RULES = ROOT / "docker/prometheus/rules.yml"

SETTINGS = """
[server]
listen = "127.0.0.1:{listen}"
admin = "127.0.0.1:{admin}"
threads = 1

[tenants]
from = "header:x-tenant"
[tenants.names]
acme = {{ value = "acme" }}
beta = {{ value = "beta" }}

[redis]
url = "redis://127.0.0.1:{redis}"
timeout_ms = 50

[[backends]]
name = "gpu-1"
url = "http://127.0.0.1:{first}"
models = ["llama-70b", "llama-8b", "embed"]
health_path = "/health"

[[backends]]
name = "gpu-2"
url = "http://127.0.0.1:{second}"
models = ["llama-70b", "llama-8b"]
health_path = "/health"

[[rate_limit.limits]]
name = "rpm"
amount = 400
window = "1m"
overrides = {{ beta = 70 }}

[[rate_limit.limits]]
name = "tpm"
unit = "tokens"
amount = 60_000
window = "1m"

[semantic_cache]
mode = "exact"
disk_path = "{folder}/answers"

[breaker]
hedge = true
token_gap_timeout_ms = 700
min_retries_per_sec = 2
open_ms = 1_500
consecutive_failures = 4
health_interval_ms = 1_000
engine_interval_ms = 1_000

[breaker.admission]
initial_limit = 24
max_limit = 64

[[breaker.fallbacks]]
model = "llama-70b"
to = ["llama-8b"]

[cost]
ledger_path = "{folder}/ledger.db"

[[cost.price]]
model = "llama-70b"
input = 4.0
output = 16.0

[[cost.price]]
model = "llama-8b"
input = 0.4
output = 1.2

[[cost.budgets]]
name = "team"
amount_usd = 0.03
period = "day"
scope = "tenant"

[[cost.budgets]]
name = "house"
amount_usd = 50.0
period = "month"
scope = "everyone"
hard = false

[latency]
baseline_min_samples = 20

[gpu]
mode = "amd"
sysfs_path = "{folder}/sys"

[telemetry]
access_log = false
log_level = "warn"
otlp_endpoint = "http://127.0.0.1:{collector}"
otlp_protocol = "http"
metrics_interval_secs = 2
sample_ratio = 1.0
"""

PROMETHEUS = """
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: ["{rules}"]
scrape_configs:
  - job_name: outrigger
    static_configs:
      - targets: ["127.0.0.1:{admin}"]
"""


# A card as AMD's driver shows it.
CARD = {
    "vendor": "0x1002",
    "unique_id": "5d5d9c7a3c9b1f2e",
    "product_name": "AMD Instinct MI300X",
    "gpu_busy_percent": "63",
    "mem_busy_percent": "12",
    "mem_info_vram_total": "206141652992",
    "mem_info_vram_used": "185527487488",
    "ras/umc_err_count": "ue: 0\nce: 17",
    "hwmon/hwmon0/temp1_label": "edge",
    "hwmon/hwmon0/temp1_input": "41000",
    "hwmon/hwmon0/temp2_label": "mem",
    "hwmon/hwmon0/temp2_input": "52000",
    "hwmon/hwmon0/power1_average": "542125000",
    "hwmon/hwmon0/power1_cap": "750000000",
}


def card(folder):
    for name, text in CARD.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n")


def free_ports(*names):
    """Held open together, so that none is given twice."""
    with contextlib.ExitStack() as held:
        ports = {}
        for name in names:
            listener = held.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports[name] = listener.getsockname()[1]
        return ports


def fetch(url, body=None, timeout=10):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=timeout) as answer:
        return answer.read()


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes spans and metrics, and keeps none."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Stage:
    def __enter__(self):
        # Told to end, it ends what it started.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        with contextlib.ExitStack() as parts:
            self.parts = parts
            self.folder = Path(tempfile.mkdtemp(prefix="outrigger-board-"))
            parts.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.ports = free_ports("listen", "admin", "redis", "first", "second", "prometheus")
            self.begin()
            self.ended = parts.pop_all()
        return self

    def __exit__(self, *_):
        self.ended.close()

    def begin(self):
        ports, folder = self.ports, self.folder
        # Its thread ends with the process; its socket is closed before.
        collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        self.parts.callback(collector.server_close)
        self.parts.callback(collector.shutdown)
        self.start(
            "redis", "redis-server", "--port", ports["redis"], "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"
        )
        for name in ("first", "second"):
            listen = f"127.0.0.1:{ports[name]}"
            self.start(name, BIN / "outrigger-sim", "--listen", listen, "--ttft-ms", 30, "--gap-ms", 3, "--tokens", 24)
        for name in ("redis", "first", "second"):
            self.wait_for(name)
        card(folder / "sys/class/drm/card0/device")
        (folder / "outrigger.toml").write_text(SETTINGS.format(folder=folder, collector=collector.server_port, **ports))
        self.start("outrigger", BIN / "outrigger", "--config", folder / "outrigger.toml")
        rules = PROMETHEUS_RULES
        (folder / "prometheus.yml").write_text(PROMETHEUS.format(rules=rules, **ports))
        self.wait_for("admin", "/readyz", 30)
        self.start(
            "prometheus",
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/prometheus",
            "--storage.tsdb.retention.time=10m",
            f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        )
        self.wait_for("prometheus", "/-/ready", 20)
        self.wait_for_scrape(20)
        self.began = time.time()

    def start(self, name, *command):
        log = (self.folder / f"{name}.log").open("wb")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("OUTRIGGER_", "OTEL_"))}
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.folder,
            env=environment,
        )
        log.close()
        self.parts.callback(end, child)

    def wait_for(self, name, path=None, seconds=10):
        until = time.monotonic() + seconds
        while True:
            try:
                if path is None:
                    socket.create_connection(("127.0.0.1", self.ports[name]), 1).close()
                else:
                    fetch(self.url(name) + path, timeout=1)
                return
            except OSError:
                if time.monotonic() > until:
                    logs = "".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in self.folder.glob("*.log"))
                    raise SystemExit(f"{name} did not come up in {seconds} s\n{logs}")
                time.sleep(0.05)

    def wait_for_scrape(self, seconds):
        """What is counted before Prometheus first looks is no increase to it."""
        until = time.monotonic() + seconds
        while not self.ask("query", query="outrigger_memory_bytes")["data"]["result"]:
            if time.monotonic() > until:
                raise SystemExit(f"Prometheus has read nothing of Outrigger in {seconds} s")
            time.sleep(0.2)

    def url(self, name):
        return f"http://127.0.0.1:{self.ports[name]}"

    def ask(self, path, **query):
        """What Prometheus answers; its own words where it refuses."""
        try:
            answer = fetch(f"{self.url('prometheus')}/api/v1/{path}?{urllib.parse.urlencode(query, doseq=True)}")
        except urllib.error.HTTPError as refused:
            return json.loads(refused.read())
        return json.loads(answer)


def end(child):
    child.terminate()
    try:
        child.wait(8)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
