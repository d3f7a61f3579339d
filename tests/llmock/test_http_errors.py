"""HTTP errors: what passes is repeated and the app never hears of it, what does not pass is told once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from llmock.pytest_plugin import LLMock

from apps import APIS, STATUS_ERRORS, Alone

WAITS = [429, 503, 504, 529]
"""Where llmock always sends a Retry-After."""
PASS = [408, 409, 500, 502, *WAITS]
STAY = [400, 401, 402, 403, 404, 413, 422, 501]
TEXT = "All of this must arrive."

each_api = pytest.mark.parametrize("api", APIS)
each_form = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


def retry_after(status: int) -> float | None:
    return 0.2 if status in WAITS else None


@pytest.mark.parametrize("status", PASS)
@each_api
@each_form
def test_an_error_that_passes_is_never_heard_of(
    llmock: LLMock, app: Alone, innocent, api: str, streamed: bool, status: int
) -> None:
    llmock.fail(status, retry_after=retry_after(status)).reply(TEXT, times=None)
    answer = app.ask(api, streamed)
    assert (answer.text, bool(answer.end)) == (TEXT, True), "the whole answer"
    assert [record.status for record in llmock.requests] == [status, 200], "repeated once"
    innocent()


@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
@pytest.mark.parametrize("status", STAY)
@each_api
@each_form
def test_the_clients_own_error_is_told_at_once(
    llmock: LLMock, app: Alone, innocent, api: str, streamed: bool, status: int, times: int | None
) -> None:
    if status == 501 and times == 1:
        # The SDKs repeat every 5xx; the proxy does not.
        llmock.fail(501, times=3)
    else:
        llmock.fail(status, times=times)
    with pytest.raises(STATUS_ERRORS) as caught:
        app.ask(api, streamed)
    assert caught.value.status_code == status, "the backend's own status"
    by_sdk = 3 if status == 501 and app.repeats_in_sdk is None else 1
    assert innocent().attempts == by_sdk, "it would fail the same way again"


@each_api
@each_form
def test_a_prompt_that_is_too_long_is_told_at_once(
    llmock: LLMock, app: Alone, innocent, api: str, streamed: bool
) -> None:
    llmock.context_overflow(times=None)
    with pytest.raises(STATUS_ERRORS) as caught:
        app.ask(api, streamed)
    assert caught.value.status_code == 400 and "maximum context length" in str(caught.value), "in the backend's words"
    assert innocent().attempts == 1


@each_api
@each_form
def test_a_prompt_beyond_the_window_is_told_at_once(
    llmock: LLMock, app: Alone, innocent, api: str, streamed: bool
) -> None:
    llmock.limits(context_window=20)
    with pytest.raises(STATUS_ERRORS) as caught:
        app.ask(api, streamed, "word " * 200)
    assert caught.value.status_code == 400
    assert innocent().attempts == 1


@pytest.mark.parametrize("status", PASS)
def test_an_error_that_stays_is_repeated_seldom(llmock: LLMock, app: Alone, innocent, status: int) -> None:
    """All APIs at once: it takes its time."""
    llmock.fail(status, retry_after=retry_after(status), times=None)

    def ask(api: str, streamed: bool) -> int:
        with pytest.raises(STATUS_ERRORS) as caught:
            app.ask(api, streamed)
        return caught.value.status_code

    forms = [(api, streamed) for api in APIS for streamed in (False, True)]
    with ThreadPoolExecutor(len(forms)) as threads:
        told = list(threads.map(ask, *zip(*forms, strict=True)))
    verdict = innocent()
    attempts = [len(call.attempts) for call in verdict.calls]
    assert len(attempts) == len(forms), "each has asked the same again"
    if app.repeats_in_sdk == 0:
        assert set(told) == {status}, "the backend's own status"
        assert set(attempts) == {3}, "two repetitions, and no more"
    else:
        # Three of the SDK, of which each is three at most; on the way the breaker opens, and the proxy says so itself.
        assert set(told) <= {status, 429, 503}, "nothing else"
        assert all(3 <= each <= 9 for each in attempts), f"{attempts} attempts"
