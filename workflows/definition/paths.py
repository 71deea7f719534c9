"""JSON paths as people read them, and the nearest name to a misspelt one."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterable
from itertools import islice

from autopilot.common.jsonpath import child

_SHOWN_KEY = 80
_COMPARED_NAMES = 2000
_LIKELY_NAMES = 40


def join(path: str, key: str | int) -> str:
    """`jsonpath.child`, with a key of any length cut so that a path stays readable."""
    return child(path, key if isinstance(key, int) else key[:_SHOWN_KEY])


def join_all(path: str, keys: Iterable[str | int]) -> str:
    """`join` for several keys in turn."""
    for key in keys:
        path = join(path, key)
    return path


def quote(text: str, limit: int = 80) -> str:
    """Text from a document, shortened and escaped so that it is safe inside a sentence."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, or None when nothing is close."""
    if len(name) > _SHOWN_KEY:
        return None
    written = name.lower()
    lowered = {candidate.lower(): candidate for candidate in islice(known, _COMPARED_NAMES)}
    # Comparing thoroughly costs much, and a document can have a thousand ids misspelt.
    likely = heapq.nlargest(_LIKELY_NAMES, lowered, key=lambda other: _ends_alike(written, other))
    found = difflib.get_close_matches(written, likely, n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def _ends_alike(one: str, other: str) -> int:
    """How many characters two names share at their beginning and at their end."""
    front = _alike(one, other)
    return front + _alike(one[:front:-1], other[:front:-1])


def _alike(one: str, other: str) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean "x"?`, or nothing when no known name is close."""
    found = nearest(name, known)
    return f' Did you mean "{quote(found)}"?' if found else ""
