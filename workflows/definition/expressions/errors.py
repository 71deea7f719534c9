"""The one error that leaves this package, and the note that its parts pass to each other."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

_SHOWN_SOURCE = 200


class ExpressionError(Exception):
    """An expression cannot be compiled or evaluated.

    `message` is a sentence that names the failing part and the expression; it never shows a value,
    because a value may be secret. `source` is the whole expression, `path` the place inside the
    template value that holds it (such as `.items[0].name`; empty when there is none).
    """

    code = "expression"

    def __init__(self, message: str, *, source: str, path: str = "") -> None:
        # A key or a source may hold anything; a sentence goes into logs, pages and the database.
        message = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in message)
        super().__init__(message)
        self.message = message
        self.source = source
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.message, self.source, self.path)

    def at(self, path: str) -> ExpressionError:
        """The same error, placed inside a template value."""
        return ExpressionError(self.message, source=self.source, path=path)


def _restore(message: str, source: str, path: str) -> ExpressionError:
    return ExpressionError(message, source=source, path=path)


class Refusal(Exception):
    """What is wrong with one operation, as the rest of a sentence; the evaluator adds the place."""


class Missing(Refusal):
    """A name, key or index that is not there; `default()` turns this one into its second value.

    The reason is only put into words when somebody asks for them: looking for the nearest key
    takes a hundred times as long as not finding the one that was meant.
    """

    def __init__(self, describe: Callable[[], str]) -> None:
        super().__init__()
        self.describe = describe

    def __str__(self) -> str:
        return self.describe()


class Exhausted(Refusal):
    """More work than one evaluation may do; no single part of the expression is to blame."""


def quote(source: str) -> str:
    """`source` on one line and short enough for a sentence."""
    line = " ".join(source.split())
    return f'"{line[:_SHOWN_SOURCE]}…"' if len(line) > _SHOWN_SOURCE else f'"{line}"'


_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "true/false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
    dt.datetime: "a date",
    dt.timedelta: "a duration",
    slice: "a slice",
}


def kind(value: object) -> str:
    """What a user calls the type of `value`, with its article."""
    known = _KINDS.get(type(value))
    if known is not None:
        return known
    return "an object" if isinstance(value, Mapping) else "something that is not JSON"
