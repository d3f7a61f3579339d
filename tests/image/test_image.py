"""The image as docker/Dockerfile builds it: what is in it, what holds it back, and that it works all the same."""

from __future__ import annotations

import errno
import gzip
import json
import os
import stat
import statistics
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import engine
from engine import FOLDER, MODEL, WITH_MODEL, said
from running import ADMIN, CLIENTS, HARDENED, IMAGE, SIMULATOR, Container, chat, fetch, until_ok

UID = 65_532
LARGEST = 120_000_000
BACKEND = ("--env", "OUTRIGGER_BACKEND=http://127.0.0.1:8000")


@pytest.fixture(scope="module")
def written_out() -> Path:
    """The image as files, as they are handed to another machine."""
    folder = FOLDER / "saved"
    subprocess.run(["rm", "-rf", folder], check=True)
    said("save", "--format", "docker-dir", "--output", folder, IMAGE)
    return folder


@pytest.fixture(scope="module")
def layers(written_out: Path) -> list[Path]:
    manifest = json.loads((written_out / "manifest.json").read_text())
    return [written_out / layer["digest"].removeprefix("sha256:") for layer in manifest["layers"]]


@pytest.fixture(scope="module")
def entries(layers: list[Path]) -> dict[str, tarfile.TarInfo]:
    found = {}
    for layer in layers:
        with tarfile.open(layer) as archive:
            found.update({f"/{entry.name.strip('/')}": entry for entry in archive})
    return found


@pytest.fixture(scope="module")
def settings() -> dict:
    return json.loads(said("image", "inspect", IMAGE))[0]


def test_it_is_small(layers: list[Path], entries: dict[str, tarfile.TarInfo], tell: Callable[[str], None]):
    read = [gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data for data in map(Path.read_bytes, layers)]
    plain, packed = sum(map(len, read)), sum(len(gzip.compress(layer, 6)) for layer in read)
    largest = sorted(entries.values(), key=lambda entry: -entry.size)[:4]
    parts = ", ".join(f"{Path(entry.name).name} {entry.size / 1e6:.1f}" for entry in largest)
    tell(f"{plain / 1e6:.1f} MB, {packed / 1e6:.1f} MB compressed ({parts})")
    assert plain < LARGEST, f"{plain} bytes, without the embedding model"


def test_it_says_how_it_is_run(settings: dict):
    config = settings["Config"]
    assert config["User"] == f"{UID}:{UID}", "as nobody that the machine knows"
    assert config["Entrypoint"] == ["/usr/bin/outrigger"] and not config.get("Cmd")
    assert config["StopSignal"] in ("SIGTERM", "15")
    assert set(config["ExposedPorts"]) == {"8080/tcp"}, "-P publishes the clients' port and not the admin's"
    assert settings["HealthCheck" if "HealthCheck" in settings else "Healthcheck"]["Test"] == [
        "CMD",
        "/usr/bin/outrigger",
        "health",
    ]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0" and labels["org.opencontainers.image.version"]


def test_nothing_in_it_gives_power_or_a_shell(entries: dict[str, tarfile.TarInfo]):
    for path, entry in entries.items():
        assert not entry.mode & (stat.S_ISUID | stat.S_ISGID), f"{path} lends its owner's power"
        own = path == "/var/lib/outrigger"
        assert entry.uid == (UID if own else 0), f"{path} belongs to {entry.uid}"
        if path != "/tmp" and not entry.issym():
            assert not entry.mode & stat.S_IWOTH, f"{path} can be written by all"
    programs = [path for path, entry in entries.items() if entry.isfile() and entry.mode & 0o111]
    libraries = [path for path in programs if ".so" in path]
    assert set(programs) - set(libraries) == {"/usr/bin/outrigger"}, "one program, and no shell"


def test_it_is_what_was_built(layers: list[Path]):
    given = (FOLDER / "given/binaries/outrigger").read_bytes()
    for layer in layers:
        with tarfile.open(layer) as archive:
            if "usr/bin/outrigger" in archive.getnames():
                assert archive.extractfile("usr/bin/outrigger").read() == given, "no older one from the builder's cache"
                return
    raise AssertionError("it is not in the image")


def test_what_it_is_made_of_is_told(entries: dict[str, tarfile.TarInfo]):
    assert "/usr/share/doc/outrigger/LICENSE" in entries
    for package in ("libc6", "libstdc++6", "libgcc-s1"):
        assert f"/usr/share/doc/{package}/copyright" in entries, f"the licence of {package}"
        assert f"/var/lib/dpkg/status.d/{package}" in entries, f"the version of {package}"
    assert entries["/etc/ssl/certs/ca-certificates.crt"].size > 100_000, "whom to trust"


