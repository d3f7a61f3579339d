"""What `outrigger advise` reckons is what llama.cpp itself takes, for the weights, the KV cache and what is worked with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from serve import model_file
from test_llama import skip_without_packages

ROOT = Path(__file__).resolve().parents[2]
OUTRIGGER = Path(os.environ.get("OUTRIGGER_BIN", ROOT / "target/debug/outrigger"))
MIB = 1 << 20

# Says what it reserves, and ends at once: the server's own end may wait for its threads.
LOAD = """
import os, sys, xllamacpp
chosen = xllamacpp.CommonParams()
chosen.model.path, chosen.n_ctx, chosen.n_parallel = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
chosen.cache_type_k = chosen.cache_type_v = getattr(xllamacpp.ggml_type, "GGML_TYPE_" + sys.argv[4].upper())
chosen.warmup, chosen.verbosity = False, 10
server = xllamacpp.Server(chosen)
sys.stdout.flush()
os._exit(0)
"""


def logged(context: int, slots: int, cache: str) -> dict[str, float]:
    """What llama.cpp logs, in MiB. Its context is that of all slots together."""
    arguments = [str(model_file()), str(context * slots), str(slots), cache]
    run = subprocess.run([sys.executable, "-c", LOAD, *arguments], capture_output=True, text=True, timeout=120)
    log = run.stdout + run.stderr
    found = {
        "weights": re.findall(r"model buffer size =\s+([\d.]+) MiB", log),
        "kv_cache": re.findall(r"llama_kv_cache: size =\s+([\d.]+) MiB", log),
        "compute": re.findall(r"compute buffer size =\s+([\d.]+) MiB", log),
    }
    missing = [name for name, values in found.items() if not values]
    assert not missing, f"llama.cpp no longer logs its {missing}: {log[-3000:]}"
    # It reckons once to see whether all fits, and then loads.
    return {name: float(values[-1]) for name, values in found.items()}


def advised(context: int, slots: int, cache: str) -> dict[str, float]:
    arguments = ["advise", "--gguf", str(model_file()), "--free-memory", "64GiB", "--json"]
    arguments += ["--context", str(context), "--parallel", str(slots), "--kv-type", cache]
    advice = json.loads(subprocess.run([OUTRIGGER, *arguments], capture_output=True, check=True).stdout)
    row = next(row for row in advice["candidates"] if row["quantization"] == "q4_1")
    assert advice["file"]["weights_bytes"] == model_file().stat().st_size
    return {name: row[f"{name}_bytes"] / MIB for name in ("weights", "kv_cache", "compute")}


@pytest.mark.parametrize(
    ("context", "slots", "cache"),
    [(512, 1, "f16"), (4096, 1, "f16"), (32768, 1, "f16"), (8192, 4, "f16"), (8192, 1, "q8_0"), (8192, 1, "q4_0")],
)
def test_what_is_advised_is_what_llama_takes(context: int, slots: int, cache: str) -> None:
    if not OUTRIGGER.exists():
        pytest.fail(f"{OUTRIGGER} is missing: cargo build")
    skip_without_packages()
    ours, theirs = advised(context, slots, cache), logged(context, slots, cache)
    print(f"{context} tokens, {slots} slots, {cache}: ours {ours}, llama.cpp {theirs}")
    assert abs(ours["kv_cache"] - theirs["kv_cache"]) < 0.01, "the cache is no estimate"
    assert abs(ours["compute"] - theirs["compute"]) < 2.0, "and what is worked with hardly is one"
    # llama.cpp's word is of the tensors; a file has its vocabulary beside them.
    assert 0 <= ours["weights"] - theirs["weights"] < 2.0
