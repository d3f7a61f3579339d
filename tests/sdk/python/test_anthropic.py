"""The official anthropic client, on /v1/messages."""

from __future__ import annotations

import anthropic
import pytest

from checks import assert_numbered
from conftest import unique


def ask(text: str) -> list[anthropic.types.MessageParam]:
    return [{"role": "user", "content": unique(text)}]


def test_message(claude: anthropic.Anthropic) -> None:
    answer = claude.messages.create(
        model="sim", max_tokens=1000, messages=ask("message"), extra_body={"sim": {"tokens": 12}}
    )
    assert answer.content[0].type == "text", "one block of text"
    assert_numbered(answer.content[0].text, 12)
    assert answer.usage.output_tokens == 12, "every token is counted"
    assert answer.stop_reason == "end_turn", "the reason for the end"


def test_message_streamed(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(
        model="sim", max_tokens=1000, messages=ask("message, streamed"), extra_body={"sim": {"tokens": 12, "gap_ms": 2}}
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert_numbered(text, 12)
    assert final.usage.output_tokens == 12, "every token is counted"
    assert final.stop_reason == "end_turn", "the reason for the end"


def test_429_is_a_rate_limit_error(claude: anthropic.Anthropic, recovered) -> None:
    with pytest.raises(anthropic.RateLimitError) as caught:
        claude.messages.create(
            model="sim",
            max_tokens=10,
            messages=ask("error"),
            extra_body={"sim": {"status": 429, "retry_after": "1"}},
        )
    assert float(caught.value.response.headers["retry-after"]) > 0, "the client is told when to come back"
