"""What the operators do to which types; everything else is refused by name of the types."""

from __future__ import annotations

import ast
import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from workflows.definition.expressions.bounds import (
    MAX_INTEGER_BITS,
    MAX_ITEMS,
    MAX_TEXT,
    NUMBERS,
    Meter,
    equal,
    number,
)
from workflows.definition.expressions.errors import Refusal, kind
from workflows.definition.expressions.library import ordered_kind
from workflows.definition.expressions.texts import charge_search

Binary = Callable[[Meter, Any, Any], Any]


def _wrong(verb: str, left: object, right: object) -> Refusal:
    return Refusal(f"cannot {verb} {kind(left)} and {kind(right)}")


def _add(meter: Meter, left: Any, right: Any) -> Any:
    if type(left) in NUMBERS and type(right) in NUMBERS:
        return number(left + right)
    if type(left) is str and type(right) is str:
        meter.room_for_text(len(left) + len(right))
        return left + right
    if type(left) is list and type(right) is list:
        meter.room_for_items(len(left) + len(right))
        return left + right
    if _is_time(left) and _is_time(right) and dt.timedelta in (type(left), type(right)):
        return left + right
    if str in (type(left), type(right)):
        raise Refusal(f"cannot add {kind(left)} and {kind(right)}; write str(...) around it")
    raise _wrong("add", left, right)


def _subtract(meter: Meter, left: Any, right: Any) -> Any:
    if type(left) in NUMBERS and type(right) in NUMBERS:
        return number(left - right)
    if (
        _is_time(left)
        and _is_time(right)
        and (type(left), type(right))
        != (
            dt.timedelta,
            dt.datetime,
        )
    ):
        return left - right
    raise _wrong("subtract", left, right)


def _multiply(meter: Meter, left: Any, right: Any) -> Any:
    if type(left) in NUMBERS and type(right) in NUMBERS:
        return number(left * right)
    for value, times in ((left, right), (right, left)):
        if type(value) is dt.timedelta and type(times) in NUMBERS:
            return value * times
        if type(times) is int and type(value) in (str, list):
            # `times` may have thousands of bits; cut it before it meets the length.
            length = len(value) * max(min(times, MAX_TEXT + MAX_ITEMS), 0)
            if type(value) is str:
                meter.room_for_text(length)
            else:
                meter.room_for_items(length)
            return value * times if length else value[:0]
    raise _wrong("multiply", left, right)


def _divide(meter: Meter, left: Any, right: Any) -> Any:
    if type(left) in NUMBERS and type(right) in NUMBERS:
        return number(left / right)
    if type(left) is dt.timedelta and (type(right) in NUMBERS or type(right) is dt.timedelta):
        return left / right
    raise _wrong("divide", left, right)


def _floor_divide(meter: Meter, left: Any, right: Any) -> Any:
    if type(left) in NUMBERS and type(right) in NUMBERS:
        return number(left // right)
    raise _wrong("divide", left, right)


def _modulo(meter: Meter, left: Any, right: Any) -> Any:
    if type(left) in NUMBERS and type(right) in NUMBERS:
        return number(left % right)
    if type(left) is str:
        raise Refusal("cannot format a text with %; write an f-string without a format")
    raise _wrong("take the remainder of", left, right)


def _power(meter: Meter, left: Any, right: Any) -> Any:
    if type(left) not in NUMBERS or type(right) not in NUMBERS:
        raise _wrong("raise to a power", left, right)
    if type(left) is not float and type(right) is not float and right > 0:
        # The length of the result is known before it is computed; computing it is what costs.
        if (left.bit_length() - 1) * right > MAX_INTEGER_BITS:
            raise Refusal(f"makes a whole number of more than {MAX_INTEGER_BITS:,} bits")
        return number(left**right)
    return number(left**right)


def _is_time(value: object) -> bool:
    return type(value) is dt.datetime or type(value) is dt.timedelta


def _contains(meter: Meter, item: Any, container: Any) -> bool:
    if type(container) is list:
        if type(item) is str:
            meter.charge((1 + len(item) // 128) * (1 + len(container) // 8))
            return item in container
        if item is None or type(item) in NUMBERS:
            meter.charge(1 + len(container) // 8)
            return item in container
        return any(equal(meter, item, one) for one in container)
    if type(container) is str:
        if type(item) is not str:
            raise Refusal(f"looks for {kind(item)} in a text; only a text can be in it")
        charge_search(meter, item, container)
        return item in container
    if isinstance(container, Mapping):
        if type(item) is not str:
            raise Refusal(f"looks for {kind(item)} among the keys of an object; keys are texts")
        return item in container
    raise Refusal(f"looks into {kind(container)}; expected a list, an object or a text")


def _ordering(compare: Callable[[Any, Any], bool]) -> Binary:
    def call(meter: Meter, left: Any, right: Any) -> bool:
        if type(left) in NUMBERS and type(right) in NUMBERS:
            return compare(left, right)
        if ordered_kind(left) is not ordered_kind(right):
            hint = "; write date(...) around the text" if _is_time(left) or _is_time(right) else ""
            raise Refusal(f"cannot compare {kind(left)} with {kind(right)}{hint}")
        if type(left) is str:
            meter.charge_text(min(len(left), len(right)))
        return compare(left, right)

    return call


def _is(meter: Meter, left: Any, right: Any) -> bool:
    return left is right


BINARY: dict[type[ast.operator], Binary] = {
    ast.Add: _add,
    ast.Sub: _subtract,
    ast.Mult: _multiply,
    ast.Div: _divide,
    ast.FloorDiv: _floor_divide,
    ast.Mod: _modulo,
    ast.Pow: _power,
}

COMPARE: dict[type[ast.cmpop], Binary] = {
    ast.Eq: equal,
    ast.NotEq: lambda meter, left, right: not equal(meter, left, right),
    ast.Lt: _ordering(lambda left, right: bool(left < right)),
    ast.LtE: _ordering(lambda left, right: bool(left <= right)),
    ast.Gt: _ordering(lambda left, right: bool(left > right)),
    ast.GtE: _ordering(lambda left, right: bool(left >= right)),
    ast.In: _contains,
    ast.NotIn: lambda meter, left, right: not _contains(meter, left, right),
    ast.Is: _is,
    ast.IsNot: lambda meter, left, right: left is not right,
}


def negate(value: Any) -> Any:
    """`-value`, for numbers and durations."""
    if type(value) in NUMBERS or type(value) is dt.timedelta:
        return -value
    raise Refusal(f"cannot negate {kind(value)}")


def affirm(value: Any) -> Any:
    """`+value`, for numbers and durations."""
    if type(value) in NUMBERS or type(value) is dt.timedelta:
        return +value
    raise Refusal(f"cannot put + before {kind(value)}")


def invert(value: Any) -> bool:
    """`not value`."""
    return not value


UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: negate,
    ast.UAdd: affirm,
    ast.Not: invert,
}
