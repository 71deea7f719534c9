"""Where in a JSON text each value stands, so that a problem can name its line."""

from __future__ import annotations

import json
from json.decoder import scanstring  # type: ignore[attr-defined]

from autopilot.common import jsonpath
from workflows.definition.paths import join

_BLANK = " \t\r\n"


def lines_of(text: str) -> dict[str, int]:
    """The line (from 1) on which the value at each JSON path begins; empty if it is no JSON."""
    try:
        json.loads(text)
        return _Walker(text).lines
    except (ValueError, RecursionError):
        return {}


class _Walker:
    """Goes once through a text that is known to be JSON."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._line = 1
        self._counted = 0
        self.lines: dict[str, int] = {}
        self._value(self._skip(0), jsonpath.ROOT)

    def _value(self, at: int, path: str) -> int:
        self._line += self._text.count("\n", self._counted, at)
        self._counted = at
        self.lines[path] = self._line
        character = self._text[at]
        if character == "{":
            return self._object(at + 1, path)
        if character == "[":
            return self._array(at + 1, path)
        if character == '"':
            return int(scanstring(self._text, at + 1, False)[1])
        end = at
        while end < len(self._text) and self._text[end] not in ",]}" + _BLANK:
            end += 1
        return end

    def _object(self, at: int, path: str) -> int:
        at = self._skip(at)
        while self._text[at] != "}":
            key, at = scanstring(self._text, at + 1, False)
            at = self._skip(self._skip(at) + 1)
            at = self._skip(self._value(at, join(path, key)))
            if self._text[at] == ",":
                at = self._skip(at + 1)
        return at + 1

    def _array(self, at: int, path: str) -> int:
        at = self._skip(at)
        index = 0
        while self._text[at] != "]":
            at = self._skip(self._value(at, join(path, index)))
            index += 1
            if self._text[at] == ",":
                at = self._skip(at + 1)
        return at + 1

    def _skip(self, at: int) -> int:
        while at < len(self._text) and self._text[at] in _BLANK:
            at += 1
        return at
