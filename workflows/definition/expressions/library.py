"""The fixed functions of the language.

Each takes the meter first and pays for what it touches before it builds anything.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workflows.definition.expressions import dates, patterns
from workflows.definition.expressions.bounds import (
    MAX_DATA_DEPTH,
    MAX_ITEMS,
    NUMBERS,
    Meter,
    adopt,
    iterate,
    number,
)
from workflows.definition.expressions.errors import Refusal, kind
from workflows.definition.expressions.results import as_text, to_json

_MAX_DIGITS = 1300
_MAX_PLACES = 100
_WHOLE = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
_DECIMAL = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_COMPARABLE = (str, dt.datetime, dt.timedelta)


def ordered_kind(value: object) -> type:
    """The family within which `value` has an order: numbers, texts, dates or durations."""
    if type(value) in NUMBERS:
        return float
    for family in _COMPARABLE:
        if isinstance(value, family):
            return family
    raise Refusal(f"cannot order {kind(value)}")


def _len(meter: Meter, value: object) -> int:
    if isinstance(value, str | list | Mapping):
        return len(value)
    raise Refusal(f"needs a text, a list or an object, not {kind(value)}")


def _int(meter: Meter, value: object) -> Any:
    if isinstance(value, str):
        if len(value) > _MAX_DIGITS or not _WHOLE.fullmatch(value):
            raise Refusal("got a text that is not a whole number")
        return number(int(value))
    if isinstance(value, int | float):
        return number(int(value))
    raise Refusal(f"needs a number or a text, not {kind(value)}")


def _float(meter: Meter, value: object) -> Any:
    if isinstance(value, str):
        if len(value) > _MAX_DIGITS or not _DECIMAL.fullmatch(value):
            raise Refusal("got a text that is not a number")
        return number(float(value))
    if isinstance(value, int | float):
        return number(float(value))
    raise Refusal(f"needs a number or a text, not {kind(value)}")


def _str(meter: Meter, value: object) -> str:
    return as_text(meter, value)


def _list(meter: Meter, value: object) -> list[Any]:
    items = iterate(meter, value)
    meter.room_for_items(len(items))
    return list(items)


def _round(meter: Meter, value: Any, places: Any = None) -> Any:
    if type(value) not in NUMBERS:
        raise Refusal(f"needs a number, not {kind(value)}")
    if places is None:
        return number(round(value))
    if type(places) is not int or abs(places) > _MAX_PLACES:
        raise Refusal(f"needs a whole number of places between -{_MAX_PLACES} and {_MAX_PLACES}")
    return number(round(value, places))


def _abs(meter: Meter, value: Any) -> Any:
    if type(value) in NUMBERS or isinstance(value, dt.timedelta):
        return abs(value)
    raise Refusal(f"needs a number or a duration, not {kind(value)}")


def _sum(meter: Meter, items: object) -> Any:
    values = iterate(meter, items)
    meter.charge(len(values))
    total: Any = 0
    for position, value in enumerate(values):
        if type(value) in NUMBERS and not isinstance(total, dt.timedelta):
            total = number(total + value)
        elif isinstance(value, dt.timedelta) and (position == 0 or type(total) is dt.timedelta):
            total = value if position == 0 else total + value
        else:
            raise Refusal(f"needs numbers (or only durations), not {kind(value)}")
    return total


def _keys_of(meter: Meter, values: list[Any], key: object) -> list[Any]:
    """What `values` are ordered by: themselves, or the field that `key` names."""
    meter.charge(len(values))
    if key is None:
        found = [adopt(value) for value in values]
    elif isinstance(key, str):
        found = [adopt(_field(value, key)) for value in values]
    else:
        raise Refusal(f'needs the name of a field as its key, such as "total", not {kind(key)}')
    families = {ordered_kind(value) for value in found}
    if len(families) > 1:
        raise Refusal("cannot order values of different kinds")
    if families == {str}:
        meter.charge(sum(1 + len(text) // 8 for text in found))
    meter.charge(2 * len(values))
    return found


def _field(value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        raise Refusal(f"needs objects to order by a field, not {kind(value)}")
    try:
        return value[name]
    except KeyError:
        raise Refusal(f"got an object without the field it orders by, {name[:60]}") from None


def _sorted(meter: Meter, items: object, key: object = None, reverse: object = False) -> list[Any]:
    values = iterate(meter, items)
    meter.room_for_items(len(values))
    if type(reverse) is not bool:
        raise Refusal(f"needs true or false as reverse, not {kind(reverse)}")
    keys = _keys_of(meter, values, key)
    order = sorted(range(len(values)), key=keys.__getitem__, reverse=reverse)
    return [values[position] for position in order]


_NOTHING = object()


def _extreme(choose: Callable[..., int]) -> Callable[..., Any]:
    def call(meter: Meter, *values: Any, key: object = None, default: object = _NOTHING) -> Any:
        items = iterate(meter, values[0]) if len(values) == 1 else list(values)
        if not items:
            if default is _NOTHING:
                raise Refusal("has nothing to choose from; write default=... for an empty list")
            return default
        keys = _keys_of(meter, items, key)
        return items[choose(range(len(items)), key=keys.__getitem__)]

    return call


def _any(meter: Meter, items: object) -> bool:
    values = iterate(meter, items)
    meter.charge_items(len(values))
    return any(values)


def _all(meter: Meter, items: object) -> bool:
    values = iterate(meter, items)
    meter.charge_items(len(values))
    return all(values)


def _range(meter: Meter, *limits: object) -> list[int]:
    for limit in limits:
        if type(limit) is not int:
            raise Refusal(f"needs whole numbers, not {kind(limit)}")
    if limits[2:] == (0,):
        raise Refusal("cannot go on in steps of 0")
    numbers = range(*limits)  # type: ignore[call-overload]
    try:
        length = len(numbers)
    except OverflowError:
        length = MAX_ITEMS + 1
    meter.room_for_items(length)
    return list(numbers)


def _keys(meter: Meter, value: object) -> list[Any]:
    return _list(meter, _object(value))


def _values(meter: Meter, value: object) -> list[Any]:
    source = _object(value)
    return [adopt(source[key]) for key in _list(meter, source)]


def _items(meter: Meter, value: object) -> list[Any]:
    source = _object(value)
    keys = _list(meter, source)
    meter.charge(len(keys))
    return [[key, adopt(source[key])] for key in keys]


def _object(value: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise Refusal(f"needs an object, not {kind(value)}")


def _now(meter: Meter) -> dt.datetime:
    return meter.now


def _date(meter: Meter, value: object) -> dt.datetime:
    return dates.parse_date(value)


def _duration(meter: Meter, value: object) -> dt.timedelta:
    return dates.parse_duration(value)


def _format_date(meter: Meter, value: object, *pattern_and_zone: object) -> str:
    # Each letter of a format is one or two characters of it.
    meter.charge(20 + sum(len(text) for text in pattern_and_zone if isinstance(text, str)))
    return dates.format_date(value, *pattern_and_zone)


def _from_json(meter: Meter, value: object) -> Any:
    if not isinstance(value, str):
        raise Refusal(f"needs a text, not {kind(value)}")
    # Each object, list and comma is something to build, whatever its length.
    meter.charge(10 + len(value) // 32 + value.count("[") + value.count("{") + value.count(","))
    try:
        parsed = json.loads(
            value,
            parse_int=lambda digits: _int(meter, digits),
            parse_float=lambda digits: number(float(digits)),
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError):
        raise Refusal("got a text that is not JSON") from None
    _check_depth(parsed)
    return parsed


def _no_constant(name: str) -> Any:
    raise Refusal("got JSON with NaN or Infinity, which no number is")


def _check_depth(parsed: Any) -> None:
    """Refuse data too deep for the walks of this package; level by level, without recursion."""
    level = [parsed]
    for _ in range(MAX_DATA_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    raise Refusal(f"holds data nested more than {MAX_DATA_DEPTH} levels deep")


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the library: how many values it takes in order, and which by name."""

    call: Callable[..., Any]
    least: int
    most: float
    keywords: frozenset[str] = frozenset()


