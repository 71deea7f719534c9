"""Where in a text something stands, and what is wrong there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from autopilot.common.errors import Invalid
from autopilot.common.problems import Problem


@dataclass(frozen=True, slots=True)
class Place:
    """A stretch of a text, in characters. Lines and columns count from 1; the end is exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class ReadText:
    """What a text says.

    document: plain JSON data.
    places: JSON path of every value -> where the value stands.
    keys: JSON path of every member of an object -> where its key stands.
    """

    document: object
    places: Mapping[str, Place]
    keys: Mapping[str, Place]


@dataclass(frozen=True, slots=True)
class TextProblem(Problem):
    """A problem of a text; its message names the place, which programs find in line and column."""

    line: int = 1
    column: int = 1

    def as_dict(self) -> dict[str, str | int]:
        return {**Problem.as_dict(self), "line": self.line, "column": self.column}


class TextError(Invalid):
    """The text can not be read; details name every place."""

    code: ClassVar[str] = "text.unreadable"


def nearest_place(places: Mapping[str, Place], path: str) -> Place | None:
    """Where the value at `path` stands, or else the nearest one around it: for what is missing.

    None when the text has nothing at all.
    """
    while path not in places:
        shorter = _parent(path)
        if shorter == path:
            return None
        path = shorter
    return places[path]


def _parent(path: str) -> str:
    """The path of what holds the value at `path`; the root's is its own."""
    if path.endswith('"]'):
        at = len(path) - 2
        # Back to the quote that opens the key: the one that no backslash escapes.
        while at > 0:
            at = path.rfind('"', 0, at)
            slashes = len(path[:at]) - len(path[:at].rstrip("\\"))
            if at < 0 or (slashes % 2 == 0 and path[at - 1 : at] == "["):
                return path[: max(at - 1, 1)]
        return "$"
    if path.endswith("]"):
        return path[: max(path.rfind("["), 1)]
    return path[: max(path.rfind("."), 1)]


def located(problem: Problem, places: Mapping[str, Place]) -> Problem:
    """`problem` with the line and column of the value that it is about, or that lacks it."""
    place = nearest_place(places, problem.path)
    if place is None or isinstance(problem, TextProblem):
        return problem
    return TextProblem(problem.path, problem.code, problem.message, place.line, place.column)
