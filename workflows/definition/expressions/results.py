"""How values leave an expression: as plain JSON, or written out as text."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

from workflows.definition.expressions.bounds import (
    JSON_TYPES,
    MAX_DATA_DEPTH,
    MAX_TEXT,
    Meter,
    adopt,
    number,
)
from workflows.definition.expressions.dates import format_duration, format_moment
from workflows.definition.expressions.errors import Refusal, kind

_SHORT_TEXT = 64


def plain(meter: Meter, value: Any, depth: int = 0) -> Any:
    """`value` as plain JSON in containers of its own, paid for node by node as a tree."""
    # The usual types first and without a call: large results are mostly made of these.
    meter.left -= 1
    if meter.left < 0:
        meter.charge(0)
    if value is None or type(value) is bool:
        return value
    if isinstance(value, str):
        if len(value) > _SHORT_TEXT:
            meter.charge_text(len(value))
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, int | float):
        return number(adopt(value))
    if isinstance(value, dt.datetime):
        return format_moment(adopt(value))
    if isinstance(value, dt.timedelta):
        return format_duration(value)
    if depth >= MAX_DATA_DEPTH:
        raise Refusal(f"holds data nested more than {MAX_DATA_DEPTH} levels deep")
    if isinstance(value, list | tuple):
        return [plain(meter, item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {key_text(meter, key): plain(meter, value[key], depth + 1) for key in value}
    raise Refusal(f"is {kind(value)}")


def key_text(meter: Meter, key: Any) -> str:
    """A key of an object; only texts can be one."""
    if not isinstance(key, str):
        raise Refusal(f"needs a text as the key of an object, not {kind(key)}")
    meter.charge_text(len(key))
    return str.__str__(key)


def shared(meter: Meter, value: Any) -> Any:
    """A value that an expression only pointed at, without reading it through if it can be helped.

    It is plain JSON already, and as large as the scope allows. It is read through (and paid for)
    when it is a lazy mapping or holds one, and when this evaluation already gave it out once,
    because the same large value a thousand times is no longer bounded by the scope.
    """
    items: Any = value.values() if type(value) is dict else value
    if type(value) not in (dict, list) or id(value) in meter.shared:
        return plain(meter, value)
    if not JSON_TYPES.issuperset(map(type, items)):
        return plain(meter, value)
    meter.shared.add(id(value))
    return value


def to_json(meter: Meter, value: Any) -> str:
    """`value` as JSON text, in the order of its keys, with letters outside ASCII as they are."""
    text = json.dumps(plain(meter, value), ensure_ascii=False, allow_nan=False)
    meter.room_for_text(len(text))
    return text


def as_text(meter: Meter, value: Any) -> str:
    """`value` written out: a text as it is, dates in ISO 8601, everything else as JSON."""
    if type(value) is str:
        if len(value) > MAX_TEXT:
            meter.room_for_text(len(value))
        return value
    if isinstance(value, dt.datetime):
        return format_moment(value)
    if isinstance(value, dt.timedelta):
        return format_duration(value)
    return to_json(meter, value)