FUNCTIONS: dict[str, Function] = {
    "len": Function(_len, 1, 1),
    "int": Function(_int, 1, 1),
    "float": Function(_float, 1, 1),
    "str": Function(_str, 1, 1),
    "list": Function(_list, 1, 1),
    "round": Function(_round, 1, 2),
    "abs": Function(_abs, 1, 1),
    "sum": Function(_sum, 1, 1),
    "min": Function(_extreme(min), 1, math.inf, frozenset({"key", "default"})),
    "max": Function(_extreme(max), 1, math.inf, frozenset({"key", "default"})),
    "sorted": Function(_sorted, 1, 1, frozenset({"key", "reverse"})),
    "any": Function(_any, 1, 1),
    "all": Function(_all, 1, 1),
    "range": Function(_range, 1, 3),
    "keys": Function(_keys, 1, 1),
    "values": Function(_values, 1, 1),
    "items": Function(_items, 1, 1),
    "now": Function(_now, 0, 0),
    "date": Function(_date, 1, 1),
    "duration": Function(_duration, 1, 1),
    "format_date": Function(_format_date, 1, 3),
    "regex_match": Function(patterns.regex_match, 2, 3),
    "regex_search": Function(patterns.regex_search, 2, 3),
    "to_json": Function(to_json, 1, 1),
    "from_json": Function(_from_json, 1, 1),
}
