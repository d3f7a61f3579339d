"""Time: backends that ask for patience get it, those that are late are waited for within bounds."""

from __future__ import annotations

import time

import pytest
from llmock.pytest_plugin import LLMock

from apps import APIS, STATUS_ERRORS, Alone, own_model, unique

TEXT = "All of this must arrive."
HEADERS = {"both": set(), "retry-after": {b"retry-after-ms"}, "retry-after-ms": {b"retry-after"}}
FORMS = [("chat", False), ("responses", True), ("messages", False)]
# Each form with both headers, and one form with each header alone.
each_wait = pytest.mark.parametrize(
    ("status", "api", "streamed", "headers"),
    [
        *((429, api, streamed, "both") for api, streamed in FORMS),
        *((429, "chat", False, alone) for alone in HEADERS if alone != "both"),
        (503, "messages", True, "both"),
    ],
)


@each_wait
@pytest.mark.parametrize("seconds", [0.3, 1])
def test_a_short_retry_after_is_waited_for(
    llmock: LLMock, llmock_server, app: Alone, innocent, api: str, streamed: bool, status: int, seconds: float, headers: str
) -> None:
    llmock_server.hidden.update(HEADERS[headers])
    llmock.fail(status, retry_after=seconds, times=1).reply(TEXT, times=None)
    answer = app.ask(api, streamed)
    assert answer.text == TEXT, "the app never hears of it"
    assert innocent().attempts == 2


@each_wait
def test_a_long_retry_after_is_told_and_held(
    llmock: LLMock, llmock_server, app: Alone, innocent, api: str, streamed: bool, status: int, headers: str
) -> None:
    """Longer than breaker.max_retry_wait_ms: the app is told, and until then the backend has its peace."""
    llmock_server.hidden.update(HEADERS[headers])
    llmock.fail(status, retry_after=3).reply(TEXT, times=None)
    if app.repeats_in_sdk is None:
        assert app.ask(api, streamed).text == TEXT, "the SDK waits as long as it is told"
        assert innocent().attempts == 2
        return
    model = own_model(api)
    began = time.monotonic()
    with pytest.raises(STATUS_ERRORS) as caught:
        app.ask(api, streamed, model=model)
    assert caught.value.status_code == status, "the backend's own status"
    told = caught.value.response.headers
    assert float(told.get("retry-after") or float(told["retry-after-ms"]) / 1000) == 3, "and its own word"
    # An app that does not listen.
    while time.monotonic() < began + 1:
        with pytest.raises(STATUS_ERRORS) as caught:
            app.ask(api, streamed, model=model)
        assert caught.value.status_code in (429, 503)
        assert 0 < float(caught.value.response.headers["retry-after"]) <= 3, "what is left of it"
        time.sleep(0.2)
    assert innocent(but={"gave_up"}).attempts == 1, "the backend has not heard of it"


@pytest.mark.parametrize(("api", "streamed"), FORMS[:2])
def test_a_retry_after_beyond_all_patience_is_not_retried(
    llmock: LLMock, app: Alone, innocent, api: str, streamed: bool
) -> None:
    """openai's SDK raises where it should wait more than two minutes; anthropic's waits however long."""
    llmock.rate_limit(retry_after=300)
    with pytest.raises(STATUS_ERRORS) as caught:
        app.ask(api, streamed)
    assert caught.value.status_code == 429
    # llmock warns of whoever does not ask again, even where that would be due in five minutes.
    assert innocent(but={"gave_up"}).attempts == 1, "told at once"


def test_requests_beyond_a_quota_wait_their_turn(llmock: LLMock, app: Alone, innocent) -> None:
    llmock.limits(rpm=60)
    model = own_model("chat")
    for _ in range(62):
        app.ask("chat", streamed=False, model=model)
    refused = [record for record in llmock.requests if record.status == 429]
    assert refused, "there was a quota"
    innocent()


@pytest.mark.parametrize("api", APIS)
def test_tokens_beyond_a_quota_wait_their_turn(llmock: LLMock, app: Alone, innocent, api: str) -> None:
    llmock.limits(tpm=12_000)
    most = {"responses": "max_output_tokens"}.get(api, "max_tokens")
    model = own_model(api)
    for _ in range(2):
        app.ask(api, False, model=model, **{most: 6_080})
    assert [record.status for record in llmock.requests] == [200, 429, 200], "the second had to wait"
    innocent()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_slow_answer_is_waited_for(llmock: LLMock, app: Alone, innocent, api: str, streamed: bool) -> None:
    llmock.delay(1).reply(TEXT, times=None)
    assert app.ask(api, streamed).text == TEXT
    assert innocent().attempts == 1, "nobody was impatient"


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("seconds", [1, 5], ids=["in-time", "too-late"])
def test_a_slow_first_token_is_waited_for_within_its_deadline(
    llmock: LLMock, app: Alone, innocent, api: str, seconds: float
) -> None:
    llmock.reply(TEXT, times=None).slow_first_token(seconds)
    began = time.monotonic()
    answer = app.ask(api, streamed=True)
    assert (answer.text, bool(answer.end)) == (TEXT, True), "whole"
    assert time.monotonic() - began < 4.9, "it does not wait for a token that comes too late"
    innocent()


@pytest.mark.parametrize("api", ["responses"])
def test_a_stream_that_begins_too_late_is_asked_for_again(llmock: LLMock, app: Alone, innocent, api: str) -> None:
    llmock.reply(TEXT, times=None).delay(4)
    assert app.ask(api, streamed=True).text == TEXT
    innocent()


@pytest.mark.parametrize("api", APIS)
def test_an_answer_later_than_the_client_wants_is_given_up(llmock: LLMock, app: Alone, innocent, api: str) -> None:
    llmock.reply(TEXT, times=None).delay(2)
    asked = {"prompt": unique(api), "extra_headers": {"x-outrigger-timeout-ms": "700"}}
    if app.repeats_in_sdk is None:
        assert app.ask(api, False, **asked).text == TEXT, "the SDK asks again"
    else:
        with pytest.raises(STATUS_ERRORS) as caught:
            app.ask(api, False, **asked)
        assert caught.value.status_code == 504
    innocent()
