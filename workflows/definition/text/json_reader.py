"""JSON with the place of every value, as strict as the API's own reader."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from contextlib import suppress

from workflows.definition.text.building import Builder, Mark, Stop
from workflows.definition.text.places import ReadText
from workflows.definition.text.scalars import MAX_DIGITS, ScalarError, finite

# A text that is nothing but one JSON string, which YAML would read otherwise (`\/`, surrogates).
JSON_TEXT = re.compile(r'[ \t\r\n]*"(?:[^"\\\x00-\x1f]|\\.)*"[ \t\r\n]*\Z')

_LINE_END = re.compile(r"\r\n|\r|\n")
_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"[^\s\[\]{},:\"]{1,40}")
_DECODER = json.JSONDecoder()
_WORDS: dict[str, object] = {"true": True, "false": False, "null": None}
_CONSTANTS = frozenset({"NaN", "Infinity", "-Infinity"})


def read_json(text: str) -> ReadText:
    """The document of a JSON text. Raises TextError with every problem."""
    reader = _Reader(text)
    with suppress(Stop):
        reader.read()
    return reader.builder.result()


class _Reader:
    def __init__(self, text: str) -> None:
        self.builder = Builder()
        self._text = text
        self._at = 0
        self._lines = [0, *(found.end() for found in _LINE_END.finditer(text))]

    def read(self) -> None:
        self._value()
        while self.builder.is_inside:
            self._after_value()
        if self._next():
            self._expected("nothing more after the document")

    def _value(self) -> None:
        """One value, or the beginning of one: of an object up to the value of its first key."""
        while True:
            character = self._next()
            if character == "{":
                self.builder.begin({}, self._mark())
                self._at += 1
                if self._next() == "}":
                    self._close()
                    return
                self._key()
            elif character == "[":
                self.builder.begin([], self._mark())
                self._at += 1
                if self._next() == "]":
                    self._close()
                    return
            else:
                self._scalar(character)
                return

    def _after_value(self) -> None:
        """What follows inside an object or a list: a comma and the next member, or its end."""
        in_object = self.builder.wants_key
        character = self._next()
        if character == ("}" if in_object else "]"):
            self._close()
        elif character != ",":
            self._expected('"," or "}"' if in_object else '"," or "]"')
        else:
            self._at += 1
            if in_object:
                self._key()
            self._value()

    def _close(self) -> None:
        self._at += 1
        self.builder.end(self._mark())

    def _key(self) -> None:
        if self._next() != '"':
            self._expected("a key in double quotes")
        start = self._mark()
        key = self._string()
        self.builder.key(key, start, self._mark())
        if self._next() != ":":
            self._expected('":"')
        self._at += 1

    def _scalar(self, character: str) -> None:
        start, begin = self._mark(), self._at
        value: object = None
        if character == '"':
            value = self._string()
        elif (number := _NUMBER.match(self._text, begin)) is not None:
            self._at = number.end()
            value = self._number(number, start)
        else:
            value = self._word(start)
        self.builder.scalar(value, start, self._mark())

    def _string(self) -> str:
        try:
            value, self._at = _DECODER.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            self.builder.stop(
                self.builder.path, "json.malformed", f"{error.msg}.", self._mark(error.pos)
            )
        return str(value)

    def _number(self, found: re.Match[str], start: Mark) -> object:
        try:
            if found[1] or found[2]:
                return finite(float(found[0]))
            if len(found[0].lstrip("-")) > MAX_DIGITS:
                raise ScalarError(f"A whole number may have at most {MAX_DIGITS:,} digits.")
            return int(found[0])
        except ScalarError as error:
            self.builder.refuse(self.builder.path, "text.number", str(error), start)
            return None

    def _word(self, start: Mark) -> object:
        found = _WORD.match(self._text, self._at)
        word = found[0] if found else ""
        if word in _CONSTANTS:
            message = f"{word} is not a value that JSON has."
            self.builder.refuse(self.builder.path, "text.number", message, start)
        elif word not in _WORDS:
            self._expected("a value")
        self._at += len(word)
        return _WORDS.get(word)

    def _next(self) -> str:
        """The next character that is no blank; empty at the end."""
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._text[self._at : self._at + 1]

    def _mark(self, at: int | None = None) -> Mark:
        at = self._at if at is None else at
        line = bisect_right(self._lines, at) - 1
        return line, at - self._lines[line]

    def _expected(self, what: str) -> None:
        found = self._text[self._at : self._at + 1]
        shown = f"found {found}" if found.isprintable() and found else "found a control character"
        got = shown if found else "the text ends"
        message = f"This is not valid JSON: {what} was expected, but {got}."
        self.builder.stop(self.builder.path, "json.malformed", message, self._mark())
