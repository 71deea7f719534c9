"""Plain JSON values: exact numbers, equality as JSON Schema has it, and bounds."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

from workflows.versioning.containment.formulas import Undecided

MAX_DEPTH = 64
_MAX_BITS = 2048
_MAX_EXPONENT = 400


def exact(number: int | float) -> Fraction:
    """The number as it is written: 0.1 is a tenth. Raises Undecided for one out of bounds."""
    if isinstance(number, int):
        if number.bit_length() > _MAX_BITS:
            raise Undecided("A number in the schema is too large to be compared.")
        return Fraction(number)
    if not math.isfinite(number):
        raise Undecided("A number in the schema is no plain number.")
    return Fraction(Decimal(repr(number)))


def plain(number: Fraction) -> int | float | None:
    """The JSON number that is exactly this; None if there is none."""
    if number.denominator == 1:
        return int(number)
    try:
        near = float(number)
    except OverflowError:
        return None
    return near if math.isfinite(near) and Fraction(Decimal(repr(near))) == number else None


def key(value: Any) -> str:
    """Equal for values that JSON Schema calls equal: 1 and 1.0 are, true and 1 are not."""
    return json.dumps(_simple(value), sort_keys=True, ensure_ascii=True)


def value_of(text: str) -> Any:
    """The value that a key was made of, with numbers as short as they can be written."""
    return json.loads(text)


def _simple(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(Decimal(repr(value)))
    if isinstance(value, list):
        return [_simple(item) for item in value]
    if isinstance(value, dict):
        return {name: _simple(item) for name, item in value.items()}
    return value


def require_bounds(value: Any) -> None:
    """Raise Undecided for JSON that is nested too deep to be read safely."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner.extend(each.values())
            elif isinstance(each, list):
                inner.extend(each)
        level = [each for each in inner if isinstance(each, dict | list)]
        if not level:
            return
    raise Undecided(f"The schema is nested more than {MAX_DEPTH} levels deep.")
