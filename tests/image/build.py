#!/usr/bin/env python3
"""Builds the images that are tested, by docker/Dockerfile: from a Debian that is made here, in the place of one from a registry, and
around the binaries that are built already (OUTRIGGER_BIN names their folder; target/debug).

usage: build.py          exit 0: built; 75: cannot be built here, and why
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
import engine
from engine import BASE, FOLDER
from written import DOCKERFILE, ROOT, project

BIN = Path(os.environ.get("OUTRIGGER_BIN", ROOT / "target/debug"))
CANNOT = 75
# What is put in the place of a stage, or of what a registry would have.
GIVEN = FOLDER / "given"
STANDINS = Path(__file__).parent / "standins.Dockerfile"


def timed(what: str, *words: object, **more) -> None:
    began = time.monotonic()
    done = subprocess.run([str(word) for word in words], check=False, capture_output=True, text=True, **more)
    print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)
    if done.returncode != 0:
        sys.exit(f"{what} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")


def suite() -> str:
    """This machine's, since the binaries were linked against its C library."""
    words = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return words["VERSION_CODENAME"].strip('"')


def base() -> None:
    archive = FOLDER / f"base-{suite()}.tar"
    if not archive.exists():
        part = archive.with_suffix(".part.tar")
        timed(f"a Debian ({suite()})", "mmdebstrap", "--variant=apt", "--dpkgopt=force-unsafe-io", suite(), part)
        part.rename(archive)
    if engine.podman("image", "exists", f"{BASE}:{suite()}").returncode != 0:
        timed("into the store", *engine.command("import", archive, f"{BASE}:{suite()}"), env=engine.environment())


def strip(path: Path, name: str) -> None:
    if not path.exists():
        sys.exit(f"{path} is not built: `make test-build` does, or OUTRIGGER_BIN names a folder")
    stripped = GIVEN / name
    stripped.parent.mkdir(parents=True, exist_ok=True)
    timed(f"{path.name}, stripped", "strip", "-o", stripped, path)


def build(file: Path, name: str, target: str, *more: object) -> None:
    words = ["build", "--isolation", "chroot", "--format", "docker", "--file", file, "--target", target, "--tag", name]
    bases = [f"--build-arg={argument}={BASE}:{suite()}" for argument in ("BUILD_IMAGE", "RUNTIME_IMAGE")]
    timed(f"{name}", *engine.command(*words, *bases, *more, "."), env=engine.environment(), cwd=ROOT)


def main() -> None:
    if obstacle := engine.obstacle():
        print(obstacle)
        sys.exit(CANNOT)
    # Of a run that was ended from outside.
    engine.podman("rm", "--all", "--force", "--time", "0")
    base()
    trial = engine.podman("run", "--rm", "--network", "none", f"{BASE}:{suite()}", "true")
    if trial.returncode != 0:
        print(f"no container runs here: {trial.stderr.strip()}")
        sys.exit(CANNOT)
    for name in ("outrigger", "outrigger-sim"):
        strip(BIN / name, f"binaries/{name}")
    services = project()["services"]
    given = f"--build-context=binaries={GIVEN}"
    build(DOCKERFILE, services["outrigger"]["image"], "outrigger", given)
    build(DOCKERFILE, services["simulator"]["image"], "simulator", given)
    if engine.MODEL.exists():
        # Brought already: in the place of the stage that brings it.
        shutil.copytree(engine.MODEL, GIVEN / "model/source/models/minilm", dirs_exist_ok=True)
        build(DOCKERFILE, engine.WITH_MODEL, "with-model", given, f"--build-context=model={GIVEN / 'model'}")
    engine.podman("image", "prune", "--force", "--filter", "until=24h")
    strip(BIN / "examples/collector", "collector")
    for name in ("redis", "prometheus", "collector"):
        build(STANDINS, services[name]["image"], name, f"--build-context=given={GIVEN}")


if __name__ == "__main__":
    main()
