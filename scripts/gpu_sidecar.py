"""Outrigger with nothing behind it, for whoever wants to see what it reads of GPUs."""
import contextlib, json, os, socket, subprocess, time, urllib.request


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def binary():
    """That of BIN, or of the last build."""
    folders = [os.environ["BIN"]] if "BIN" in os.environ else ["target/release", "target/debug"]
    found = [path for path in (os.path.join(folder, "outrigger") for folder in folders) if os.path.exists(path)]
    if not found:
        raise SystemExit(f"There is no outrigger in {' or '.join(folders)}: run `make build`.")
    return found[0]


class Sidecar:
    def __init__(self, admin):
        self.admin = admin

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=10) as answer:
            return answer.read().decode()

    def status(self):
        return json.loads(self.get("/api/gpu/status"))

    def until_read(self):
        """What is told as soon as every driver has been asked."""
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                told = self.status()
                if all(driver["state"] != "new" for driver in told["drivers"]):
                    return told
            if time.monotonic() > until:
                raise SystemExit("Outrigger did not start, or a driver does not answer.")
            time.sleep(0.1)


@contextlib.contextmanager
def sidecar(settings):
    admin = f"127.0.0.1:{free_port()}"
    own = {
        "OUTRIGGER_BACKEND": "http://127.0.0.1:9",
        "OUTRIGGER__SERVER__LISTEN": "127.0.0.1:0",
        "OUTRIGGER__SERVER__ADMIN": admin,
        "OUTRIGGER__BREAKER__ENGINE_METRICS": "off",
        "OUTRIGGER__TELEMETRY__LOG_LEVEL": "warn",
    }
    own |= {f"OUTRIGGER__GPU__{key}": str(value) for key, value in settings.items()}
    process = subprocess.Popen([binary()], env=os.environ | own)
    try:
        yield Sidecar(admin)
    finally:
        process.kill()
        process.wait()
