"""The official openai client sees through the proxy what it sees at a model server."""

from __future__ import annotations

import json

import openai
import pytest

from checks import assert_numbered
from conftest import Servers, unique

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "tell",
            "description": "Tells a text.",
            "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        },
    }
]


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": unique(text)}]


def test_chat_answers_all_tokens_and_their_count(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="sim", messages=ask("plain"), temperature=0, extra_body={"sim": {"tokens": 20}}
    )
    assert_numbered(answer.choices[0].message.content or "", 20)
    assert answer.choices[0].finish_reason == "stop", "the reason for the end"
    assert answer.usage and answer.usage.completion_tokens == 20, "every token is counted"
    assert answer.object == "chat.completion", "the kind of object"


def test_chat_stream_ends_with_usage_when_asked_for(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="sim",
        messages=ask("streamed, with usage"),
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"sim": {"tokens": 30, "gap_ms": 2}},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert_numbered(text, 30)
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(usages) == 1 and usages[0].completion_tokens == 30, "one usage, and it is right"
    assert chunks[-1].choices == [] and chunks[-1].usage, "the usage comes last, in a chunk of its own"


def test_chat_stream_has_no_usage_when_not_asked_for(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="sim", messages=ask("streamed, without usage"), stream=True, extra_body={"sim": {"tokens": 30}}
    )
    chunks = list(stream)
    assert_numbered("".join(chunk.choices[0].delta.content or "" for chunk in chunks), 30)
    assert all(chunk.choices for chunk in chunks), "no chunk is there for the usage only"
    assert all(chunk.usage is None for chunk in chunks), "a usage that the client did not ask for"


def test_tool_call(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="sim", messages=ask("tool"), tools=TOOLS, tool_choice="required", extra_body={"sim": {"tokens": 8}}
    )
    calls = answer.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == ["tell"], "the one tool is called"
    assert isinstance(json.loads(calls[0].function.arguments), dict), "its arguments are an object"
    assert answer.choices[0].finish_reason == "tool_calls", "the reason for the end"


def test_tool_call_streamed(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="sim",
        messages=ask("tool, streamed"),
        tools=TOOLS,
        tool_choice="required",
        stream=True,
        extra_body={"sim": {"tokens": 8}},
    )
    choices = [chunk.choices[0] for chunk in stream if chunk.choices]
    deltas = [call for choice in choices for call in choice.delta.tool_calls or []]
    assert "".join(call.function.name or "" for call in deltas if call.function) == "tell", "the name, once"
    arguments = "".join(call.function.arguments or "" for call in deltas if call.function)
    assert isinstance(json.loads(arguments), dict), f"the pieces make an object: {arguments!r}"
    assert choices[-1].finish_reason == "tool_calls", "the reason for the end"


def test_embeddings_are_the_same_in_both_encodings(client: openai.OpenAI) -> None:
    texts = [unique("first"), unique("second")]
    as_base64 = client.embeddings.create(model="sim", input=texts)
    as_floats = client.embeddings.create(model="sim", input=texts, encoding_format="float")
    assert [item.index for item in as_base64.data] == [0, 1], "one vector for each text, in order"
    for packed, plain in zip(as_base64.data, as_floats.data, strict=True):
        assert len(plain.embedding) > 1, "a vector"
        assert packed.embedding == pytest.approx(plain.embedding, abs=1e-6), "the SDK's default is base64"
    assert as_floats.usage.prompt_tokens > 0, "the input is counted"


def test_response(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="sim", input=unique("response"), extra_body={"sim": {"tokens": 12}})
    assert_numbered(answer.output_text, 12)
    assert answer.status == "completed", "the status"
    assert answer.usage and answer.usage.output_tokens == 12, "every token is counted"


def test_response_streamed(client: openai.OpenAI) -> None:
    stream = client.responses.create(
        model="sim", input=unique("response, streamed"), stream=True, extra_body={"sim": {"tokens": 12}}
    )
    events = list(stream)
    assert events[0].type == "response.created", "the first event"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert_numbered(text, 12)
    assert events[-1].type == "response.completed", "the last event"
    assert events[-1].response.output_text == text, "the whole is the sum of its parts"
    assert events[-1].response.usage and events[-1].response.usage.output_tokens == 12, "every token is counted"


def test_completion(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="sim", prompt=unique("completion"), extra_body={"sim": {"tokens": 12}})
    assert_numbered(answer.choices[0].text, 12)
    assert answer.usage and answer.usage.completion_tokens == 12, "every token is counted"


def test_completion_streamed(client: openai.OpenAI) -> None:
    stream = client.completions.create(
        model="sim", prompt=unique("completion, streamed"), stream=True, extra_body={"sim": {"tokens": 12}}
    )
    assert_numbered("".join(chunk.choices[0].text for chunk in stream if chunk.choices), 12)


def test_models_are_listed_and_retrieved(client: openai.OpenAI, servers: Servers) -> None:
    names = [model.id for model in client.models.list()]
    assert "sim" in names, f"the simulator's model is not among {names}"
    assert client.models.retrieve("sim").id == "sim", "the model by its name"
