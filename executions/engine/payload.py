"""Values on their way into the database: JSON that PostgreSQL's jsonb accepts, or a clear error.

jsonb refuses NUL characters, lone surrogates and NaN, all of which an action can return. One such
value inside a batch would take the batch with it, so it is found here, before it gets near one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from executions.engine.errors import LIMIT_OUTPUT, VALIDATION_OUTPUT, EngineError, ErrorInfo

# Made once: `json.dumps` would make one for every value.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
MAX_DEPTH = 200
# jsonb stores numbers as `numeric`; far below its own bound and Python's text conversion limit.
MAX_INTEGER_BITS = 13_000


@dataclass(frozen=True, slots=True)
class Payload:
    """A JSON value with its text: encoded once, measured, checked, written as it is."""

    value: Any
    text: bytes


NULL = Payload(None, b"null")


def encode(
    value: Any,
    *,
    limit: int,
    what: str,
    code: str = VALIDATION_OUTPUT,
    size_code: str = LIMIT_OUTPUT,
) -> Payload:
    """Check and encode a value.

    limit: bytes of UTF-8 JSON. what: how the message calls the value ("The output of step x").
    Raises EngineError with `code` for what JSON or jsonb can't hold, `size_code` for its size.
    """
    try:
        text = _ENCODER.encode(value)
        raw = text.encode()
        suspicious = "\\u0000" in text or _is_suspicious(text) or not _has_only_text_keys(value)
    except (ValueError, TypeError, RecursionError, UnicodeEncodeError) as cause:
        raise EngineError(ErrorInfo(code, f"{what} {_explain(value, cause)}.")) from None
    if len(raw) > limit:
        message = f"{what} is {len(raw)} bytes of JSON; at most {limit} are allowed."
        raise EngineError(ErrorInfo(size_code, message, details={"bytes": len(raw)}))
    flaw = next(_flaws(value, "$", 0), None) if suspicious else None
    if flaw:
        raise EngineError(ErrorInfo(code, f"{what} {flaw}."))
    return Payload(value, raw)


def _has_only_text_keys(value: Any) -> bool:
    """False if a key may be no text: `json` would turn it into text behind everybody's back."""
    try:
        orjson.dumps(value)
    except TypeError:  # also for integers beyond 64 bits, which are fine: the caller looks closer
        return False
    return True


def _is_suspicious(text: str) -> bool:
    """Whether the text may be too deep or too long for jsonb; cheap, may over-report."""
    return text.count("[") + text.count("{") > MAX_DEPTH or _has_long_digits(text)


def _has_long_digits(text: str) -> bool:
    return len(text) > MAX_INTEGER_BITS // 4 and any(
        len(word) > MAX_INTEGER_BITS // 4 and word.lstrip("-").isdigit()
        for word in text.replace("]", ",").replace("}", ",").replace(":", ",").split(",")
    )


def _explain(value: Any, cause: Exception) -> str:
    flaw = next(_flaws(value, "$", 0), None)
    return flaw or f"cannot be written as JSON ({cause})"


def _flaws(value: Any, path: str, depth: int) -> Iterator[str]:
    """Sentences about what JSON and jsonb can't hold, each with its path."""
    if depth > MAX_DEPTH:
        yield f"is nested deeper than {MAX_DEPTH} levels at {path[:80]}"
    elif isinstance(value, str):
        yield from _text_flaws(value, path)
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            yield f"has {value} at {path}, which JSON cannot hold"
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        if value.bit_length() > MAX_INTEGER_BITS:
            yield f"has a number of {value.bit_length()} bits at {path}"
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"has a key that is not text at {path} ({type(key).__name__})"
            else:
                yield from _text_flaws(key, f"{path} (a key)")
                yield from _flaws(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _flaws(item, f"{path}[{index}]", depth + 1)
    else:
        yield f"has a value of type {type(value).__name__} at {path}, which is not JSON"


def _text_flaws(value: str, path: str) -> Iterator[str]:
    if "\x00" in value:
        yield f"has a NUL character at {path}, which cannot be stored"
    if any("\ud800" <= char <= "\udfff" for char in value):
        yield f"has half of a surrogate pair at {path}, which is not text"
