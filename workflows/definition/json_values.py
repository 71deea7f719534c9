"""What plain JSON is allowed to hold here: bounds, and text and numbers that can be stored."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from autopilot.common.problems import Problem
from workflows.definition.paths import join, quote

MAX_DEPTH = 64
MAX_INTEGER_BITS = 4096

BAD_CHARACTER = re.compile("[\x00\ud800-\udfff]")


def find_unstorable(value: object, path: str = "$", depth: int = 1) -> Iterator[Problem]:
    """Everything in `value` that is no JSON or that PostgreSQL cannot store as JSON.

    NUL characters and lone surrogates in texts and keys, NaN and infinities, huge integers,
    values of other types, and nesting deeper than 64, each at its path.
    """
    if isinstance(value, str):
        yield from _text_problems(value, path, "This text")
    elif isinstance(value, dict):
        if depth > MAX_DEPTH:
            yield _too_deep(path)
            return
        for key, item in value.items():
            if not isinstance(key, str):
                yield Problem(path, "json.key", f"The key {quote(repr(key))} must be text.")
                continue
            yield from _text_problems(key, join(path, key), "This field's name")
            yield from find_unstorable(item, join(path, key), depth + 1)
    elif isinstance(value, list):
        if depth > MAX_DEPTH:
            yield _too_deep(path)
            return
        for index, item in enumerate(value):
            yield from find_unstorable(item, f"{path}[{index}]", depth + 1)
    else:
        yield from _scalar_problems(value, path)


def _scalar_problems(value: object, path: str) -> Iterator[Problem]:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        if value.bit_length() > MAX_INTEGER_BITS:
            yield Problem(
                path, "json.number", f"This integer has more than {MAX_INTEGER_BITS} bits."
            )
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield Problem(path, "json.number", "A number must be finite: NaN and infinity are not.")
    else:
        yield Problem(path, "json.type", f"A Python {type(value).__name__} is no JSON value.")


def _text_problems(text: str, path: str, what: str) -> Iterator[Problem]:
    found = BAD_CHARACTER.search(text)
    if found is None:
        return
    name = "a NUL character" if found.group() == "\x00" else "half of a surrogate pair"
    yield Problem(
        path, "json.text", f"{what} has {name} at position {found.start()}; it cannot be stored."
    )


def _too_deep(path: str) -> Problem:
    return Problem(path, "json.depth", f"This is nested deeper than {MAX_DEPTH} levels.")


def exceeds_bytes(value: object, limit: int) -> bool:
    """True when `value` as compact JSON is longer than about `limit` bytes.

    Stops as soon as the limit is passed, so a document whose parts refer to each other (which
    YAML allows) costs no more than the limit.
    """
    length = 0
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            length += 2 + 2 * len(item)
            pending.extend(item.values())
            pending.extend(item)
        elif isinstance(item, list):
            length += 2 + len(item)
            pending.extend(item)
        elif isinstance(item, str):
            length += 2 + len(item) if item.isascii() else 2 + len(item.encode("utf-8", "replace"))
        elif isinstance(item, int) and not isinstance(item, bool):
            length += 1 + item.bit_length() * 3 // 10
        else:
            length += 4
        if length > limit:
            return True
    return False


def canonical_json(value: object) -> str:
    """One text per JSON value: sorted keys, no blanks, whole floats written as integers.

    `1.0` and `1` are the same number in JSON, and PostgreSQL rewrites `1e2` to `100`: a stored
    document must have the same text as the one that was sent.
    """
    return json.dumps(
        _canonical(value),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(Decimal(repr(value)))
    return value


def sha256_of(value: object) -> str:
    """Hex SHA-256 of the canonical JSON in UTF-8."""
    return hashlib.sha256(canonical_json(value).encode("utf-8")).hexdigest()