def both(start: type[Container], *more: object, image: str = IMAGE) -> Container:
    start("simulator", SIMULATOR)
    until_ok("http://127.0.0.1:8000/health")
    container = start("outrigger", image, *BACKEND, *more)
    until_ok(f"{ADMIN}/readyz")
    return container


def test_it_answers_and_can_do_nothing_else(start: type[Container]):
    container = both(start)
    status, head, text = fetch(f"{CLIENTS}/v1/chat/completions", chat("hello"))
    assert status == 200 and json.loads(text)["choices"][0]["message"]["content"], text
    assert head["x-cache"] == "MISS"
    status, _, text = fetch(f"{CLIENTS}/v1/chat/completions", chat("a stream", stream=True))
    assert status == 200 and text.rstrip().endswith("data: [DONE]"), text

    process = container.process()
    told = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    assert told["Uid"].split() == [str(UID)] * 4 and told["Gid"].split() == [str(UID)] * 4
    assert int(told["CapEff"], 16) == int(told["CapPrm"], 16) == int(told["CapBnd"], 16) == 0, "no capability"
    assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2"), "and none to be had"
    mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    root = [mount for mount in mounts if mount[4] == "/"][-1]
    assert "ro" in root[5].split(","), f"its root is mounted read-only: {root}"
    for path in ("written", "usr/bin/written", "var/lib/outrigger/written", "tmp/written"):
        # Even as root of the machine, whom no permission holds back.
        with pytest.raises(OSError) as refused:
            (process / "root" / path).write_text("")
        assert refused.value.errno == errno.EROFS, f"/{path}: {refused.value}"


def test_what_it_writes_itself_to_a_read_only_root_is_refused():
    done = engine.podman(
        "run",
        "--rm",
        "--network",
        "host",
        *BACKEND,
        "--read-only",
        "--env",
        "OUTRIGGER__COST__LEDGER_PATH=/ledger.db",
        IMAGE,
    )
    assert done.returncode == 1 and "cost.ledger_path" in done.stderr and "Read-only file system" in done.stderr


def test_its_health_is_the_engines_business_too(start: type[Container]):
    container = both(start)
    assert container.healthcheck() == 0
    assert said("exec", "outrigger", "/usr/bin/outrigger", "health") == '{"status":"ready"}'
    assert said("exec", "outrigger", "/usr/bin/outrigger", "health", "--live") == '{"status":"alive"}'
    assert Container.started[0].healthcheck() == 0, "the simulator's too"
    # A stream that lasts keeps it from ending.
    request = json.dumps(chat("long", stream=True, sim={"tokens": 600, "gap_ms": 50})).encode()
    with subprocess.Popen(
        ["curl", "-sN", f"{CLIENTS}/v1/chat/completions", "-H", "content-type: application/json", "-d", request],
        stdout=subprocess.PIPE,
    ) as client:
        client.stdout.read(1)
        said("kill", "--signal", "TERM", "outrigger")
        until = time.monotonic() + 20
        while container.healthcheck() == 0 and time.monotonic() < until:
            time.sleep(0.1)
        assert container.healthcheck() == 1, "it takes no more requests"
        assert fetch(f"{ADMIN}/livez")[0] == 200, "and lives"
        client.terminate()


def test_it_ends_at_once_and_well_when_it_is_stopped(start: type[Container]):
    container = both(start)
    began = time.monotonic()
    assert container.stop() == 0, container.log()
    assert time.monotonic() - began < 15, "nobody had to be waited for"


def test_a_mounted_file_is_its_settings(start: type[Container], tmp_path: Path):
    file = tmp_path / "outrigger.toml"
    mount = ("--volume", f"{file}:/etc/outrigger/outrigger.toml:ro")
    check = ("run", "--rm", "--network", "none", *BACKEND)
    file.write_text("[server]\nmax_body = 1\n")
    os.chmod(tmp_path, 0o755)
    wrong = engine.podman(*check, *mount, IMAGE, "check")
    assert wrong.returncode == 1 and "/etc/outrigger/outrigger.toml:2: server.max_body" in wrong.stderr, wrong.stderr
    # Times of days are known without the machine's table of them.
    zone = ("--env", "OUTRIGGER__COST__TIME_ZONE=Europe/Berlin")
    assert said(*check, *zone, IMAGE, "check").endswith("The settings are good."), "the file in the image is good"
    file.write_text('[server]\nadmin_hosts = ["ops.example.com"]\n[[backends]]\nurl = "http://127.0.0.1:8000"\n')
    start("simulator", SIMULATOR)
    start("outrigger", IMAGE, *mount)
    until_ok(f"{ADMIN}/readyz")
    until_ok("http://127.0.0.1:8000/health")
    assert fetch(f"{CLIENTS}/v1/chat/completions", chat("hello"))[0] == 200, "its backend is that of the file"


