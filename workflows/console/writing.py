"""What an editor is told while somebody writes: problems with their places, the graph, the guard.

Nothing is saved here; the answers are plain JSON for `static/console/editor/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autopilot.accounts.actors import Actor
from autopilot.common.errors import Invalid
from autopilot.common.problems import Problem
from workflows import comparison, services
from workflows.console.drawing import drawing_of
from workflows.console.forms import arranged, as_text
from workflows.definition.outline import read_outline
from workflows.definition.text import (
    Place,
    ReadText,
    TextError,
    TextProblem,
    nearest_place,
    read_text,
    write_yaml,
)
from workflows.documents import parse_number
from workflows.models import Workflow

LANGUAGES = ("json", "yaml")
SHOWN_REASONS = 12
MAX_NAMES = 200
MAX_NAME_DEPTH = 4


def checked(
    *, actor: Actor, text: str, workflow: Workflow | None = None, number: str = ""
) -> dict[str, Any]:
    """Everything about a text at once.

    number: of the draft that it is to become, unless it names one itself. is_read: whether the
    text is a document at all; if not, there is nothing but problems.
    """
    try:
        read = read_text(text)
    except TextError as error:
        return {"is_read": False, "problems": [unread(each) for each in error.details]}
    document = read.document
    problems = services.validate(actor=actor, document=document)
    content = document if isinstance(document, dict) else {}
    return {
        "is_read": True,
        "problems": placed_problems(problems, read),
        "drawing": drawing_of(content),
        "steps": list(_steps(content, read)),
        "names": names_of(content),
        "number": _number_place(read),
        "guard": None if problems else _guard(actor, content, workflow, number),
    }


def converted(text: str, language: str) -> str:
    """The same document in the other language. Raises TextError for what can't be read."""
    if language not in LANGUAGES:
        raise Invalid(f"One of {' and '.join(LANGUAGES)} was expected as the language.")
    document = read_text(text).document
    return as_language(document, language)


def as_language(document: object, language: str) -> str:
    """A document as the text that people edit."""
    if language == "yaml":
        return write_yaml(document)
    return as_text(arranged(document) if isinstance(document, Mapping) else document)


def placed_problems(problems: Sequence[Problem], read: ReadText | None) -> list[dict[str, Any]]:
    """Problems as an editor marks them, in the order of the text.

    An unknown field is marked at its name, a missing one at the object that lacks it.
    """
    found = [_placed(problem, read) for problem in problems]
    return sorted(found, key=lambda each: (each["line"], each["column"]))


def unread(problem: Problem) -> dict[str, Any]:
    """What keeps a text from being read, where that is known."""
    line = problem.line if isinstance(problem, TextProblem) else 1
    column = problem.column if isinstance(problem, TextProblem) else 1
    place = Place(line, column, line, column)
    return {**problem.as_dict(), **_marks(place)}


def _placed(problem: Problem, read: ReadText | None) -> dict[str, Any]:
    place: Place | None = None
    if read is not None:
        by_key = problem.code == "field.unknown"
        place = read.keys.get(problem.path) if by_key else None
        if place is None:
            is_there = problem.path in read.places
            place = nearest_place(read.places, problem.path)
            if place is not None and not is_there:
                # The whole object would be marked for what it lacks: its beginning is enough.
                place = Place(place.line, place.column, place.line, place.column)
    return {**problem.as_dict(), **_marks(place or Place(1, 1, 1, 1))}


def _marks(place: Place) -> dict[str, int]:
    return {
        "line": place.line,
        "column": place.column,
        "end_line": place.end_line,
        "end_column": place.end_column,
    }


def _steps(document: Mapping[str, Any], read: ReadText) -> Iterator[dict[str, Any]]:
    """Where each step stands; those inside of others come behind them."""
    for step in read_outline(document).steps:
        place = read.places.get(step.path)
        if place is not None:
            yield {"id": step.id, **_marks(place)}


def _number_place(read: ReadText) -> dict[str, Any] | None:
    """Where the version's number stands, or before which key it would; None if that is no place
    to write into, as a block of lines."""
    place = read.places.get("$.version")
    if place is not None:
        in_line = place.line == place.end_line
        return {**_marks(place), "is_there": True} if in_line else None
    place = read.keys.get("$.name")
    return {**_marks(place), "is_there": False} if place is not None else None


def names_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What expressions may name: the fields of the input as a tree, variables, maps' items."""
    outline = read_outline(document)
    variables: dict[str, None] = {}
    items: dict[str, None] = {}
    for step in outline.steps:
        assign = step.raw.get("assign")
        variables.update(dict.fromkeys(assign if isinstance(assign, dict) else ()))
    for scope in outline.scopes:
        items.update(dict.fromkeys(sorted(scope.names)))
    return {
        "input": _fields_of(document.get("input_schema"), MAX_NAME_DEPTH),
        "vars": [str(name) for name in variables][:MAX_NAMES],
        "items": list(items)[:MAX_NAMES],
    }


def _fields_of(schema: object, depth: int) -> dict[str, Any]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or depth == 0:
        return {}
    names = [name for name in properties if isinstance(name, str)][:MAX_NAMES]
    return {name: _fields_of(properties[name], depth - 1) for name in names}


def _guard(
    actor: Actor, document: Mapping[str, Any], workflow: Workflow | None, number: str
) -> dict[str, Any] | None:
    """What publishing this document would be told, and why; None where nothing stands before it."""
    if workflow is None:
        return None
    own = document.get("version") or number or None
    found = comparison.judge_document(
        actor=actor,
        workflow=workflow,
        document=document,
        number=parse_number(own, path="$.number") if own is not None else None,
    )
    if found.against is None:
        return None
    judgement = found.judgement
    return {
        "against": found.against.version,
        "own": str(found.number or ""),
        "suggested": str(found.suggested),
        "bump": judgement.bump.word,
        "enough": found.enough,
        "reasons": [each.as_dict() for each in judgement.reasons[:SHOWN_REASONS]],
        "more": judgement.more + max(0, len(judgement.reasons) - SHOWN_REASONS),
    }
