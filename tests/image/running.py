"""A container of ours as an operator runs it: read-only, without capabilities, as whom the image says; and how it is asked."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

import engine
from engine import said
from written import project

IMAGE = project()["services"]["outrigger"]["image"]
SIMULATOR = project()["services"]["simulator"]["image"]
CLIENTS, ADMIN = "http://127.0.0.1:8080", "http://127.0.0.1:9090"
HARDENED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges")
PATIENCE = 60


class Container:
    """With the network of the test: ports as they are in the image, on a loopback that nobody else has."""

    started: ClassVar[list[Container]] = []

    def __init__(self, name: str, image: str, *more: object, words: tuple[str, ...] = ()) -> None:
        self.name = name
        Container.started.append(self)
        said("create", "--name", name, "--network", "host", *HARDENED, *more, image, *words)
        said("start", name)

    def process(self) -> Path:
        return Path("/proc") / said("inspect", "--format", "{{.State.Pid}}", self.name)

    def log(self) -> str:
        done = engine.podman("logs", self.name)
        return done.stdout + done.stderr

    def healthcheck(self) -> int:
        """The image's own, as an engine runs it."""
        return engine.podman("healthcheck", "run", self.name).returncode

    def stop(self) -> int:
        """By the image's own signal; its exit code."""
        said("stop", "--time", "50", self.name)
        return int(said("inspect", "--format", "{{.State.ExitCode}}", self.name))

    def remove(self) -> None:
        engine.podman("rm", "--force", "--time", "0", self.name)
        Container.started.remove(self)


def end_all() -> None:
    for container in list(Container.started):
        container.remove()


def fetch(url: str, body: Any = None, timeout: float = 30) -> tuple[int, dict[str, str], str]:
    """Status, head with lower-case names, and text; refusals too."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, {k.lower(): v for k, v in refused.headers.items()}, refused.read().decode()


def until_ok(url: str, pause: float = 0.02) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if fetch(url, timeout=2)[0] == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, f"{url} never answered 200"
        time.sleep(pause)


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "sim", "messages": [{"role": "user", "content": text}], **more}
