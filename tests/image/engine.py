"""Podman with a store of its own under target/image: no daemon, no registry, nothing of the machine's own containers."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from typing import Any

from written import ROOT, run

FOLDER = ROOT / "target/image"
# Short, since sockets lie in it.
RUNS = "/run/outrigger-image"
BASE = "localhost/outrigger-base"
WITH_MODEL = "localhost/outrigger-with-model"
MODEL = ROOT / "models/minilm"
NEEDED = ("podman", "runc", "conmon", "mmdebstrap", "strip")
# What Docker would do on a daemon's behalf: file limits as they are here, which a container cannot raise.
SETTINGS = """
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc=16384:16384"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
compat_api_enforce_docker_hub = false
"""


def files() -> int:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 65_536 if most < 0 else min(most, 65_536)


def environment() -> dict[str, str]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    settings = FOLDER / "containers.conf"
    settings.write_text(SETTINGS.format(files=files()))
    return {**os.environ, "CONTAINERS_CONF": str(settings)}


def command(*words: object) -> list[str]:
    return ["podman", "--root", str(FOLDER / "store"), "--runroot", RUNS, *map(str, words)]


def podman(*words: object, **more: Any) -> subprocess.CompletedProcess[str]:
    return run(*command(*words), env=environment(), **more)


def said(*words: object) -> str:
    """What Podman prints, where it must succeed."""
    done = podman(*words)
    assert done.returncode == 0, f"podman {' '.join(map(str, words))}:\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def obstacle() -> str | None:
    """Why no image can be built and run here, if so."""
    if os.geteuid() != 0:
        return "it takes root"
    if missing := [name for name in NEEDED if not shutil.which(name)]:
        return f"not installed: {' '.join(missing)} (scripts/setup image)"
    done = podman("info")
    return None if done.returncode == 0 else f"podman: {done.stderr.strip()}"
