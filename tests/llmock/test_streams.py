"""Streams that break: before the first byte the proxy asks again, after it the app is told, and never politely."""

from __future__ import annotations

import pytest
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Match, StreamFault

from apps import APIS, Alone

TEXT = "All of this must arrive."
KINDS = ["disconnect", "truncate", "malformed", "stall"]
# The event that says why the text ends, and the one behind it that ends the stream. Chat: the role, five words, then
# these. Responses: four events before the words and three behind; then one that is both. Messages: three before, one behind.
REASON = {"chat": 6, "responses": 12, "messages": 9}
LAST = {"chat": 7, "responses": 12, "messages": 10}
STALL = 4.0


def fault(kind: str, place: int, times: int | None = 1) -> StreamFault:
    return StreamFault(kind, after_chunks=place, stall_seconds=STALL, times=times, match=Match(stream=True))


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("kind", ["disconnect", "truncate", "stall"])
def test_a_stream_that_breaks_before_its_first_event_is_asked_for_again(
    llmock: LLMock, app: Alone, innocent, api: str, kind: str
) -> None:
    llmock.reply(TEXT, times=None).add(fault(kind, 0))
    answer = app.ask(api, streamed=True)
    assert (answer.text, bool(answer.end)) == (TEXT, True), "the whole answer, and the app has heard of nothing"
    innocent()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("kind", "place"),
    [
        # Before the first event only what is malformed is the app's to see: the test above.
        ("malformed", "first"),
        *((kind, place) for kind in KINDS if kind != "stall" for place in ("second", "in-the-text", "reason")),
        # Takes its time, and is the same at any place.
        ("stall", "in-the-text"),
    ],
)
def test_a_stream_that_breaks_in_its_middle_is_seen(
    llmock: LLMock, app: Alone, innocent, api: str, kind: str, place: str
) -> None:
    at = {"first": 0, "second": 1, "in-the-text": 5, "reason": REASON[api]}[place]
    llmock.reply(TEXT, times=None).add(fault(kind, at))
    if kind == "malformed":
        # llmock goes on after it, and does not see that the app has left unless there is still something to send.
        llmock.pace(150)
    if app.repeats == 0:
        with pytest.raises(Exception) as caught:
            app.ask(api, streamed=True)
        print(f"raised {type(caught.value).__module__}.{type(caught.value).__name__}: {caught.value}")
    else:
        answer = app.ask(api, streamed=True)
        assert (answer.text, bool(answer.end)) == (TEXT, True), "whole, at the second time"
        assert len(llmock.requests) == 2, "asked twice"
    # Nobody can repeat for the app what the app has read half of: then this one is the app's to see to.
    alone = {"gave_up"} if app.repeats == 0 else set()
    # Near the end there may be nothing left: then llmock takes the second attempt for another call, and the first for all.
    unseen = {"malformed_chunk_ignored"} if kind == "malformed" and at > 1 else set()
    innocent(but=alone | unseen)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_always_breaks_is_seen_each_time(llmock: LLMock, app: Alone, innocent, api: str, kind: str) -> None:
    llmock.reply(TEXT, times=None).add(fault(kind, 5, times=None)).pace(20)
    with pytest.raises(Exception):
        app.ask(api, streamed=True)
    # Of a last attempt with one of these two faults llmock says so always, whatever became of it: here it was raised.
    innocent(but={"gave_up", "truncated_stream_accepted", "malformed_chunk_ignored"})
    assert len(llmock.requests) == app.repeats + 1, "in mid-stream nobody asks again but the app"


@pytest.mark.parametrize("api", ["chat", "messages"])
def test_an_answer_that_lacks_only_its_last_event_is_whole(llmock: LLMock, apps, api: str) -> None:
    """It has said why it ends. llmock takes it for one that has not: its finding holds for any cut."""
    llmock.reply(TEXT, times=None).add(fault("truncate", LAST[api]))
    answer = apps["alone"].ask(api, streamed=True)
    assert answer.text == TEXT, "all of it"
    assert (answer.end or api) in ("stop", "messages"), "and the reason, where the app need not wait for message_stop"


def test_of_two_answers_in_one_stream_the_second_is_not_lost_politely(llmock: LLMock, apps) -> None:
    """The first has given its reason to end before the second began."""
    llmock.reply(TEXT, times=None).add(fault("truncate", 10))
    with pytest.raises(Exception):
        apps["alone"].ask("chat", streamed=True, n=2)
