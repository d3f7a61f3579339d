"""The clients that are judged: three APIs, plain and streamed, and two manners of taking a failure.

- `Alone` never repeats anything: whatever is repeated, the proxy has repeated, and the verdict is on the proxy.
- `Ordinary` is an application as they are: the SDK's own repetitions, and one more of its own where an answer broke off
  in its middle or is not usable.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai

APIS = ["chat", "responses", "messages"]
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@dataclass
class Answer:
    """What an application has in its hands when the SDK says that this is all."""

    text: str = ""
    end: str | None = None
    """Why the text ends, as the API says it; None where it does not say."""
    tools: dict[int, dict[str, str]] = field(default_factory=dict)
    """Calls of tools: `name` and `arguments` by their place."""

    def tool(self, place: int) -> dict[str, str]:
        return self.tools.setdefault(place, {"name": "", "arguments": ""})


class Unusable(Exception):
    """The SDK has raised nothing, and yet half of the answer is missing."""


def take_chat(client: openai.OpenAI, model: str, prompt: str, streamed: bool, asked: dict[str, Any]) -> Answer:
    answer = Answer()
    if tools := asked.pop("tool", None):
        asked["tools"] = [{"type": "function", "function": {"name": tools, "parameters": TOOL}}]
    said = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": prompt}], stream=streamed, **asked
    )
    if not streamed:
        choice = said.choices[0]
        answer.text, answer.end = choice.message.content or "", choice.finish_reason
        for place, call in enumerate(choice.message.tool_calls or []):
            answer.tools[place] = {"name": call.function.name, "arguments": call.function.arguments}
        return answer
    for chunk in said:
        for choice in chunk.choices:
            answer.text += choice.delta.content or ""
            answer.end = choice.finish_reason
            for call in choice.delta.tool_calls or []:
                tool = answer.tool(call.index)
                tool["name"] += call.function.name or ""
                tool["arguments"] += call.function.arguments or ""
    return answer


def take_response(client: openai.OpenAI, model: str, prompt: str, streamed: bool, asked: dict[str, Any]) -> Answer:
    answer = Answer()
    if tools := asked.pop("tool", None):
        asked["tools"] = [{"type": "function", "name": tools, "parameters": TOOL, "strict": False}]
    said = client.responses.create(model=model, input=prompt, stream=streamed, **asked)
    if not streamed:
        answer.text, answer.end = said.output_text, said.status
        for place, item in enumerate(item for item in said.output if item.type == "function_call"):
            answer.tools[place] = {"name": item.name, "arguments": item.arguments}
        return answer
    for event in said:
        if event.type == "response.output_text.delta":
            answer.text += event.delta
        elif event.type == "response.output_item.added" and event.item.type == "function_call":
            answer.tool(event.output_index)["name"] = event.item.name
        elif event.type == "response.function_call_arguments.delta":
            answer.tool(event.output_index)["arguments"] += event.delta
        elif event.type == "response.completed":
            answer.end = event.response.status
    return answer


def take_message(client: anthropic.Anthropic, model: str, prompt: str, streamed: bool, asked: dict[str, Any]) -> Answer:
    answer = Answer()
    if tools := asked.pop("tool", None):
        asked["tools"] = [{"name": tools, "input_schema": TOOL}]
    said = client.messages.create(
        model=model,
        messages=[{"role": "user", "content": prompt}],
        stream=streamed,
        **{"max_tokens": 1000, **asked},
    )
    if not streamed:
        answer.end = said.stop_reason
        for place, block in enumerate(said.content):
            if block.type == "text":
                answer.text += block.text
            elif block.type == "tool_use":
                answer.tools[place] = {"name": block.name, "arguments": json.dumps(block.input)}
        return answer
    reason = None
    for event in said:
        if event.type == "content_block_start" and event.content_block.type == "tool_use":
            answer.tool(event.index)["name"] = event.content_block.name
        elif event.type == "content_block_delta" and event.delta.type == "text_delta":
            answer.text += event.delta.text
        elif event.type == "content_block_delta" and event.delta.type == "input_json_delta":
            answer.tool(event.index)["arguments"] += event.delta.partial_json
        elif event.type == "message_delta":
            reason = event.delta.stop_reason
        elif event.type == "message_stop":
            answer.end = reason
    return answer


TAKE: dict[str, Callable[..., Answer]] = {"chat": take_chat, "responses": take_response, "messages": take_message}
STATUS_ERRORS = (openai.APIStatusError, anthropic.APIStatusError)


class Alone:
    """Asks once, and takes what it is given."""

    repeats_in_sdk: int | None = 0
    repeats = 0

    def __init__(self, base_url: str) -> None:
        sdk: dict[str, Any] = {} if self.repeats_in_sdk is None else {"max_retries": self.repeats_in_sdk}
        self._openai = openai.OpenAI(base_url=f"{base_url}/v1", api_key="sk-test", timeout=60, **sdk)
        self._anthropic = anthropic.Anthropic(base_url=base_url, api_key="sk-test", timeout=60, **sdk)

    def close(self) -> None:
        self._openai.close()
        self._anthropic.close()

    def ask(self, api: str, streamed: bool, prompt: str | None = None, **asked: Any) -> Answer:
        """The answer; raises what the SDK raises. The prompt is nobody else's, unless one is given."""
        prompt, model = prompt or unique(f"{api} {streamed}"), asked.pop("model", None) or own_model(api)
        for again in range(self.repeats, -1, -1):
            try:
                return self._take(api, model, prompt, streamed, dict(asked))
            except Exception as error:
                # What is refused with a status the SDK has repeated where it may be. Anthropic's has an error of the same
                # kind for an error event in mid-stream, whose status is 200.
                refused = isinstance(error, STATUS_ERRORS) and error.status_code >= 400
                if refused or not again:
                    raise
                time.sleep(0.2 * 2 ** (self.repeats - again))
        raise AssertionError("unreachable")

    def _take(self, api: str, model: str, prompt: str, streamed: bool, asked: dict[str, Any]) -> Answer:
        client = self._anthropic if api == "messages" else self._openai
        return TAKE[api](client, model, prompt, streamed, asked)


class Ordinary(Alone):
    """Asks by the SDK's defaults, looks at what it gets, and asks once more where that is no answer."""

    repeats_in_sdk = None
    repeats = 1

    def _take(self, api: str, model: str, prompt: str, streamed: bool, asked: dict[str, Any]) -> Answer:
        tool = asked.get("tool")
        answer = super()._take(api, model, prompt, streamed, asked)
        if answer.end is None:
            raise Unusable("the stream ended, and nothing said why")
        for call in answer.tools.values():
            if call["name"] != tool:
                raise Unusable(f"a tool that does not exist: {call['name']}")
            json.loads(call["arguments"])
        return answer


APPS = {"alone": Alone, "ordinary": Ordinary}


numbers = itertools.count()


def own_model(api: str) -> str:
    """A breaker is of one backend and model: no question finds the breaker as another one's fault has left it. A backend
    has 256 of them, so that names come back, long after."""
    return f"{'claude' if api == 'messages' else 'gpt'}-{next(numbers) % 250}"


def unique(text: str) -> str:
    """Each test asks its own question, so that the verdict groups no two of them."""
    return f"{text} {os.urandom(8).hex()}"
