"""Reading JSON as strictly as the database will store it, with a sentence for every refusal."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from django.conf import settings
from rest_framework.parsers import BaseParser

from autopilot.common import jsonpath
from autopilot.common.errors import Invalid, RequestTooLarge
from autopilot.common.problems import Problem

MAX_DEPTH = 100
MAX_DIGITS = 4_000
# Every place is named, but not without end.
MAX_PROBLEMS = 50

_SUSPICIOUS_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class _Refused:
    """Stands in the parsed document where something was that may not be there."""

    code: str
    message: str
    value: Any = None


class StrictJSONParser(BaseParser):
    """JSON in UTF-8, without what PostgreSQL's jsonb cannot hold or people cannot mean.

    Refused: malformed JSON, NaN and infinities, NUL characters, lone surrogates, the same key
    twice in an object, nesting deeper than 100, integers of more than 4,000 digits, numbers
    beyond a double, and bodies over `DATA_UPLOAD_MAX_MEMORY_SIZE` bytes.
    """

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        limit: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
        raw: bytes = stream.read(limit + 1) if limit else stream.read()
        if limit and len(raw) > limit:
            raise RequestTooLarge.over(limit)
        return parse_json(raw)


def parse_json(raw: bytes) -> Any:
    """The value that `raw` holds. Raises Invalid with the place of every problem."""
    text = _decoded(raw)
    reader = _Reader()
    try:
        value = reader.read(text)
    except json.JSONDecodeError as error:
        raise _malformed(
            f"The body is not valid JSON: {error.msg} at line {error.lineno}, "
            f"column {error.colno} (character {error.pos})."
        ) from error
    except RecursionError as error:
        raise _invalid([_too_deep(jsonpath.ROOT)]) from error
    many = text.count("[") + text.count("{") > MAX_DEPTH
    if reader.refused or _SUSPICIOUS_ESCAPE.search(text) or (many and _is_deep(value)):
        problems = _first(_problems(value))
        if problems:
            raise _invalid(problems)
    return value


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _malformed(
            f"The body is not valid UTF-8: byte {error.start} (0x{raw[error.start]:02x}) "
            "does not belong there."
        ) from error


class _Reader:
    """The standard reader, with marks left where the document breaks a rule."""

    def __init__(self) -> None:
        self.refused = False

    def read(self, text: str) -> Any:
        return json.loads(
            text,
            object_pairs_hook=self._object,
            parse_int=self._integer,
            parse_float=self._float,
            parse_constant=self._constant,
        )

    def _mark(self, code: str, message: str, value: Any = None) -> _Refused:
        self.refused = True
        return _Refused(code, message, value)

    def _object(self, pairs: list[tuple[str, Any]]) -> Any:
        members = dict(pairs)
        if len(members) == len(pairs):
            return members
        seen: set[str] = set()
        key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return self._mark(
            "json.duplicate_key", f"The key {json.dumps(key[:80])} appears more than once.", members
        )

    def _integer(self, digits: str) -> Any:
        if len(digits.lstrip("-")) > MAX_DIGITS:
            return self._mark(
                "json.number_too_long", f"A whole number may have at most {MAX_DIGITS:,} digits."
            )
        return int(digits)

    def _float(self, digits: str) -> Any:
        number = float(digits)
        if math.isinf(number):
            return self._mark("json.number_too_large", "The number is beyond what can be stored.")
        return number

    def _constant(self, name: str) -> Any:
        return self._mark("json.not_a_number", f"{name} is not a value that JSON has.")


# A place in the document: its container's place and the key in there. Written out as a path only
# where there is something to say, because a body may hold millions of values.
_Trail = tuple["_Trail | None", str | int]


def _is_deep(document: Any) -> bool:
    """Whether containers are nested deeper than MAX_DEPTH, found level by level."""
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            member
            for value in level
            for member in (value.values() if isinstance(value, dict) else value)
            if isinstance(member, dict | list)
        ]
        if not level:
            return False
    return True


def _problems(document: Any) -> Iterator[Problem]:
    """Walk without recursion: the document may be nested as deeply as the reader allowed."""
    waiting: list[tuple[_Trail | None, Any, int]] = [(None, document, 0)]
    while waiting:
        trail, value, depth = waiting.pop()
        if isinstance(value, _Refused):
            yield Problem(_path(trail), value.code, value.message)
            value = value.value
        if isinstance(value, str):
            yield from _problems_of_text(trail, value)
            continue
        if not isinstance(value, dict | list):
            continue
        if depth >= MAX_DEPTH:
            yield _too_deep(_path(trail))
            continue
        if isinstance(value, dict):
            for key in value:
                yield from _problems_of_text((trail, key), key)
            members: list[tuple[str | int, Any]] = list(value.items())
        else:
            members = list(enumerate(value))
        waiting.extend(
            ((trail, key), member, depth + 1)
            for key, member in reversed(members)
            if isinstance(member, dict | list | str | _Refused)
        )


def _path(trail: _Trail | None) -> str:
    keys: list[str | int] = []
    while trail is not None:
        trail, key = trail
        keys.append(key)
    return jsonpath.join(reversed(keys))


def _problems_of_text(trail: _Trail | None, value: str) -> Iterator[Problem]:
    if "\x00" in value:
        yield Problem(_path(trail), "text.nul", "The text contains a NUL character (\\u0000).")
    found = _SURROGATE.search(value)
    if found is not None:
        yield Problem(
            _path(trail),
            "text.surrogate",
            f"The text contains half of a surrogate pair (\\u{ord(found[0]):04x}).",
        )


def _first(problems: Iterator[Problem]) -> list[Problem]:
    return [problem for problem, _ in zip(problems, range(MAX_PROBLEMS), strict=False)]


def _too_deep(path: str) -> Problem:
    return Problem(path, "json.too_deep", f"The nesting is deeper than {MAX_DEPTH} levels.")


def _malformed(message: str) -> Invalid:
    return Invalid(message, details=[Problem(jsonpath.ROOT, "json.malformed", message)])


def _invalid(problems: list[Problem]) -> Invalid:
    first = problems[0]
    return Invalid(f"{first.path}: {first.message}", details=problems)
