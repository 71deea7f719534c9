"""One builder for both languages: from what stands where to plain data with its places."""

from __future__ import annotations

from autopilot.common.problems import Problem
from workflows.definition.json_values import BAD_CHARACTER
from workflows.definition.paths import join, quote
from workflows.definition.text.places import Place, ReadText, TextError, TextProblem

# The same nesting that the API's JSON may have; the language itself allows less.
MAX_DEPTH = 100
MAX_VALUES = 200_000
MAX_PROBLEMS = 50

# Line and column, from 0, as the readers count.
Mark = tuple[int, int]


class Stop(Exception):
    """Nothing after this can be read."""


class _Open:
    """An object or a list that is still being read."""

    __slots__ = ("key", "key_place", "path", "start", "value")

    def __init__(self, value: dict[str, object] | list[object], path: str, start: Mark) -> None:
        self.value = value
        self.path = path
        self.start = start
        self.key: str | None = None
        self.key_place: Place | None = None


class Builder:
    """Is told what a text has, in order, and puts it together.

    Problems are gathered; `stop` is for those after which nothing makes sense. In an object the
    first of every two values is the key.
    """

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._document: object = None
        self._places: dict[str, Place] = {}
        self._keys: dict[str, Place] = {}
        self._values = 0
        self._problems: list[Problem] = []
        self._end: Mark = (0, 0)

    @property
    def wants_key(self) -> bool:
        """Whether what comes next is the key of an object's member."""
        return bool(self._open) and isinstance(self._open[-1].value, dict) and not self._has_key

    @property
    def is_inside(self) -> bool:
        return bool(self._open)

    @property
    def path(self) -> str:
        """Where the next value belongs; while a key is wanted, the object that wants it."""
        if not self._open:
            return "$"
        top = self._open[-1]
        if isinstance(top.value, list):
            return join(top.path, len(top.value))
        return join(top.path, top.key) if top.key is not None else top.path

    @property
    def _has_key(self) -> bool:
        return self._open[-1].key is not None

    def begin(self, value: dict[str, object] | list[object], start: Mark) -> None:
        """An object or a list opens."""
        if len(self._open) >= MAX_DEPTH:
            self.stop(self.path, "text.too_deep", _TOO_DEEP, start)
        self._count(start)
        self._open.append(_Open(value, self.path, start))

    def end(self, end: Mark | None = None) -> None:
        """The innermost one closes; without an end of its own it ends with its last member."""
        done = self._open.pop()
        last = max(self._end, done.start) if end is None else end
        self._put(done.value, done.path, done.start, last)

    def scalar(self, value: object, start: Mark, end: Mark) -> None:
        """A value that is no object and no list."""
        self._count(start)
        path = self.path
        if isinstance(value, str):
            self._check_text(value, path, start)
        self._put(value, path, start, end)

    def key(self, key: str, start: Mark, end: Mark) -> None:
        """The key of the next member of an object."""
        top = self._open[-1]
        assert isinstance(top.value, dict)
        path = join(top.path, key)
        self._check_text(key, path, start)
        if key in top.value:
            first = self._keys.get(path)
            before = f" It was there at line {first.line} already." if first else ""
            message = f'The key "{quote(key)}" appears more than once.{before}'
            self.refuse(path, "text.duplicate_key", message, start)
        top.key = key
        top.key_place = _place(start, end)

    def refuse(self, path: str, code: str, message: str, at: Mark) -> None:
        """Note a problem and go on."""
        line, column = at[0] + 1, at[1] + 1
        sentence = f"Line {line}, column {column}: {message}"
        self._problems.append(TextProblem(path, code, sentence, line, column))
        if len(self._problems) >= MAX_PROBLEMS:
            raise Stop

    def stop(self, path: str, code: str, message: str, at: Mark) -> None:
        self.refuse(path, code, message, at)
        raise Stop

    def result(self) -> ReadText:
        """What was read. Raises TextError with every problem."""
        if self._problems:
            raise error_of(self._problems)
        return ReadText(self._document, self._places, self._keys)

    def _count(self, at: Mark) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            message = f"There are more than {MAX_VALUES:,} values, the most that is read."
            self.stop("$", "text.too_many", message, at)

    def _check_text(self, text: str, path: str, at: Mark) -> None:
        found = BAD_CHARACTER.search(text)
        if found is not None:
            what = "a NUL character" if found[0] == "\x00" else "half of a surrogate pair"
            self.refuse(path, "text.character", f"The text has {what}; it can't be stored.", at)

    def _put(self, value: object, path: str, start: Mark, end: Mark) -> None:
        place = _place(start, end)
        self._end = end
        self._places.setdefault(path, place)
        if not self._open:
            self._document = value
            return
        top = self._open[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            return
        assert top.key is not None
        assert top.key_place is not None
        self._keys.setdefault(path, top.key_place)
        top.value.setdefault(top.key, value)
        top.key = None


_TOO_DEEP = f"The nesting is deeper than {MAX_DEPTH} levels."


def _place(start: Mark, end: Mark) -> Place:
    return Place(start[0] + 1, start[1] + 1, end[0] + 1, end[1] + 1)


def error_of(problems: list[Problem]) -> TextError:
    """One sentence for all of them."""
    message = problems[0].message
    more = len(problems) - 1
    if more:
        message += f" There {'is one problem' if more == 1 else f'are {more} problems'} more."
    return TextError(message, details=problems)
