"""Which numbers and texts satisfy a branch of a goal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

from workflows.versioning.containment import plain
from workflows.versioning.containment.formulas import (
    Above,
    Enum,
    Format,
    Longer,
    Multiple,
    Pattern,
    Undecided,
)
from workflows.versioning.containment.search import EMPTY, Branch, Found, Search
from workflows.versioning.containment.wording import guesses

_MAX_COUNTED = 2_000
_TRIED = 60
_EXAMPLES = {
    "date-time": "2024-02-29T12:00:00Z",
    "date": "2024-02-29",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "a@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "/a",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
    "json-pointer": "/a",
    "regex": "a",
}
_WORDS = ("", "a", "0", "A", "-", " ", "ab", "aB3", "\u00e9", "not one of these")


def solve_number(search: Search, branch: Branch) -> Found:
    """An interval, multiples of something, and what is taken out of it."""
    low = _bound([each for each in branch.yes if isinstance(each, Above)], highest=True)
    high = _bound([each for each in branch.no if isinstance(each, Above)], highest=False)
    if low is not None and high is not None:
        # A bound that is not to be reached: `high` is the lowest number that is out, or just in.
        if low.limit > high.limit:
            return EMPTY
        if low.limit == high.limit and (low.strict or not high.strict):
            return EMPTY
    steps = [each.of for each in branch.yes if isinstance(each, Multiple)]
    never = [each.of for each in branch.no if isinstance(each, Multiple)]
    if not steps:
        if low is not None and high is not None and low.limit == high.limit:
            return _kept(search, branch, [low.limit])
        return Found(False, _numbers(_between(low, high)))
    unit = _common(steps)
    if any((unit / each).denominator == 1 for each in never):
        return EMPTY
    first = None if low is None else math.ceil(low.limit / unit)
    if low is not None and first is not None and low.strict and first * unit == low.limit:
        first += 1
    last = None if high is None else math.floor(high.limit / unit)
    if high is not None and last is not None and not high.strict and last * unit == high.limit:
        last -= 1
    if first is not None and last is not None:
        if first > last:
            return EMPTY
        if last - first <= _MAX_COUNTED:
            return _kept(search, branch, [unit * each for each in range(first, last + 1)])
    return Found(False, _numbers(unit * each for each in _near(first, last)))


def _bound(given: list[Above], *, highest: bool) -> Above | None:
    """Of lower bounds the highest; of those that are not reached the lowest."""
    if not given:
        return None
    if highest:
        return max(given, key=lambda each: (each.limit, each.strict))
    return min(given, key=lambda each: (each.limit, each.strict))


def _common(steps: list[Fraction]) -> Fraction:
    """The least number that is a multiple of each."""
    found = steps[0]
    for each in steps[1:]:
        found = Fraction(
            math.lcm(found.numerator, each.numerator), math.gcd(found.denominator, each.denominator)
        )
        if found.numerator.bit_length() > 4096:
            raise Undecided("The multiples in the schemas are too large to be compared.")
    return found


def _kept(search: Search, branch: Branch, numbers: list[Fraction]) -> Found:
    """Of a few numbers those that satisfy the branch; all that can be are in the list."""
    search.step(len(numbers))
    left = [each for each in numbers if not _out(branch, each)]
    return Found(False, _numbers(left)) if left else EMPTY


def _out(branch: Branch, number: Fraction) -> bool:
    for each in branch.no:
        if isinstance(each, Multiple) and (number / each.of).denominator == 1:
            return True
        if isinstance(each, Enum):
            value = plain.plain(number)
            if value is not None and plain.key(value) in each.keys:
                return True
    return False


def _between(low: Above | None, high: Above | None) -> Iterator[Fraction]:
    if low is not None and high is not None:
        width = high.limit - low.limit
        yield low.limit
        yield high.limit
        for part in (2, 3, 7, 10, 1000):
            yield low.limit + width / part
    start = low.limit if low is not None else (high.limit if high is not None else Fraction(0))
    sign = 1 if low is not None or high is None else -1
    for each in ("0", "0.5", "1", "0.1", "0.25", "2", "3", "7", "11.5", "1000.001", "1000003"):
        yield start + sign * Fraction(each)
        if low is None and high is None:
            yield -Fraction(each)


def _near(first: int | None, last: int | None) -> Iterator[int]:
    if first is not None:
        yield from range(first, first + _TRIED)
        yield first + 1_000_003
    elif last is not None:
        yield from range(last, last - _TRIED, -1)
        yield last - 1_000_003
    else:
        yield from range(_TRIED)
        yield from (-1, 1_000_003, -1_000_003)


def _numbers(found: Iterator[Fraction] | list[Fraction]) -> tuple[int | float, ...]:
    written = (plain.plain(each) for each in found)
    return tuple(each for each in written if each is not None)


def solve_string(search: Search, branch: Branch) -> Found:
    """A length, and patterns and formats that are only known to equal themselves."""
    least = max((each.size for each in branch.yes if isinstance(each, Longer)), default=0)
    bounds = [each.size - 1 for each in branch.no if isinstance(each, Longer)]
    most = min(bounds, default=None)
    if most is not None and least > most:
        return EMPTY
    if most == 0:
        return EMPTY if search.fails(branch, "") else Found(False, ("",))
    return Found(False, tuple(_fitted(branch, least, most)))


def _fitted(branch: Branch, least: int, most: int | None) -> Iterator[str]:
    bases = list(_WORDS)
    for each in [*branch.yes, *branch.no]:
        if isinstance(each, Pattern):
            bases = [*guesses(each.text), *bases]
        elif isinstance(each, Format):
            bases = [_EXAMPLES.get(each.name, "a"), *bases]
        elif isinstance(each, Enum):
            texts = (plain.value_of(key) for key in each.keys[:5])
            bases += [f"{text}x" for text in texts if isinstance(text, str)]
    for base in bases:
        if least <= len(base) and (most is None or len(base) <= most):
            yield base
        elif len(base) < least <= 10_000:
            yield base + "a" * (least - len(base))
        elif most is not None and len(base) > most:
            yield base[:most]
