"""Servers and clients for the tests: started here, or those that BASE_URL and SIM_URL name."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import anthropic
import openai
import pytest

from processes import Process, start_proxy, start_simulator

# A kept answer would have the numbers of an older generation; these tests are about the way, not the memory.
NO_MEMORY = {"Cache-Control": "no-cache, no-store"}
proxies: list[Process] = []


@dataclass(frozen=True)
class Servers:
    base_url: str
    """Where the SDK talks to, with /v1."""
    sim_url: str
    """Where the simulator is asked for its counts."""
    direct: bool
    """No proxy in between."""

    def stats(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.sim_url}/sim/stats", timeout=60) as answer:
            return json.load(answer)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with contextlib.ExitStack() as cleanup:
        direct = bool(os.environ.get("DIRECT"))
        sim_url = os.environ.get("SIM_URL")
        base_url = os.environ.get("BASE_URL")
        if base_url and not sim_url:
            raise pytest.UsageError("BASE_URL needs SIM_URL beside it: the simulator's own address")
        if not sim_url:
            simulator, sim_url = start_simulator()
            cleanup.callback(simulator.stop)
        if not base_url and direct:
            base_url = f"{sim_url}/v1"
        if not base_url:
            proxy, proxy_url = start_proxy(sim_url)
            cleanup.callback(proxy.stop)
            proxies.append(proxy)
            base_url = f"{proxy_url}/v1"
        yield Servers(base_url.rstrip("/"), sim_url.rstrip("/"), direct)
        for proxy in proxies:
            proxy.assert_no_panic()


@pytest.fixture(scope="session")
def client(servers: Servers) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=servers.base_url, api_key="sk-test", max_retries=0, timeout=60, default_headers=NO_MEMORY
    ) as made:
        yield made


@pytest.fixture(scope="session")
def claude(servers: Servers) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=servers.base_url.removesuffix("/v1"),
        api_key="sk-test",
        max_retries=0,
        timeout=60,
        default_headers=NO_MEMORY,
    ) as made:
        yield made


@pytest.fixture
def recovered(client: openai.OpenAI) -> Iterator[Callable[[], None]]:
    """Waits, before and after a test that makes the backend fail, until a plain question is answered again."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                client.chat.completions.create(model="sim", messages=[{"role": "user", "content": unique("well?")}])
                return
            except openai.APIError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    wait()
    yield wait
    wait()


def unique(text: str) -> str:
    """Each test asks its own question, so that none is answered with another's flight."""
    return f"{text} {os.urandom(8).hex()}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = (yield).get_result()
    if report.failed:
        report.sections.extend(("what the proxy printed", proxy.output()[-3000:]) for proxy in proxies)


def pytest_configure() -> None:
    # Ended from outside, the fixtures still stop what they started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
