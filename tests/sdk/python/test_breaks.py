"""Streams that break: a client that leaves frees the backend, and a broken answer never looks whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from checks import assert_numbered
from conftest import NO_MEMORY, Servers, unique

TOKENS = 20
CUTS = [
    pytest.param({"fault": "cut_head"}, id="after-the-head"),
    pytest.param({"fault": "cut", "at": 1}, id="after-the-first-token"),
    pytest.param({"fault": "cut", "at": 5}, id="after-five-tokens"),
    pytest.param({"fault": "cut_mid_event", "at": 5}, id="within-an-event"),
    pytest.param({"fault": "cut_before_done"}, id="before-done"),
]


def wait_until(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def assert_raises(open_stream: Callable[[], Iterable[Any]], errors: tuple[type[Exception], ...]) -> None:
    """Reads to the end; a clean end is the failure."""
    events: list[Any] = []
    try:
        for event in open_stream():
            events.append(event)
    except errors as error:
        print(f"raised {type(error).__module__}.{type(error).__name__} after {len(events)} events: {error}")
        return
    pytest.fail(f"a cut stream ended cleanly after {len(events)} events: the client takes half an answer for a whole")


@pytest.mark.parametrize("sim", CUTS)
def test_a_cut_chat_stream_raises(client: openai.OpenAI, recovered, sim: dict[str, object]) -> None:
    def open_stream() -> Iterable[Any]:
        return client.chat.completions.create(
            model="sim",
            messages=[{"role": "user", "content": unique("cut")}],
            stream=True,
            extra_body={"sim": {"tokens": TOKENS, "gap_ms": 2, **sim}},
        )

    assert_raises(open_stream, (openai.APIError,))


def test_a_cut_completion_stream_raises(client: openai.OpenAI, recovered) -> None:
    sim = {"tokens": TOKENS, "gap_ms": 2, "fault": "cut", "at": 5}
    assert_raises(
        lambda: client.completions.create(model="sim", prompt=unique("cut"), stream=True, extra_body={"sim": sim}),
        (openai.APIError,),
    )


def test_a_cut_response_stream_raises(client: openai.OpenAI, recovered) -> None:
    sim = {"tokens": TOKENS, "gap_ms": 2, "fault": "cut", "at": 5}
    assert_raises(
        lambda: client.responses.create(model="sim", input=unique("cut"), stream=True, extra_body={"sim": sim}),
        (openai.APIError,),
    )


def test_a_cut_message_stream_raises(claude: anthropic.Anthropic, recovered) -> None:
    sim = {"tokens": TOKENS, "gap_ms": 2, "fault": "cut", "at": 5}
    assert_raises(
        lambda: claude.messages.create(
            model="sim",
            max_tokens=1000,
            messages=[{"role": "user", "content": unique("cut")}],
            stream=True,
            extra_body={"sim": sim},
        ),
        # This SDK lets the transport's own error through; the proxy's error event is an APIError.
        (anthropic.APIError, httpx2.TransportError),
    )


def test_an_answer_cut_before_its_head_raises(client: openai.OpenAI, recovered) -> None:
    with pytest.raises(openai.APIError):
        client.chat.completions.create(
            model="sim",
            messages=[{"role": "user", "content": unique("cut before")}],
            extra_body={"sim": {"fault": "cut_before"}},
        )


def test_leaving_in_mid_stream_cancels_the_generation(client: openai.OpenAI, servers: Servers) -> None:
    wait_until(lambda: servers.stats()["active"] == 0, "the simulator is idle before the test")
    cancelled = servers.stats()["cancelled"]
    stream = client.chat.completions.create(
        model="sim",
        messages=[{"role": "user", "content": unique("left")}],
        stream=True,
        extra_body={"sim": {"tokens": 10_000, "gap_ms": 20}},
    )
    for seen, _chunk in enumerate(stream):
        if seen == 5:
            break
    assert servers.stats()["active"] == 1, "the generation runs while it is read"
    stream.close()
    wait_until(lambda: servers.stats()["active"] == 0, "the simulator is idle again")
    assert servers.stats()["cancelled"] == cancelled + 1, "the generation was cancelled, not finished"


def test_fifty_streams_at_once_stay_apart(servers: Servers) -> None:
    async def one(client: openai.AsyncOpenAI, number: int) -> int:
        stream = await client.chat.completions.create(
            model="sim",
            messages=[{"role": "user", "content": unique(f"one of fifty, {number}")}],
            stream=True,
            extra_body={"sim": {"tokens": 50, "gap_ms": 5}},
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        return assert_numbered("".join(pieces), 50)

    async def all_of_them() -> list[int]:
        async with openai.AsyncOpenAI(
            base_url=servers.base_url, api_key="sk-test", max_retries=0, timeout=60, default_headers=NO_MEMORY
        ) as client:
            return await asyncio.gather(*(one(client, number) for number in range(50)))

    generations = asyncio.run(all_of_them())
    assert len(set(generations)) == 50, "fifty questions, fifty generations"
