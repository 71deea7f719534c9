"""Every limit of the language, and the meter that counts what an evaluation has used.

All limits are on counted work, never on time, so that an expression that succeeds today succeeds
tomorrow on a slower machine and again on replay.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

from workflows.definition.expressions.errors import Exhausted, Refusal, kind

MAX_SOURCE_BYTES = 4096
MAX_NESTING = 80
"""Levels of the parsed expression; a chain such as `a.b.c` or `a + b + c` counts one per link."""
MAX_GENERATORS = 4
"""`for` clauses in one comprehension."""
MAX_OPERATIONS = 100_000
"""Nodes evaluated, plus a share for each item or character that an operation has to touch."""
MAX_ITEMS = 10_000
"""Items in a list or keys in an object that an expression builds."""
MAX_TEXT = 256 * 1024
"""Characters in a text that an expression builds."""
MAX_INTEGER_BITS = 4096
MAX_DATA_DEPTH = 100
"""Levels of a value that is compared, written out or returned after being built."""

_CHARACTERS_PER_OPERATION = 128
_ITEMS_PER_OPERATION = 8
_SMALL = 1 << 62
NUMBERS = frozenset({int, float, bool})
JSON_TYPES = frozenset({type(None), bool, int, float, str, list, dict})
PLAIN = JSON_TYPES | {dt.datetime, dt.timedelta}
"""What a value is inside an evaluation; mappings of other types are read through their keys."""


class Meter:
    """What one evaluation may still spend, and the moment that it calls now."""

    left: int
    now: dt.datetime

    def __init__(self, now: dt.datetime, left: int = MAX_OPERATIONS) -> None:
        self.left = left
        self.now = now
        self.patterns: set[str] = set()
        self.shared: set[int] = set()

    def charge(self, operations: int) -> None:
        """Take `operations` from what is left, or refuse."""
        self.left -= operations
        if self.left < 0:
            raise Exhausted(f"needs more than {MAX_OPERATIONS:,} operations")

    def charge_text(self, characters: int) -> None:
        """Pay for reading or writing `characters`."""
        self.charge(1 + characters // _CHARACTERS_PER_OPERATION)

    def charge_items(self, items: int) -> None:
        """Pay for copying `items` references."""
        self.charge(1 + items // _ITEMS_PER_OPERATION)

    def room_for_text(self, characters: int) -> None:
        """Refuse a text of this length before it is built, or pay for it."""
        if characters > MAX_TEXT:
            raise Refusal(f"makes a text of more than {MAX_TEXT:,} characters")
        self.charge_text(characters)

    def room_for_items(self, items: int) -> None:
        """Refuse a list or object of this length before it is built, or pay for it."""
        if items > MAX_ITEMS:
            raise Refusal(f"makes a list or object of more than {MAX_ITEMS:,} items")
        self.charge_items(items)


def number(value: Any) -> Any:
    """`value` if it is a number that JSON can hold and that is not too long to work with."""
    if type(value) is int:
        if not -_SMALL < value < _SMALL and value.bit_length() > MAX_INTEGER_BITS:
            raise Refusal(f"makes a whole number of more than {MAX_INTEGER_BITS:,} bits")
        return value
    if type(value) is float:
        if not math.isfinite(value):
            raise Refusal("makes a number that is too large (or is none)")
        return value
    if type(value) is bool:
        return value
    raise Refusal("has no real number as its result")


def adopt(value: Any) -> Any:
    """A value of the scope as one of the types that this language knows.

    Plain JSON passes untouched and unread; subclasses of text and numbers (a StrEnum) lose their
    class, so that no method of theirs is ever run.
    """
    if type(value) is dt.datetime:
        return value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    if type(value) in PLAIN:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, tuple | list):
        return list(value)
    if isinstance(value, Mapping | dt.timedelta):
        return value
    raise Refusal(f"is {kind(value)}")


def iterate(meter: Meter, value: Any) -> list[Any]:
    """The items of a list, the keys of an object, the characters of a text."""
    if type(value) is list:
        return value
    if type(value) is str:
        meter.room_for_items(len(value))
        return list(value)
    if isinstance(value, Mapping):
        meter.room_for_items(len(value))
        return list(value)
    raise Refusal(f"needs a list, not {kind(value)}")


def equal(meter: Meter, left: Any, right: Any, depth: int = 0) -> bool:
    """Whether two values are the same JSON, as a tree that is paid for node by node.

    Python's own comparison would follow a list that holds the same list twice, twice at each
    level, without an end in sight.
    """
    if left is right:
        return True
    meter.charge(2)
    if type(left) is str and type(right) is str:
        if len(left) != len(right):
            return False
        meter.charge_text(len(left))
        return left == right
    if isinstance(left, list):
        if not isinstance(right, list) or len(left) != len(right):
            return False
        _descend(depth)
        meter.charge(len(left) // 2)
        return all(
            equal(meter, one, other, depth + 1) for one, other in zip(left, right, strict=True)
        )
    if isinstance(left, Mapping):
        if not isinstance(right, Mapping) or len(left) != len(right):
            return False
        _descend(depth)
        meter.charge(len(left))
        return all(key in right and equal(meter, left[key], right[key], depth + 1) for key in left)
    if isinstance(right, list | Mapping):
        return False
    if {type(left), type(right)} == {dt.datetime, str}:
        raise Refusal("compares a date with a text; write date(...) around the text")
    return bool(left == right)


def _descend(depth: int) -> None:
    if depth >= MAX_DATA_DEPTH:
        raise Refusal(f"holds data nested more than {MAX_DATA_DEPTH} levels deep")
