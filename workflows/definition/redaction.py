"""Which values `redact` may hide: JSON pointers (RFC 6901) into input, output and step outputs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from autopilot.common.problems import Problem
from workflows.definition.fields import refuse
from workflows.definition.outline import Outline
from workflows.definition.paths import did_you_mean, join, quote

MAX_POINTERS = 200
MAX_POINTER = 512

_POINTER = re.compile(r"(?:/(?:[^/~]|~[01])*)+\Z")
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


def _is_pointer(value: object) -> bool:
    if not isinstance(value, str) or len(value) > MAX_POINTER:
        return False
    return _POINTER.match(value) is not None
