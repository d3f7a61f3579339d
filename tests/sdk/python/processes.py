"""Starts the binaries that an end-to-end test needs, and stops exactly those."""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 60


class Process:
    """A started program; what it prints goes to one file, so that no pipe can fill up."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self.name = Path(command[0]).name
        self._output = tempfile.NamedTemporaryFile(prefix=f"{self.name}-", suffix=".log")
        self._last_output: str | None = None
        self._child = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def output(self) -> str:
        """All that it printed; what it had printed by then, once it was stopped."""
        if self._last_output is not None:
            return self._last_output
        return Path(self._output.name).read_text(encoding="utf-8", errors="replace")

    def wait_for_line(self, pattern: str) -> re.Match[str]:
        """The first match in the output; an error once the program has ended or the time is over."""
        for _ in self._until_late():
            if found := re.search(pattern, self.output()):
                return found
        raise RuntimeError(f"{self.name} did not print {pattern!r}:\n{self.output()}")

    def wait_for_ok(self, url: str) -> None:
        """Returns when the URL answers 200; an error once the program has ended or the time is over."""
        for _ in self._until_late():
            if answers_ok(url):
                return
        raise RuntimeError(f"{self.name} did not answer at {url}:\n{self.output()}")

    def assert_no_panic(self) -> None:
        """A panic behind a finished answer is invisible to a client, and a fault all the same."""
        assert "panicked at" not in self.output(), f"{self.name} panicked:\n{self.output()[-3000:]}"

    def stop(self) -> None:
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(10)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        if self._last_output is None:
            self._last_output = self.output()
            self._output.close()

    def _until_late(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._child.poll() is None:
            yield
            time.sleep(0.05)


def answers_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def free_ports(count: int) -> list[int]:
    """From below the range that outgoing connections are given, so that nobody takes them meanwhile."""
    ports: list[int] = []
    for port in random.sample(range(28_500, 32_000), k=1_000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError("no port is free")


def binary(variable: str, name: str) -> str:
    path = os.environ.get(variable) or str(ROOT / "target" / "debug" / name)
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"no {name} at {path}: build it with cargo, or set {variable}")
    return path


def start_simulator() -> tuple[Process, str]:
    """The simulated model server, and its URL."""
    simulator = Process([binary("OUTRIGGER_SIM_BIN", "outrigger-sim"), "--listen", "127.0.0.1:0"])
    return started(simulator, lambda: simulator.wait_for_line(r"listening on (http://\S+)").group(1))


def start_proxy(backend: str) -> tuple[Process, str]:
    """The proxy in front of a backend by its smallest setup, and its URL."""
    listen, admin = (f"127.0.0.1:{port}" for port in free_ports(2))
    environment = {
        "OUTRIGGER_BACKEND": backend,
        "OUTRIGGER__SERVER__LISTEN": listen,
        "OUTRIGGER__SERVER__ADMIN": admin,
        # A panic in one line: what a failed test shows of the log is short.
        "RUST_BACKTRACE": "0",
    }
    proxy = Process([binary("OUTRIGGER_BIN", "outrigger")], environment)

    def url() -> str:
        proxy.wait_for_ok(f"http://{admin}/readyz")
        return f"http://{listen}"

    return started(proxy, url)


def started(process: Process, url) -> tuple[Process, str]:
    try:
        return process, url()
    except Exception:
        process.stop()
        raise
