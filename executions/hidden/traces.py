"""What is known to be hidden, and where it turns up again. Pure, and only ever in memory.

Values are followed by what they are, not by where they came from: an expression may have copied
them anywhere. Texts are found inside of other texts, whatever the case of their letters, also as
JSON, in an address, or cut off after their beginning. What is too short to be told from chance
(true, null, "no", 12) is not followed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

MIN_TEXT: Final = 3
MIN_DIGITS: Final = 4
# So many of a text's first characters give the rest away: messages cut what they quote.
PROBE: Final = 24
TAIL: Final = 20
# With more texts than this they are looked up by how they begin instead of one by one.
FEW: Final = 32
_GRAMS: Final = (6, MIN_TEXT)

# Where in a text something hidden begins and ends, and what it is.
Match = tuple[int, int, str]


class Traces:
    """A growing set of hidden values."""

    __slots__ = ("_by_gram", "_containers", "_numbers", "_texts")

    def __init__(self) -> None:
        # A hidden text as it may be spelled, in lower case, and the text itself.
        self._texts: dict[str, str] = {}
        self._by_gram: tuple[dict[str, list[str]], ...] = ({}, {})
        self._numbers: set[int | float] = set()
        self._containers: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._texts or self._numbers or self._containers)

    def learn(self, value: Any) -> int:
        """This value is hidden, and so is all that it is made of. Answers its key."""
        if isinstance(value, str):
            self._learn_text(value)
        elif isinstance(value, bool) or value is None:
            pass
        elif isinstance(value, (int, float)):
            self._learn_number(value)
        elif isinstance(value, dict):
            key = key_of_object({name: self.learn(item) for name, item in value.items()})
            if value:
                self._containers.add(key)
            return key
        elif isinstance(value, (list, tuple)):
            key = key_of_list([self.learn(item) for item in value])
            if value:
                self._containers.add(key)
            return key
        return key_of_scalar(value)

    def has_number(self, value: int | float) -> bool:
        return value in self._numbers

    def has_container(self, key: int) -> bool:
        return key in self._containers

    def matches(self, text: str) -> Iterator[Match]:
        """Every place of the text at which something hidden stands; they may overlap."""
        if len(text) < MIN_TEXT or not self._texts:
            return
        low = lower(text)
        if len(self._texts) <= FEW:
            for needle in self._texts:
                yield from self._occurrences(low, needle)
            return
        for start in range(len(low) - MIN_TEXT + 1):
            for size, table in zip(_GRAMS, self._by_gram, strict=True):
                for needle in table.get(low[start : start + size], ()):
                    if low.startswith(needle[:PROBE], start):
                        yield self._at(low, needle, start)

    def _occurrences(self, low: str, needle: str) -> Iterator[Match]:
        probe = needle[:PROBE]
        start = low.find(probe)
        while start >= 0:
            yield self._at(low, needle, start)
            start = low.find(probe, start + 1)

    def _at(self, low: str, needle: str, start: int) -> Match:
        if low.startswith(needle, start):
            end = start + len(needle)
        else:
            end = start + PROBE
            while low[end : end + 1] == needle[end - start : end - start + 1] != "":
                end += 1
        return start, end, self._texts[needle]

    def _learn_text(self, value: str) -> None:
        if len(value) < MIN_TEXT:
            return
        if lower(value) in self._texts:
            return
        for spelling in {
            value,
            value.strip(),
            json.dumps(value, ensure_ascii=False)[1:-1],
            json.dumps(value)[1:-1],
            repr(value)[1:-1],
            _quoted(value, quote),
            _quoted(value, quote_plus),
        }:
            self._add(spelling, value)
        if len(value) > 2 * PROBE:
            self._add(value[-TAIL:], value)

    def _learn_number(self, value: int | float) -> None:
        text = json.dumps(value)
        if sum(map(str.isdigit, text)) < MIN_DIGITS:
            return
        self._numbers.add(value)
        self._add(text, text)
        if isinstance(value, int) and abs(value) >= 2**53:
            self._add(f"{value:#x}", text)

    def _add(self, spelling: str, value: str) -> None:
        needle = lower(spelling)
        if len(needle) < MIN_TEXT or needle in self._texts:
            return
        self._texts[needle] = value
        size, table = next(
            (size, table)
            for size, table in zip(_GRAMS, self._by_gram, strict=True)
            if len(needle) >= size
        )
        table.setdefault(needle[:size], []).append(needle)


def lower(text: str) -> str:
    """In lower case, character by character: places in it are places in `text`."""
    low = text.lower()
    if len(low) != len(text):
        low = "".join(each if len(small := each.lower()) != 1 else small for each in text)
    return low.replace("ς", "σ")


def _quoted(value: str, how: Any) -> str:
    return str(how(value, safe="", errors="replace"))


# Keys: equal values have equal keys, within one process. Two different values with one key would
# only hide more than was asked for.


def key_of_scalar(value: Any) -> int:
    return hash(value)


def key_of_object(keys: dict[str, int]) -> int:
    return hash(frozenset(keys.items()))


def key_of_list(keys: list[int]) -> int:
    return hash((list, *keys))


def key_of(value: Any) -> int:
    """The key of any JSON value."""
    if isinstance(value, dict):
        return key_of_object({name: key_of(item) for name, item in value.items()})
    if isinstance(value, (list, tuple)):
        return key_of_list([key_of(item) for item in value])
    return key_of_scalar(value)
