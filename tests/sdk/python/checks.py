"""What the tests know of the simulator: token i of generation n reads "n.i "."""

from __future__ import annotations

from typing import Any


def assert_numbered(text: str, tokens: int) -> int:
    """Nothing lost, repeated, reordered or of another generation; returns the generation's number."""
    number = text.split(".", 1)[0]
    assert number.isdigit(), f"the text begins with no generation number: {text[:80]!r}"
    expected = "".join(f"{number}.{index} " for index in range(tokens))
    assert text == expected, f"not the {tokens} numbered tokens of generation {number}: {text[:200]!r}"
    return int(number)


def assert_four_keys(body: Any) -> dict[str, Any]:
    """The error object of OpenAI's shape, all four keys there."""
    assert isinstance(body, dict) and isinstance(body.get("error"), dict), f"not an error object: {body!r}"
    missing = {"message", "type", "param", "code"} - set(body["error"])
    assert not missing, f"the error lacks {missing}: {body!r}"
    assert body["error"]["message"], f"the error says nothing: {body!r}"
    return body["error"]
