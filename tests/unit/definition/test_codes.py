"""Patterns of error codes."""

from __future__ import annotations

import pytest

from tests.effort import takes_less_than
from workflows.definition.codes import is_pattern, matches, matches_any


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        ("*", "http.404"),
        ("http.404", "http.404"),
        ("http.*", "http.404"),
        ("http.*", "http.proxy.refused"),
        ("http.5*", "http.503"),
        ("*.Refused", "action.Refused"),
        ("a*c*e", "abcde"),
        ("a*b*b", "ab.b"),
        ("limit.*.*", "limit.a.b"),
        ("**", "x"),
        ("http.404*", "http.404"),
        ("http.5xx", "http.500"),
        ("http.5xx", "http.599"),
        ("http.4xx", "http.404"),
        ("http.1xx", "http.100"),
        ("http.5xx", "http.5xx"),
    ],
)
def test_what_a_pattern_covers(pattern: str, code: str) -> None:
    assert matches(pattern, code)


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        ("http", "http.404"),
        ("http.*", "http"),
        ("http.*", "https.404"),
        ("HTTP.*", "http.404"),
        ("action.refused", "action.Refused"),
        ("http.5xx", "http.404"),
        ("http.5xx", "http.5000"),
        ("http.5xx", "http.50"),
        ("http.5xx", "http.5ab"),
        ("http.5xx", "http.5\u0661\u0662"),
        ("http.5xx", "xhttp.500"),
        ("order.5xx", "order.500"),
        ("a*a", "a"),
        ("ab*bc", "abc"),
        ("a*b*b", "ab"),
        ("http.", "http.404"),
    ],
)
def test_what_a_pattern_does_not_cover(pattern: str, code: str) -> None:
    assert not matches(pattern, code)


def test_one_of_several_is_enough() -> None:
    assert matches_any(("timeout.*", "http.5xx"), "http.502")
    assert not matches_any(("timeout.*", "http.5xx"), "http.404")
    assert not matches_any((), "http.404")


@pytest.mark.parametrize("text", ["*", "http.404", "http.*", "*.Refused", "a_b.C9", "a" * 128])
def test_what_can_be_a_pattern(text: str) -> None:
    assert is_pattern(text)


@pytest.mark.parametrize(
    "text", ["", "a b", "http.", ".http", "a..b", "http.?", "a-b", "http.[45]*", "a" * 129, "é"]
)
def test_what_can_be_no_pattern(text: str) -> None:
    assert not is_pattern(text)


def test_the_time_is_linear() -> None:
    pattern = "*a" * 20_000 + "b"
    code = "a" * 200_000
    assert not matches(pattern, code)
    assert takes_less_than(0.5, lambda: matches(pattern, code))
