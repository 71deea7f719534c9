"""Pydantic's findings about an action's parameters, as problems with paths and our sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from autopilot.common import jsonpath
from autopilot.common.problems import Problem

TEMPLATE_MARK = "{{"


def has_template(value: object) -> bool:
    """Whether a template is somewhere inside `value` (a plain JSON value)."""
    waiting: list[object] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if TEMPLATE_MARK in item:
                return True
        elif isinstance(item, Mapping):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)
    return False


def problems_of(
    error: ValidationError, params: Mapping[str, Any], *, partial: bool
) -> list[Problem]:
    """The problems in `error`, in its order; values themselves are never quoted (secrets).

    params: what was validated; paths start at `$` = params.
    partial: leave out findings about a value that holds a template: only a run knows that value.
    """
    problems = []
    for detail in error.errors(include_url=False, include_input=False):
        place, subject = _follow(params, detail["loc"])
        if partial and detail["type"] != "missing" and has_template(subject):
            continue
        problem = Problem(jsonpath.join(place), _code(detail["type"]), _sentence(detail))
        if problem not in problems:
            problems.append(problem)
    return problems


def _follow(params: object, location: Sequence[str | int]) -> tuple[list[str | int], object]:
    """As far as `location` leads into `params`: that path, and the value that stands there.

    Pydantic puts names of union members and validators into locations; they lead nowhere in the
    document and are left out, except for the last part of a location: it may name what is absent.
    """
    place: list[str | int] = []
    value = params
    for number, key in enumerate(location):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and isinstance(key, int):
            value = value[key] if key < len(value) else None
        elif number < len(location) - 1 or not isinstance(value, Mapping):
            continue
        place.append(key)
    return place, value


def _code(kind: str) -> str:
    if kind == "missing":
        return "field.missing"
    if kind == "extra_forbidden":
        return "field.unknown"
    if kind.endswith(("_type", "_parsing", "_attributes_type")):
        return "field.type"
    return "field.invalid"


def _count(bound: str, number: int, one: str, many: str) -> str:
    counted = f"1 {one} was" if number == 1 else f"{number} {many} were"
    return f"{bound} {counted} expected."


_SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "This parameter is required.",
    "extra_forbidden": lambda _: "There is no such parameter.",
    "string_type": lambda _: "A text was expected.",
    "int_type": lambda _: "A whole number was expected.",
    "int_parsing": lambda _: "A whole number was expected.",
    "int_from_float": lambda _: "A whole number was expected, without a fraction.",
    "float_type": lambda _: "A number was expected.",
    "float_parsing": lambda _: "A number was expected.",
    "bool_type": lambda _: "true or false was expected.",
    "bool_parsing": lambda _: "true or false was expected.",
    "list_type": lambda _: "A list was expected.",
    "dict_type": lambda _: "An object was expected.",
    "model_type": lambda _: "An object was expected.",
    "model_attributes_type": lambda _: "An object was expected.",
    "literal_error": lambda ctx: f"One of {ctx['expected']} was expected.",
    "enum": lambda ctx: f"One of {ctx['expected']} was expected.",
    "string_too_short": lambda ctx: _count(
        "At least", ctx["min_length"], "character", "characters"
    ),
    "string_too_long": lambda ctx: _count("At most", ctx["max_length"], "character", "characters"),
    "string_pattern_mismatch": lambda ctx: f"A text that matches {ctx['pattern']} was expected.",
    "too_short": lambda ctx: _count("At least", ctx["min_length"], "entry", "entries"),
    "too_long": lambda ctx: _count("At most", ctx["max_length"], "entry", "entries"),
    "greater_than": lambda ctx: f"A number above {ctx['gt']} was expected.",
    "greater_than_equal": lambda ctx: f"A number of at least {ctx['ge']} was expected.",
    "less_than": lambda ctx: f"A number below {ctx['lt']} was expected.",
    "less_than_equal": lambda ctx: f"A number of at most {ctx['le']} was expected.",
}


def _sentence(detail: ErrorDetails) -> str:
    say = _SENTENCES.get(detail["type"])
    if say is not None:
        return say(detail.get("ctx", {}))
    text = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return text if text.endswith((".", "!", "?")) else f"{text}."
