"""What we count where a backend does not say equals what llama.cpp says, for 200 prompts, plain and streamed."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from prompts import PROMPTS
from test_llama import SLOTS, skip_without_packages, start_llama

ROOT = Path(__file__).resolve().parents[2]
COUNT = Path(os.environ.get("COUNT_BIN", ROOT / "target/debug/examples/count"))
# Of each hundred.
BAR = 99


@dataclass(frozen=True)
class Exchange:
    route: str
    request: dict
    answer: str
    prompt_tokens: int
    completion_tokens: int
    finish: str


@pytest.fixture(scope="module")
def llama_url() -> Iterator[str]:
    if not COUNT.exists():
        pytest.fail(f"{COUNT} is missing: cargo build --workspace --example count")
    if url := os.environ.get("LLAMA_URL"):
        yield url
        return
    skip_without_packages()
    llama, url = start_llama()
    yield url
    llama.stop()


def ask(llama_url: str, route: str, request: dict) -> Exchange:
    body = json.dumps(request, ensure_ascii=False).encode()
    asked = urllib.request.Request(llama_url + route, body, {"content-type": "application/json"})
    with urllib.request.urlopen(asked, timeout=120) as answer:
        text = answer.read().decode()
    if request.get("stream"):
        chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    else:
        chunks = [json.loads(text)]
    usage = next((chunk["usage"] for chunk in reversed(chunks) if chunk.get("usage")), None)
    assert usage, f"the server says no usage: {json.dumps(request)} got {text}"
    finish = next(choice["finish_reason"] for chunk in reversed(chunks) for choice in chunk["choices"])
    return Exchange(route, request, text, usage["prompt_tokens"], usage["completion_tokens"], finish)


def count(exchanges: list[Exchange], limited: bool) -> list[dict]:
    """By the example `count`, which reads the answers as the proxy does."""
    import serve

    def line(one: Exchange) -> str:
        request = dict(one.request) if limited else {key: of for key, of in one.request.items() if key != "max_tokens"}
        return json.dumps({"route": one.route, "request": request, "answer": one.answer})

    lines = "\n".join(line(one) for one in exchanges) + "\n"
    counted = subprocess.run(
        [str(COUNT), str(serve.model_file())], input=lines, capture_output=True, text=True, timeout=120, check=True
    )
    return [json.loads(line) for line in counted.stdout.splitlines()]


def report(name: str, exchanges: list[Exchange]) -> tuple[int, int]:
    counted = count(exchanges, limited=True)
    unlimited = count(exchanges, limited=False)
    assert len(counted) == len(exchanges), "each exchange is counted"
    prompts = sum(ours["input"] == one.prompt_tokens for ours, one in zip(counted, exchanges))
    outputs = sum(ours["output"] == one.completion_tokens for ours, one in zip(counted, exchanges))
    by_text = sum(ours["output"] == one.completion_tokens for ours, one in zip(unlimited, exchanges))
    ended = [(ours, one) for ours, one in zip(counted, exchanges) if one.finish == "stop"]
    ended_equal = sum(ours["output"] == one.completion_tokens for ours, one in ended)
    print(
        f"{name}: of {len(exchanges)}, prompt {prompts} and completion {outputs} equal the server's usage; "
        f"{ended_equal} of the {len(ended)} that ended of themselves; {by_text} were max_tokens not known"
    )
    for ours, one in zip(counted, exchanges):
        if (ours["input"], ours["output"]) != (one.prompt_tokens, one.completion_tokens):
            print("  ", ours, one.prompt_tokens, one.completion_tokens, one.finish, json.dumps(one.request)[:300])
            print("     ", one.answer[:200] if not one.request["stream"] else texts(one.answer))
    return prompts, outputs


def texts(stream: str) -> list[str]:
    chunks = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    deltas = [choice.get("delta") or choice for chunk in chunks for choice in chunk["choices"]]
    return [delta.get("content", delta.get("text")) for delta in deltas]


def test_what_is_counted_is_what_the_server_counts(llama_url: str, capfd: pytest.CaptureFixture) -> None:
    def both(prompt: tuple[str, dict]) -> tuple[Exchange, Exchange]:
        route, request = prompt
        # A prefix that is kept may change an answer by its rounding, and no count; it saves half of the time.
        request = {**request, "temperature": 0, "cache_prompt": True}
        plain = ask(llama_url, route, {**request, "stream": False})
        streamed = {**request, "stream": True, "stream_options": {"include_usage": True}}
        return plain, ask(llama_url, route, streamed)

    assert len(PROMPTS) == 200
    with ThreadPoolExecutor(SLOTS) as pool:
        plain, streamed = zip(*pool.map(both, PROMPTS))
    with capfd.disabled():
        print()
        equal = {"plain": report("plain", list(plain)), "streamed": report("streamed", list(streamed))}
    for name, (prompts, outputs) in equal.items():
        assert prompts * 100 >= BAR * len(PROMPTS), f"{name}: {prompts} prompts are counted as the server counts them"
        assert outputs * 100 >= BAR * len(PROMPTS), f"{name}: {outputs} answers are counted as the server counts them"
