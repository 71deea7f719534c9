"""The small parts below the HTTP actions: Retry-After, statuses, signatures."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from workflows.actions.net.params import statuses
from workflows.actions.net.retry_after import retry_after_seconds
from workflows.actions.net.signing import sign, verify
from workflows.actions.registry import registry

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
SECRET = "a long enough secret"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 4400, 2_592_000.0),
        ("-5", None),
        ("1.5", None),
        ("１２", None),
        ("soon", None),
        ("Mon, 23 Nov 2026 12:01:30 GMT", 90.0),
        ("Mon, 23 Nov 2026 13:00:00 +0100", 0.0),
        ("Mon, 23 Nov 2026 12:00:10 -0000", 10.0),
        ("Mon, 23 Nov 2020 12:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 2_592_000.0),
        ("Fri, 31 Dec 9999 23:59:59 -9999", None),
        ("Mon, 99 Nov 2026 12:00:00 GMT", None),
        ("x" * 100_000, None),
    ],
)
def test_retry_after_in_seconds(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (200, {200}),
        ("200", {200}),
        ("200-202", {200, 201, 202}),
        (["200", 404], {200, 404}),
        ("3xx", set(range(300, 400))),
    ],
)
def test_statuses_in_every_form(value: int | str | list[int | str], expected: set[int]) -> None:
    assert statuses(value) == expected


@pytest.mark.parametrize("value", [0, 99, 600, "2x", "6xx", "", "204-200", [], "２００"])
def test_what_is_no_status(value: int | str | list[int | str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        statuses(value)


def test_a_signature_is_the_documented_one() -> None:
    header = sign(SECRET, b'{"event":"e"}', at=1_700_000_000)
    assert header == (
        "t=1700000000,v1=f2056fcc83332e814affdee78ef0dfe1764299d27f876efc5f4da8651ed5d69d"
    )


@pytest.mark.parametrize(
    ("header", "body", "secret", "now", "holds"),
    [
        ("{}", b"body", SECRET, 1000, True),
        ("{}", b"body", SECRET, 1300, True),
        ("{}", b"body", SECRET, 700, True),
        ("{}", b"body", SECRET, 1301, False),
        ("{}", b"body", SECRET, 699, False),
        ("{}", b"bodY", SECRET, 1000, False),
        ("{}", b"body", "another secret", 1000, False),
        ("v1=00, {}", b"body", SECRET, 1000, True),
        ("{},t=1001", b"body", SECRET, 1000, False),
        ("t=1000", b"body", SECRET, 1000, False),
        ("t=1000,v1=", b"body", SECRET, 1000, False),
        ("t=1000,v1=ü", b"body", SECRET, 1000, False),
        ("t=x,v1=00", b"body", SECRET, 1000, False),
        ("", b"body", SECRET, 1000, False),
        ("," * 10_000, b"body", SECRET, 1000, False),
    ],
)
def test_a_signature_holds_for_these_bytes_this_secret_and_a_while(
    header: str, body: bytes, secret: str, now: int, holds: bool
) -> None:
    given = header.format(sign(SECRET, b"body", at=1000))
    assert verify(given, body, secret, now=now) is holds


@pytest.mark.parametrize(
    ("params", "can_repeat"),
    [
        ({}, True),
        ({"method": "head"}, True),
        ({"method": "OPTIONS"}, True),
        ({"method": "PUT", "json": {}}, True),
        ({"method": "DELETE"}, True),
        ({"method": "POST"}, False),
        ({"method": "PATCH"}, False),
        ({"method": "POST", "idempotency_header": "X-Key"}, True),
        ({"method": "POST", "headers": {"Idempotency-KEY": "order-1"}}, True),
        ({"method": "POST", "headers": {"X-Key": "order-1"}}, False),
    ],
)
def test_a_request_is_repeated_by_its_method_or_with_a_key(params: dict, can_repeat: bool) -> None:
    action = registry.get("http.request")
    assert action.always_idempotent is None
    checked = action.validate({"url": "https://shop.example/", **params})
    assert action.can_repeat(checked) is can_repeat
