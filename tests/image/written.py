"""What stands in docker/: as Docker Compose understands it, and as a Dockerfile is written."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "docker/Dockerfile"
COMPOSE = ROOT / "docker/compose.yaml"
TOOLS = Path(sys.executable).parent


def run(*command: object, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True, **more)


def compose(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Docker Compose itself, with nothing of the caller's environment that our file reads."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OUTRIGGER_", "COMPOSE_"))}
    return run(TOOLS / "docker-compose", "--file", COMPOSE, *words, env={**kept, **variables})


@functools.cache
def project(**variables: str) -> dict[str, Any]:
    """The whole file, its variables and anchors put in, held to Compose's own schema and rules."""
    said = compose("config", "--format", "json", **variables)
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout)


@functools.cache
def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each on one line, without comments."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def copied() -> list[str]:
    """What COPY takes from the sources, not from another stage."""
    copies = [rest.split() for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    return [source for words in copies for source in words[:-1] if not source.startswith("--")]
