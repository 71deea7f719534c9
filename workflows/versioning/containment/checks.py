"""Whether one value satisfies a formula: yes, no, or nobody can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from workflows.definition.schemas import compile_validator
from workflows.versioning.containment import plain
from workflows.versioning.containment.formulas import (
    Above,
    And,
    Atom,
    Contains,
    Enum,
    Fields,
    Format,
    Items,
    Less,
    Longer,
    MoreFields,
    MoreItems,
    Multiple,
    Names,
    Not,
    One,
    Or,
    Pattern,
    Required,
    Types,
    Undecided,
    Unique,
    kind_of,
)
from workflows.versioning.containment.reader import Node

_MAX_STEPS = 20_000


@lru_cache(maxsize=512)
def _text_test(keyword: str, wanted: str) -> Callable[[Any], bool] | None:
    if "\\c" in wanted and keyword == "pattern":
        return None  # engines differ on control characters
    # The engine that will check payloads also answers here.
    try:
        return compile_validator({keyword: wanted}).is_valid
    except ValueError:
        return None


def text_fits(keyword: str, wanted: str, text: str) -> bool | None:
    """Whether a text has a `pattern` or `format`; None if that can't be evaluated."""
    test = _text_test(keyword, wanted)
    return None if test is None else test(text)


class Checker:
    """Evaluates formulas within a bound of steps; beyond it every answer is None."""

    def __init__(self) -> None:
        self._left = _MAX_STEPS

    @property
    def used(self) -> int:
        """How many steps were taken."""
        return _MAX_STEPS - self._left

    def holds(self, part: Any, value: Any) -> bool | None:
        self._left -= 1
        if self._left < 0:
            return None
        if isinstance(part, Node):
            return None if part.loops else self.holds(part.formula, value)
        if isinstance(part, And):
            return _all(self.holds(each, value) for each in part.parts)
        if isinstance(part, Or):
            return _any(self.holds(each, value) for each in part.parts)
        if isinstance(part, One):
            return _one([self.holds(each, value) for each in part.parts])
        if isinstance(part, Not):
            return _not(self.holds(part.part, value))
        if isinstance(part, Types):
            return _is_of(part, value)
        if isinstance(part, Enum):
            return plain.key(value) in part.keys
        if isinstance(part, Less):
            if kind_of(value) != part.atom.kind:
                return True
            return _not(self._atom(part.atom, value))
        return self._atom(part, value)

    def _atom(self, atom: Atom, value: Any) -> bool | None:
        if atom.kind is not None and kind_of(value) != atom.kind:
            return True
        test = _TESTS.get(type(atom))
        return test(self, atom, value) if test is not None else None

    def _items(self, atom: Items, value: list[Any]) -> bool | None:
        return _all(self.holds(atom.at(index), item) for index, item in enumerate(value))

    def _contains(self, atom: Contains, value: list[Any]) -> bool | None:
        found = [self.holds(atom.node, item) for item in value]
        if found.count(True) >= atom.least:
            return True
        return False if len(found) - found.count(False) < atom.least else None

    def _fields(self, atom: Fields, value: dict[str, Any]) -> bool | None:
        return _all(self._field(atom, name, item) for name, item in value.items())

    def _field(self, atom: Fields, name: str, item: Any) -> bool | None:
        nodes, sure = applying(atom, name)
        fits = _all(self.holds(node, item) for node in nodes)
        return fits if sure or fits is False else None

    def _names(self, atom: Names, value: dict[str, Any]) -> bool | None:
        return _all(self.holds(atom.node, name) for name in value)


def applying(atom: Fields, name: str) -> tuple[list[Node], bool]:
    """What a field of this name has to fit, and whether that is all: a pattern may be unreadable.

    Then what all other fields have to fit is left out, since it may not be about this one.
    """
    nodes = [node for known, node in atom.named if known == name]
    sure = True
    for pattern, node in atom.patterns:
        fits = text_fits("pattern", pattern, name)
        if fits:
            nodes.append(node)
        sure = sure and fits is not None
    if not nodes and sure:
        nodes.append(atom.others)
    return nodes, sure


def _is_of(types: Types, value: Any) -> bool:
    kind = kind_of(value)
    if kind in types.names:
        return True
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return "integer" in types.names and kind == "number" and whole


def _number(value: Any) -> Any:
    try:
        return plain.exact(value)
    except Undecided:
        return None


def _above(checker: Checker, atom: Above, value: Any) -> bool | None:
    number = _number(value)
    if number is None:
        return None
    return bool(number > atom.limit or (number == atom.limit and not atom.strict))


def _is_multiple(checker: Checker, atom: Multiple, value: Any) -> bool | None:
    number = _number(value)
    return None if number is None else (number / atom.of).denominator == 1


def _unique(checker: Checker, atom: Unique, value: list[Any]) -> bool:
    return len({plain.key(item) for item in value}) == len(value)


_TESTS: dict[type[Atom], Callable[[Checker, Any, Any], bool | None]] = {
    Above: _above,
    Multiple: _is_multiple,
    Longer: lambda _, atom, value: len(value) >= atom.size,
    Pattern: lambda _, atom, value: text_fits("pattern", atom.text, value),
    Format: lambda _, atom, value: text_fits("format", atom.name, value),
    MoreItems: lambda _, atom, value: len(value) >= atom.size,
    Items: Checker._items,
    Unique: _unique,
    Contains: Checker._contains,
    MoreFields: lambda _, atom, value: len(value) >= atom.size,
    Required: lambda _, atom, value: atom.name in value,
    Fields: Checker._fields,
    Names: Checker._names,
}


def _not(answer: bool | None) -> bool | None:
    return None if answer is None else not answer


def _all(answers: Iterable[bool | None]) -> bool | None:
    unsure = False
    for answer in answers:
        if answer is False:
            return False
        unsure = unsure or answer is None
    return None if unsure else True


def _any(answers: Iterable[bool | None]) -> bool | None:
    return _not(_all(_not(answer) for answer in answers))


def _one(answers: list[bool | None]) -> bool | None:
    if answers.count(True) > 1:
        return False
    return None if None in answers else answers.count(True) == 1
