"""Each error arrives as the exception that the SDK has for it, with all four keys in its body."""

from __future__ import annotations

import openai
import pytest

from checks import assert_four_keys
from conftest import Servers, unique

TOO_LARGE = 33 * 1024 * 1024


def ask(client: openai.OpenAI, sim: dict[str, object]) -> None:
    client.chat.completions.create(
        model="sim", messages=[{"role": "user", "content": unique("error")}], extra_body={"sim": sim}
    )


def test_429_is_a_rate_limit_error_with_retry_after(client: openai.OpenAI, recovered) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, {"status": 429, "retry_after": "1"})
    assert_four_keys(caught.value.response.json())
    assert float(caught.value.response.headers["retry-after"]) > 0, "the client is told when to come back"


def test_400_is_a_bad_request_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body={"model": "sim"}, cast_to=object)
    assert_four_keys(caught.value.response.json())


def test_a_body_that_is_not_json_is_a_bad_request_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.post(
            "/chat/completions",
            content=b'{"model": "sim", ',
            options={"headers": {"Content-Type": "application/json"}},
            cast_to=object,
        )
    assert_four_keys(caught.value.response.json())


def test_the_backends_own_400_keeps_its_words(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, {"status": 400})
    assert_four_keys(caught.value.response.json())


def test_an_unknown_route_is_a_not_found_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.post("/no/such/route", body={}, cast_to=object)
    assert_four_keys(caught.value.response.json())


def test_an_unknown_model_is_a_not_found_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("no-such-model")
    assert assert_four_keys(caught.value.response.json())["code"] == "model_not_found", "the code"


def test_500_is_an_internal_server_error(client: openai.OpenAI, recovered) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, {"status": 500})
    assert_four_keys(caught.value.response.json())


def test_a_body_over_32_mib_is_refused_with_413(client: openai.OpenAI, servers: Servers) -> None:
    if servers.direct:
        pytest.skip("the limit is the proxy's")
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="sim", messages=[{"role": "user", "content": "x" * TOO_LARGE}])
    assert caught.value.status_code == 413, "too large"
    assert_four_keys(caught.value.response.json())
