"""Calls of tools that are broken: what the model has said arrives as it is, and is asked for again by whoever reads it."""

from __future__ import annotations

import json

import pytest
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Match, StreamFault

from apps import APIS, Alone

TOOL = "get_weather"
GOOD = {"name": TOOL, "arguments": {"city": "Paris"}}


def calls(answer) -> list[dict]:
    return [{**call, "arguments": json.loads(call["arguments"])} for call in answer.tools.values()]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("kind", ["malformed_arguments", "unknown_tool"])
def test_a_broken_call_arrives_as_it_is(llmock: LLMock, app: Alone, innocent, api: str, streamed: bool, kind: str) -> None:
    llmock.call_tool(TOOL, GOOD["arguments"], times=None).break_tool_call(kind)
    answer = app.ask(api, streamed, tool=TOOL)
    told_plainly = api == "messages" and not streamed and kind == "malformed_arguments"
    if told_plainly:
        # In this form arguments cannot be malformed: llmock itself has none then.
        assert calls(answer) == [{"name": TOOL, "arguments": {}}]
    elif app.repeats:
        assert calls(answer) == [GOOD], "at the second time"
    elif kind == "unknown_tool":
        assert calls(answer) == [{**GOOD, "name": "llmock_unknown_tool"}]
    else:
        with pytest.raises(ValueError):
            calls(answer)
    assert innocent().attempts == (2 if app.repeats and not told_plainly else 1)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("kind", ["disconnect", "truncate", "stall"])
def test_a_call_that_is_cut_is_seen(llmock: LLMock, app: Alone, innocent, api: str, kind: str) -> None:
    cut = StreamFault(kind, after_chunks=3, stall_seconds=4, match=Match(stream=True))
    llmock.call_tool(TOOL, GOOD["arguments"], times=None).add(cut)
    if app.repeats:
        assert calls(app.ask(api, True, tool=TOOL)) == [GOOD], "at the second time"
        innocent()
    else:
        with pytest.raises(Exception):
            app.ask(api, True, tool=TOOL)
        innocent(but={"gave_up"})
