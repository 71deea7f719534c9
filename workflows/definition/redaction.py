"""Which values `redact` may hide: JSON pointers (RFC 6901) into input, output and step outputs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from autopilot.common.problems import Problem
from workflows.definition.fields import StepType, refuse
from workflows.definition.outline import Outline
from workflows.definition.paths import did_you_mean, join, quote

MAX_POINTERS = 200
MAX_POINTER = 512

_POINTER = re.compile(r"(?:/(?:[^/~]|~[01])*)+\Z")
_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,8})\Z")
_PLACE = re.compile(r"/(?:input|output|steps/([^/]+)/output)(?:/|\Z)")

REDACT_SCHEMA: dict[str, Any] = {
    "type": "array",
    "maxItems": MAX_POINTERS,
    "items": {
        "type": "string",
        "maxLength": MAX_POINTER,
        "pattern": "^/(input|output|steps/[^/]+/output)(/([^/~]|~[01])*)*$",
        "examples": ["/input/customer/email", "/steps/ask/output/card"],
    },
}


def parse_pointers(value: object) -> tuple[str, ...]:
    """The pointers of a document; where each begins is looked at by `find_redact_problems`."""
    if not isinstance(value, list):
        raise refuse("field.type", "This must be a list of JSON pointers.")
    if len(value) > MAX_POINTERS:
        raise refuse("field.too_long", f"At most {MAX_POINTERS} JSON pointers are allowed here.")
    for index, pointer in enumerate(value):
        if not _is_pointer(pointer):
            message = (
                f"Expected a JSON pointer of at most {MAX_POINTER} characters, such as "
                '"/input/customer/email"; in it "~0" stands for "~" and "~1" for "/".'
            )
            raise refuse("field.pointer", message, index)
    return tuple(value)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a value something is hidden: all of it (`is_here`), or below these keys."""

    is_here: bool = False
    below: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Redaction:
    """The pointers of a definition, by what they point into."""

    input: Place | None = None
    output: Place | None = None
    steps: Mapping[str, Place] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.input or self.output or self.steps)

    def of_part(self, step_id: str, key: str) -> Place | None:
        """The place in what a part of a step comes to: what the step's output has at that key.

        key: the index of a map's item, the name of a parallel's branch.
        """
        place = self.steps.get(step_id)
        if place is None or place.is_here:
            return place
        return place.below.get(key)


NOTHING_HIDDEN = Redaction()


def compile_redaction(pointers: Iterable[str]) -> Redaction:
    """Pointers that have no problems, ready to be followed."""
    by_root: dict[str, list[list[str]]] = {"input": [], "output": []}
    by_step: dict[str, list[list[str]]] = {}
    for pointer in pointers:
        root, *rest = [
            token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")
        ]
        if root == "steps":
            by_step.setdefault(rest[0], []).append(rest[2:])
        else:
            by_root[root].append(rest)
    return Redaction(
        input=_place(by_root["input"]),
        output=_place(by_root["output"]),
        steps=MappingProxyType(
            {step: place for step, ways in by_step.items() if (place := _place(ways))}
        ),
    )


def _place(ways: list[list[str]]) -> Place | None:
    """What several ways into one value come to together."""
    if not ways:
        return None
    if [] in ways:
        return Place(is_here=True)
    below: dict[str, list[list[str]]] = {}
    for first, *rest in ways:
        below.setdefault(first, []).append(rest)
    places = {token: place for token, more in below.items() if (place := _place(more))}
    return Place(below=MappingProxyType(places))


def find_redact_problems(document: Mapping[str, Any], outline: Outline) -> Iterator[Problem]:
    """Pointers to a place that holds no data, or to the output of a step that is not there."""
    pointers = document.get("redact")
    if not isinstance(pointers, list):
        return
    steps = outline.by_id()
    for index, pointer in enumerate(pointers[:MAX_POINTERS]):
        if not _is_pointer(pointer):
            continue
        path = join("$.redact", index)
        place = _PLACE.match(pointer)
        if place is None:
            message = (
                f'"{quote(pointer)}" points nowhere: a redaction begins with "/input", "/output" '
                'or "/steps/<id>/output".'
            )
            yield Problem(path, "redact.place", message)
        elif place[1] is not None and place[1] not in steps:
            hint = did_you_mean(place[1], steps)
            message = f'There is no step with the id "{quote(place[1])}".{hint}'
            yield Problem(path, "redact.step_unknown", message)
        elif place[1] is not None and steps[place[1]].type == StepType.MAP:
            token = pointer[place.end() :].split("/")[0] if pointer[place.end() :] else "0"
            if not _INDEX.match(token):
                message = (
                    f'The output of the map "{quote(place[1])}" is a list, and "{quote(token)}" is '
                    "no index of one. To hide something of every item, point into the output of "
                    "the step that makes it, or at the whole list."
                )
                yield Problem(path, "redact.index", message)


def _is_pointer(value: object) -> bool:
    if not isinstance(value, str) or len(value) > MAX_POINTER:
        return False
    return _POINTER.match(value) is not None
