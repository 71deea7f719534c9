"""Values that jsonb would refuse are found before they get near a batch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from executions.engine.errors import EngineError
from executions.engine.payload import encode


def refusal(value: Any, limit: int = 10_000_000) -> tuple[str, str]:
    with pytest.raises(EngineError) as caught:
        encode(value, limit=limit, what="It")
    return caught.value.info.code, caught.value.info.message


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": ["x", "b\x00c"]}, "It has a NUL character at $.a[1], which cannot be stored."),
        ({"a\x00": 1}, "It has a NUL character at $ (a key), which cannot be stored."),
        ({"a": "\ud800"}, "It has half of a surrogate pair at $.a, which is not text."),
        ({"\udfff": 1}, "It has half of a surrogate pair at $ (a key), which is not text."),
        ([float("nan")], "It has nan at $[0], which JSON cannot hold."),
        ({"x": float("-inf")}, "It has -inf at $.x, which JSON cannot hold."),
        ({1: 2}, "It has a key that is not text at $ (int)."),
        ({"a": {None: 2}}, "It has a key that is not text at $.a (NoneType)."),
        ({"a": {1, 2}}, "It has a value of type set at $.a, which is not JSON."),
        (b"raw", "It has a value of type bytes at $, which is not JSON."),
        (
            datetime(2026, 1, 1, tzinfo=UTC),
            "It has a value of type datetime at $, which is not JSON.",
        ),
        pytest.param(10**5000, "It has a number of 16610 bits at $.", id="16610 bits"),
        pytest.param(-(10**4200), "It has a number of 13953 bits at $.", id="13953 bits"),
    ],
)
def test_what_cannot_be_stored_is_named(value: Any, message: str) -> None:
    assert refusal(value) == ("validation.output", message)


def test_nesting_has_a_bound() -> None:
    assert refusal(nested(300))[0] == "validation.output"
    assert refusal(nested(200_000))[0] == "validation.output"
    assert encode(nested(150), limit=1000, what="It").text.startswith(b"[[[")


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    assert refusal(loop)[0] == "validation.output"


def test_size_is_bytes_of_utf8() -> None:
    assert encode("ää", limit=6, what="It").text == '"ää"'.encode()
    assert refusal("äää", limit=6) == (
        "limit.output",
        "It is 8 bytes of JSON; at most 6 are allowed.",
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**64,
        10**3000,
        "a\\u0000b",
        "😀",
        [1.5, "x", {"k": None}],
        {"u": "\\\\u0000"},
    ],
)
def test_the_rest_passes_unchanged(value: Any) -> None:
    assert encode(value, limit=10_000, what="It").value == value
