"""Making arbitrary values fit for PostgreSQL's text and jsonb, which refuse what Python allows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, overload

REPLACEMENT = "�"


def text(value: str) -> str:
    """`value` without NUL characters and lone surrogates, each replaced by U+FFFD."""
    cleaned = value.replace("\x00", REPLACEMENT)
    if cleaned.isascii():
        return cleaned
    return "".join(REPLACEMENT if "\ud800" <= char <= "\udfff" else char for char in cleaned)


def is_storable(value: Any, limit: int) -> bool:
    """Whether it is a text of at most `limit` characters that PostgreSQL takes as it is."""
    return (
        isinstance(value, str)
        and len(value) <= limit
        and "\x00" not in value
        and (value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value))
    )


@overload
def storable(value: str, *, encoder: json.JSONEncoder | None = ...) -> str: ...
@overload
def storable(value: Any, *, encoder: json.JSONEncoder | None = ...) -> Any: ...
def storable(value: Any, *, encoder: json.JSONEncoder | None = None) -> Any:
    """A copy of `value` that jsonb takes: texts cleaned, NaN and infinities as words.

    encoder: turns what JSON does not know into what it knows; without it such values become
    their `str()`. Meant for what the product itself writes down (audit, events); what users send
    is refused with a sentence instead.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return text(str(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {text(str(key)): storable(item, encoder=encoder) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [storable(item, encoder=encoder) for item in value]
    if encoder is not None:
        try:
            return storable(encoder.default(value))
        except TypeError:
            pass
    return text(str(value))
