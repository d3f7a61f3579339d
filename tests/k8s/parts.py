"""The gateway and the sidecar of the manifests as processes on loopback, with the very settings that the manifests give them,
but for addresses; each before a simulated model server, and a Prometheus that reads both under the jobs that the PodMonitors
would give them."""

import sys
import time

import manifests
from test_references import settings

sys.path.insert(0, str(manifests.ROOT / "tests/board"))
import stage

PASSWORD = "a-password"

PROMETHEUS = """
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: outrigger
    static_configs:
      - targets: ["127.0.0.1:{gateway_admin}"]
        labels: {{ namespace: default, pod: outrigger-0 }}
  - job_name: vllm
    static_configs:
      - targets: ["127.0.0.1:{sidecar_admin}"]
        labels: {{ namespace: default, pod: vllm-0 }}
"""

# So that few requests are many. A model server that queues by itself shows that in its own metrics.
NARROW = {"OUTRIGGER__BREAKER__ADMISSION__ADAPTIVE": "false", "OUTRIGGER__BREAKER__ADMISSION__INITIAL_LIMIT": "4"}
TOKENS = {"OUTRIGGER__BACKENDS__0__KV_TOKENS": "2000", "OUTRIGGER__BREAKER__ENGINE_INTERVAL_MS": "500"}


class Stage(stage.Stage):
    def __enter__(self):
        self.names = ["gateway", "gateway_admin", "sidecar", "sidecar_admin", "redis", "first", "second", "prometheus"]
        given, stage.free_ports = stage.free_ports, lambda *_: given(*self.names)
        try:
            return super().__enter__()
        finally:
            stage.free_ports = given

    def begin(self):
        ports = self.ports
        self.start("redis", "redis-server", "--port", ports["redis"], "--bind", "127.0.0.1", "--requirepass", PASSWORD)
        for name, more in [("first", []), ("second", ["--slots", "2"])]:
            self.start(name, stage.BIN / "outrigger-sim", "--listen", f"127.0.0.1:{ports[name]}", *more)
        for name in ("redis", "first", "second"):
            self.wait_for(name)
        outriggers = {name: (workload, container) for name, workload, container in manifests.outriggers()}
        for role, file, more in [("gateway", "gateway/deployment.yaml", NARROW), ("sidecar", "sidecar/full.yaml", TOKENS)]:
            workload, container = next(parts for name, parts in outriggers.items() if name.startswith(file))
            self.outrigger(role, *settings(workload, container), more)
        (self.folder / "prometheus.yml").write_text(PROMETHEUS.format(**ports))
        self.start(
            "prometheus",
            "prometheus",
            f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/prometheus",
            f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
            "--log.level=warn",
        )
        self.wait_for("prometheus", "/-/ready", 20)
        self.began = time.time()

    def outrigger(self, role, text, variables, more):
        ports = self.ports
        addresses = {
            "0.0.0.0:8080": f"127.0.0.1:{ports[role]}",
            "0.0.0.0:9090": f"127.0.0.1:{ports[role + '_admin']}",
            "redis:6379": f"127.0.0.1:{ports['redis']}",
            "vllm-pods:8000": f"127.0.0.1:{ports['first']}",
            "127.0.0.1:8000": f"127.0.0.1:{ports['second']}",
            "/var/lib/outrigger": f"{self.folder}/{role}",
        }

        def placed(words):
            for before, after in addresses.items():
                words = words.replace(before, after)
            return words

        (self.folder / role).mkdir()
        if text is not None:
            (self.folder / f"{role}.toml").write_text(placed(text))
            variables["OUTRIGGER_CONFIG"] = str(self.folder / f"{role}.toml")
        variables = {name: placed(value) for name, value in variables.items()}
        variables |= {"REDIS_PASSWORD": PASSWORD, "OUTRIGGER__REDIS__TIMEOUT_MS": "500"} if role == "gateway" else {}
        variables |= more
        self.start(role, "env", *(f"{name}={value}" for name, value in variables.items()), stage.BIN / "outrigger")
        self.wait_for(f"{role}_admin", "/readyz", 30)

    def number(self, query):
        """The one number that Prometheus answers; none where it has nothing."""
        answer = self.ask("query", query=query)
        assert answer["status"] == "success", f"{answer.get('error')}\n{query}"
        assert answer["data"]["resultType"] == "vector", query
        found = [float(series["value"][1]) for series in answer["data"]["result"]]
        assert len(found) <= 1, f"{len(found)} numbers for {query}"
        return found[0] if found else None

    def until(self, query, holds, seconds):
        """Asks until what is answered holds; gives what was answered last."""
        ends = time.monotonic() + seconds
        while True:
            number = self.number(query)
            if (number is not None and holds(number)) or time.monotonic() > ends:
                return number
            time.sleep(0.25)

    def metrics(self, role):
        return stage.fetch(f"{self.url(role + '_admin')}/metrics").decode()