def test_any_other_user_will_do(start: type[Container]):
    container = both(start, "--user", "1000810000:0")
    assert "1000810000" in (container.process() / "status").read_text()
    assert fetch(f"{CLIENTS}/v1/chat/completions", chat("hello"))[0] == 200


def test_what_is_kept_in_a_volume_outlives_the_container(start: type[Container]):
    engine.podman("volume", "rm", "--force", "outrigger-test")
    kept = (
        *("--volume", "outrigger-test:/var/lib/outrigger"),
        *("--env", "OUTRIGGER__COST__LEDGER_PATH=/var/lib/outrigger/ledger.db"),
        *("--env", "OUTRIGGER__SEMANTIC_CACHE__DISK_PATH=/var/lib/outrigger/answers"),
    )
    first = both(start, *kept)
    assert fetch(f"{CLIENTS}/v1/chat/completions", chat("to be kept"))[1]["x-cache"] == "MISS"
    assert first.stop() == 0
    first.remove()
    start("outrigger", IMAGE, *BACKEND, *kept)
    until_ok(f"{ADMIN}/readyz")
    assert fetch(f"{CLIENTS}/v1/chat/completions", chat("to be kept"))[1]["x-cache"] == "HIT", "from the disk"
    costs = json.loads(fetch(f"{ADMIN}/api/costs")[2])
    assert costs["total"]["requests"] == 1, f"the ledger remembers: {costs}"
    end = said("volume", "inspect", "--format", "{{.Mountpoint}}", "outrigger-test")
    assert {path.stat().st_uid for path in Path(end).rglob("*")} == {UID}, "it is the process's own"


IN_THERE = "/usr/share/outrigger/minilm"
MOUNTED = ("--volume", f"{MODEL}:{IN_THERE}:ro", "--env", f"OUTRIGGER__SEMANTIC_CACHE__MODEL_PATH={IN_THERE}")


@pytest.mark.skipif(not MODEL.exists(), reason="there is no embedding model: make model")
@pytest.mark.parametrize(("image", "more"), [(IMAGE, MOUNTED), (WITH_MODEL, ())], ids=["mounted", "in the image"])
def test_a_model_matches_by_meaning(start: type[Container], image: str, more: tuple[str, ...]):
    both(start, *more, image=image)
    until = time.monotonic() + 60
    while (part := json.loads(fetch(f"{ADMIN}/healthz")[2])["parts"]["model_file"]) != {"status": "ok"}:
        assert time.monotonic() < until and part["status"] != "degraded", part
        time.sleep(0.1)
    asked = []
    for question in ("How do I reset my password?", "How can I reset my password?", "How do I reset my router?"):
        asked.append(fetch(f"{CLIENTS}/v1/chat/completions", chat(question))[1]["x-cache"])
        time.sleep(1)
    assert asked == ["MISS", "SEMANTIC", "MISS"]


def test_it_is_ready_within_a_second(tell: Callable[[str], None]):
    """From the moment at which the program begins, that is without what the engine takes, to the first 200."""
    took, with_engine = zip(*(start_timed() for _ in range(10)), strict=True)
    middle = statistics.median(took)
    tell(
        f"ready after {middle:.0f} ms (median of {len(took)}; {min(took):.0f} to {max(took):.0f}), "
        f"{statistics.median(with_engine):.0f} with the engine's own time"
    )
    assert middle < 1000, took


def start_timed() -> tuple[float, float]:
    pidfile = FOLDER / "timed.pid"
    pidfile.unlink(missing_ok=True)
    said("create", "--name", "timed", "--network", "host", *HARDENED, "--pidfile", pidfile, *BACKEND, IMAGE)
    try:
        began = time.monotonic()
        nowhere = subprocess.DEVNULL
        command = engine.command("start", "timed")
        with subprocess.Popen(command, env=engine.environment(), stdout=nowhere, stderr=nowhere):
            executed = when_executed(pidfile, began + 30)
            until_ok(f"{ADMIN}/readyz", pause=0.0005)
            ready = time.monotonic()
    finally:
        engine.podman("rm", "--force", "--time", "0", "timed")
    return (ready - executed) * 1000, (ready - began) * 1000


def when_executed(pidfile: Path, deadline: float) -> float:
    program = None
    while time.monotonic() < deadline:
        try:
            program = program or f"/proc/{int(pidfile.read_text())}/exe"
            if os.readlink(program).endswith("/usr/bin/outrigger"):
                return time.monotonic()
        except (OSError, ValueError):
            pass
    raise AssertionError("it never ran")
