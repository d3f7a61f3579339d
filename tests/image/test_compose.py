"""`docker compose up`, by Docker Compose itself over Podman: all that docker/compose.yaml starts, but for Grafana, whose image nothing
here can stand in for. Redis and Prometheus are Debian's, the collector is a small one of ours."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

import engine
from engine import FOLDER, said
from running import ADMIN, CLIENTS, chat, fetch
from written import COMPOSE, TOOLS, project

PROMETHEUS = "http://127.0.0.1:9091"
NAMES = [name for name in project()["services"] if name != "grafana"]
SOCKET = f"unix://{engine.RUNS}/docker.sock"
# The collector that stands in speaks HTTP. And Podman gives a container with limits of its own no other of its defaults.
OVERRIDE = """
services:
  outrigger:
    environment:
      OUTRIGGER__TELEMETRY__OTLP_ENDPOINT: http://collector:4318
      OUTRIGGER__TELEMETRY__OTLP_PROTOCOL: http
    ulimits:
      nproc: 16384
"""


def compose(*words: str, **more) -> subprocess.CompletedProcess[str]:
    override = FOLDER / "override.yaml"
    override.write_text(OVERRIDE)
    command = [str(TOOLS / "docker-compose"), "--file", str(COMPOSE), "--file", str(override), *words]
    variables = {"DOCKER_HOST": SOCKET, "OUTRIGGER_FILES": str(engine.files())}
    return subprocess.run(
        command, check=False, env={**engine.environment(), **variables}, capture_output=True, text=True, **more
    )


@contextlib.contextmanager
def docker() -> Iterator[None]:
    """Docker's API, spoken by Podman; and what a timer of systemd does for it elsewhere: to run the health checks."""
    log = (FOLDER / "service.log").open("w")
    service = subprocess.Popen(
        engine.command("system", "service", "--time", "0", SOCKET), env=engine.environment(), stdout=log, stderr=log
    )
    over = threading.Event()

    def check() -> None:
        while not over.wait(1):
            for container in engine.podman(
                "ps", "--quiet", "--filter", "label=com.docker.compose.project"
            ).stdout.split():
                engine.podman("healthcheck", "run", container)

    checks = threading.Thread(target=check)
    checks.start()
    try:
        yield
    finally:
        over.set()
        checks.join()
        service.terminate()
        service.wait()


@pytest.fixture(scope="module")
def stack() -> Iterator[None]:
    with docker():
        compose("down", "--volumes", "--timeout", "1")
        done = compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "120", *NAMES, timeout=300)
        try:
            assert done.returncode == 0, f"{done.stdout}{done.stderr}{compose('logs').stdout[-6000:]}"
            yield
        finally:
            compose("down", "--volumes", "--timeout", "1")


def ask(text: str) -> tuple[int, dict[str, str], str]:
    return fetch(f"{CLIENTS}/v1/chat/completions", chat(text))


def parts() -> dict:
    return json.loads(fetch(f"{ADMIN}/healthz")[2])["parts"]


def prometheus(query: str) -> list:
    return json.loads(fetch(f"{PROMETHEUS}/api/v1/query?query={urllib.parse.quote(query)}")[2])["data"]["result"]


def until(what, seconds: float = 30):
    deadline = time.monotonic() + seconds
    while not (seen := what()):
        assert time.monotonic() < deadline, f"it never came to be: {seen}"
        time.sleep(0.2)
    return seen


def test_it_comes_up_and_answers(stack: None):
    status, head, text = ask("hello")
    assert status == 200 and json.loads(text)["choices"], text
    assert head["x-cache"] == "MISS" and head["x-outrigger-backend"], head
    states = {
        line["Service"]: line["Health"]
        for line in map(json.loads, compose("ps", "--format", "json").stdout.splitlines())
    }
    assert set(states) == set(NAMES), "all of them run"
    assert {name for name, health in states.items() if health == "healthy"} == set(NAMES) - {"collector"}, states


def test_redis_is_used_and_well(stack: None):
    assert until(lambda: parts()["redis"]["status"] == "ok"), parts()["redis"]
    keys = said("exec", "outrigger-redis-1", "redis-cli", "dbsize")
    assert int(keys) > 0, "something of Outrigger is in Redis"


def test_prometheus_scrapes_it_and_takes_the_rules(stack: None):
    ask("counted")
    assert until(lambda: prometheus('up{job="outrigger"} == 1')), "it is scraped"
    assert until(lambda: prometheus("gen_ai_server_request_duration_seconds_count > 0")), "requests are counted"
    groups = json.loads(fetch(f"{PROMETHEUS}/api/v1/rules")[2])["data"]["groups"]
    assert groups and all(rule["health"] != "err" for group in groups for rule in group["rules"])


def test_the_collector_is_told(stack: None):
    ask("told")
    for signal in ("spans", "metrics"):
        told = f'outrigger_telemetry_exports_total{{signal="{signal}",outcome="taken"}} > 0'
        assert until(lambda told=told: prometheus(told)), f"{signal} have reached it"


def test_no_service_can_write_to_its_root(stack: None):
    for name in NAMES:
        pid = said("inspect", "--format", "{{.State.Pid}}", f"outrigger-{name}-1")
        mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
        root = [mount for mount in mounts if mount[4] == "/"][-1]
        assert "ro" in root[5].split(","), f"{name}: {root}"
        status = Path(f"/proc/{pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status, name
        assert "Uid:\t0\t" not in status, f"{name} does not run as root"


def test_who_has_no_port_has_no_way_out(stack: None):
    for name in ("redis", "simulator", "collector"):
        networks = json.loads(said("inspect", f"outrigger-{name}-1"))[0]["NetworkSettings"]["Networks"]
        assert set(networks) == {"outrigger_inside"}, f"{name}: {networks}"
    assert json.loads(said("network", "inspect", "outrigger_inside"))[0]["internal"]


def test_what_was_kept_and_paid_outlives_a_new_container(stack: None):
    assert ask("to be kept")[1]["x-cache"] == "MISS"
    calls = json.loads(fetch(f"{ADMIN}/api/costs")[2])["total"]["requests"]
    done = compose("up", "--detach", "--no-build", "--no-deps", "--force-recreate", "--wait", "outrigger", timeout=120)
    assert done.returncode == 0, done.stderr
    assert ask("to be kept")[1]["x-cache"] == "HIT"
    assert json.loads(fetch(f"{ADMIN}/api/costs")[2])["total"]["requests"] == calls > 0
