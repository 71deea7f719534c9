"""JSON paths as people read them, and the nearest name to a misspelt one."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SHOWN_KEY = 80
_COMPARED_NAMES = 2000


def join(path: str, key: str | int) -> str:
    """`$.a` and `b` give `$.a.b`, an index gives `$.a[0]`, any other key `$.a["odd key"]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if _PLAIN_KEY.match(key):
        return f"{path}.{key[:_SHOWN_KEY]}"
    return f"{path}[{json.dumps(key[:_SHOWN_KEY])}]"


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
    candidates = list(known)[:_COMPARED_NAMES]
    lowered = {candidate.lower(): candidate for candidate in candidates}
    found = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean "x"?`, or nothing when no known name is close."""
    found = nearest(name, known)
    return f' Did you mean "{quote(found)}"?' if found else ""
