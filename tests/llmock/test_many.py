"""Many at once, and the settings as they are by default: an outage is not made worse, and what ends is got over."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from llmock.chaos import ChaosSettings, StreamChaos
from llmock.pytest_plugin import LLMock

from apps import APIS, APPS, STATUS_ERRORS, Alone, Answer, Ordinary, own_model
from conftest import Proxy, Server, running

CALLS = 30
TEXT = "All of this must arrive."


@pytest.fixture(scope="module")
def usual(llmock_server: Server) -> Iterator[Proxy]:
    with running(llmock_server.url) as proxy:
        yield proxy


@pytest.fixture
def app(usual: Proxy, manner: str) -> Iterator[Alone]:
    made = APPS[manner](usual.url)
    yield made
    made.close()


def ask_all(ask: Callable[[int], Answer], at_once: int) -> list[Answer | Exception]:
    def one(number: int) -> Answer | Exception:
        try:
            return ask(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(at_once) as threads:
        return list(threads.map(one, range(CALLS)))


@pytest.mark.parametrize(("api", "status"), [("chat", 500), ("responses", 503), ("messages", 503)])
def test_an_outage_is_not_made_worse(llmock: LLMock, app: Alone, api: str, status: int) -> None:
    llmock.outage(status=status)
    model = own_model(api)
    told = ask_all(lambda number: app.ask(api, number % 2 == 0, model=model), at_once=CALLS)
    assert all(isinstance(each, STATUS_ERRORS) for each in told), f"{told}"
    verdict = llmock.verdict()
    # Who was not let through any more has not been repeated, which llmock would warn of.
    assert not verdict.errors, verdict.render()
    assert verdict.attempts <= 1.2 * CALLS, f"{verdict.attempts} attempts of {CALLS} calls"


@pytest.mark.parametrize("api", ["chat"])
def test_an_outage_that_ends_is_got_over(llmock: LLMock, usual: Proxy, api: str) -> None:
    app, model = Ordinary(usual.url), own_model(api)
    llmock.fail(500, times=6).reply(TEXT, times=None)
    deadline = time.monotonic() + 20
    while any(isinstance(each, Exception) for each in ask_all(lambda _: app.ask(api, False, model=model), at_once=10)):
        assert time.monotonic() < deadline, "it is over, and nobody notices"
    verdict = llmock.verdict()
    assert not verdict.errors, verdict.render()
    app.close()


@pytest.mark.parametrize("manner", ["ordinary"], indirect=True)
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_session_of_chance(llmock: LLMock, llmock_server: Server, proxy: Proxy, innocent, streamed: bool) -> None:
    """`llmock serve --error-rate … --stream-fault …`: now and then anything."""
    random.seed(7)
    app = Ordinary(proxy.url)
    # Chance may break the second one, too.
    app.repeats = 5
    llmock_server.state.chaos = ChaosSettings(error_rates={429: 0.1, 500: 0.1, 503: 0.05})
    rates = (("disconnect", 0.1), ("truncate", 0.1), ("malformed", 0.05), ("stall", 0.02))
    llmock_server.state.stream_chaos = StreamChaos(fault_rates=rates, stall_seconds=4)
    for _ in range(CALLS // 3):
        for api in APIS:
            assert app.ask(api, streamed).end, "an answer, at last"
    # The app waits longer than the proxy behind it does at first: a stream that breaks and an error after it look to llmock
    # like one client that hurries more and more.
    innocent(but={"no_backoff"} if streamed else set())
    app.close()


def test_the_question_for_metrics_is_asked_once(llmock: LLMock, llmock_server: Server) -> None:
    """A backend that has none is left alone with it for five minutes."""
    with running(llmock_server.url, ENGINE_METRICS="auto") as proxy:
        app = Alone(proxy.url)
        for _ in range(3):
            app.ask("chat", False)
            time.sleep(1)
        app.close()
    asked = [record.path for record in llmock.requests if record.method == "GET"]
    assert len(asked) == len(set(asked)), f"{asked}"
    llmock.assert_resilient(strict=True)


def test_an_operator_can_begin_anew(llmock: LLMock, proxy: Proxy) -> None:
    """What a backend did before it was mended does not open its breaker after."""
    app, model = Alone(proxy.url), own_model("chat")
    llmock.fail(500, times=3)
    with pytest.raises(STATUS_ERRORS):
        app.ask("chat", False, model=model)
    for order in ("force-closed", "auto"):
        proxy.order("local", order)
    app.close()
    window = proxy.breaker("local", model)["window"]
    assert (window["failures_in_a_row"], window["bad"]) == (0, 0), "nothing is held against it any more"
