"""Patterns of error codes, as `retry` and `catch` use them.

Codes are dotted, such as `http.404` or `action.Refused`; upper and lower case differ. In a pattern
`*` stands for any text, dots included. `http.4xx` and its like stand for the hundred codes from
`http.400` to `http.499`. Anything else in a pattern stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_PATTERN = 128

_PATTERN = re.compile(r"[A-Za-z0-9_.*]+\Z")
_HTTP_CLASS = re.compile(r"http\.[1-5]xx\Z")


def is_pattern(text: str) -> bool:
    """True for what can match a code: at most 128 letters, digits, `_`, `*` and single dots."""
    if len(text) > MAX_PATTERN or _PATTERN.match(text) is None:
        return False
    return ".." not in text and not text.startswith(".") and not text.endswith(".")


def matches(pattern: str, code: str) -> bool:
    """Whether a pattern covers a code. The time grows with the length of both, not their product:
    a text between two stars is taken where it first occurs, and never looked for again.
    """
    if pattern == code or pattern == "*":
        return True
    if _HTTP_CLASS.match(pattern):
        digits = code.removeprefix(pattern[:6])
        return len(code) == 8 and len(digits) == 2 and digits.isascii() and digits.isdigit()
    first, *rest = pattern.split("*")
    if not rest or not code.startswith(first):
        return False
    last = rest.pop()
    position = len(first)
    for part in rest:
        found = code.find(part, position)
        if found < 0:
            return False
        position = found + len(part)
    return len(code) - len(last) >= position and code.endswith(last)


def matches_any(patterns: Iterable[str], code: str) -> bool:
    """Whether one of the patterns covers a code."""
    return any(matches(pattern, code) for pattern in patterns)
