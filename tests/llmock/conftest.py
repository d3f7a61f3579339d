"""A proxy in front of an llmock, one of each for a worker; apps; and what both must not be found guilty of."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock
from llmock.testing import LLMockServer
from llmock.verdict import Verdict

from apps import APPS, Alone
from processes import Process, binary, free_ports, started

# One question at a time fails here again and again by design; the share that may be repeated is a matter of many, and
# test_many.py has it as it is by default.
ONE_AT_A_TIME = {"MIN_RETRIES_PER_SEC": "50"}
# Short, so that what does not come is seen soon; not so short that a busy machine seems to stall.
DEADLINES = {"TOKEN_GAP_TIMEOUT_MS": "1500", "TTFT_TIMEOUT_MS": "2500"}
# An llmock has no metrics, and counts the question for them as a call that it judges; test_many.py has it on.
NO_METRICS = {"ENGINE_METRICS": "off"}
# What a client that asks only once can be found guilty of by what the proxy does.
OURS = {"retry_after_ignored", "retried_non_retryable", "retry_storm", "no_backoff", "gave_up", "no_read_timeout"}


@dataclass
class Server(LLMockServer):
    """llmock, which sends a wait always in two headers: here without those in `hidden`."""

    hidden: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        inner = self.app
        server = self

        class Filtered:
            state = inner.state

            async def __call__(self, scope, receive, send):
                async def pass_on(message):
                    if message["type"] == "http.response.start":
                        kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in server.hidden]
                        message = {**message, "headers": kept}
                    await send(message)

                await inner(scope, receive, pass_on)

        self.app = Filtered()


@dataclass
class Proxy:
    url: str
    admin: str
    process: Process

    def order(self, backend: str, order: str) -> None:
        request = urllib.request.Request(f"{self.admin}/api/backends/{backend}/{order}", method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    def breaker(self, backend: str, model: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.admin}/api/backends/{backend}", timeout=10) as answer:
            return next(breaker for breaker in json.load(answer)["models"] if breaker["model"] == model)


proxies: list[Proxy] = []


def start_proxy(llmock: str, **breaker: str) -> Proxy:
    listen, admin = (f"127.0.0.1:{port}" for port in free_ports(2))
    environment = {
        "OUTRIGGER__SERVER__LISTEN": listen,
        "OUTRIGGER__SERVER__ADMIN": admin,
        "OUTRIGGER__BACKENDS__0__NAME": "local",
        "OUTRIGGER__BACKENDS__0__URL": llmock,
        "OUTRIGGER__BACKENDS__0__MODELS": '["gpt*"]',
        "OUTRIGGER__BACKENDS__1__NAME": "claude",
        "OUTRIGGER__BACKENDS__1__URL": f"{llmock}/anthropic",
        "OUTRIGGER__BACKENDS__1__MODELS": '["claude*"]',
        # A kept answer would hide the fault behind it.
        "OUTRIGGER__SEMANTIC_CACHE__MODE": "off",
        "RUST_BACKTRACE": "0",
        **{f"OUTRIGGER__BREAKER__{key}": value for key, value in {**NO_METRICS, **DEADLINES, **breaker}.items()},
    }
    process = Process([binary("OUTRIGGER_BIN", "outrigger")], environment)

    def ready() -> Proxy:
        process.wait_for_ok(f"http://{admin}/readyz")
        return Proxy(f"http://{listen}", f"http://{admin}", process)

    _, proxy = started(process, ready)
    proxies.append(proxy)
    return proxy


@contextlib.contextmanager
def running(llmock: str, **breaker: str) -> Iterator[Proxy]:
    proxy = start_proxy(llmock, **breaker)
    try:
        yield proxy
    finally:
        proxy.process.stop()
        proxies.remove(proxy)
        proxy.process.assert_no_panic()


@pytest.fixture(scope="session")
def llmock_server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(autouse=True)
def no_headers_hidden(llmock_server: Server) -> None:
    llmock_server.hidden.clear()


@pytest.fixture(scope="session")
def proxy(llmock_server: Server) -> Iterator[Proxy]:
    with running(llmock_server.url, **ONE_AT_A_TIME) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def apps(proxy: Proxy) -> Iterator[dict[str, Alone]]:
    made = {name: App(proxy.url) for name, App in APPS.items()}
    yield made
    for app in made.values():
        app.close()


@pytest.fixture(params=APPS)
def manner(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def app(apps: dict[str, Alone], manner: str) -> Alone:
    return apps[manner]


@pytest.fixture
def innocent(llmock: LLMock, manner: str):
    """Called at the end of a test: llmock has found nothing; where the app asks only once, nothing that is the proxy's."""

    def check(but: set[str] = frozenset()) -> Verdict:
        verdict = llmock.verdict()
        assert verdict.attempts, "llmock has seen nobody"
        guilty = [found for found in verdict.findings if found.code not in but]
        if manner == "alone":
            guilty = [found for found in guilty if found.code in OURS]
        assert not guilty, f"\n{verdict.render()}"
        return verdict

    return check


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = (yield).get_result()
    if report.failed:
        report.sections.extend(("what the proxy printed", proxy.process.output()[-3000:]) for proxy in proxies)


def pytest_configure() -> None:
    # Ended from outside, the fixtures still stop what they started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    for name in [name for name in os.environ if name.startswith(("OUTRIGGER__", "LLMOCK_"))]:
        del os.environ[name]
