"""Whether a changed JSON Schema still lets through what the other one did: yes, no, or unknown.

"Compatible" is only said with a proof, "breaking" only with a value that shows it: the engine that
checks payloads takes it under the one schema and refuses it under the other. Everything else is
unknown, and what is unknown has to be treated as breaking.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

import jsonschema_rs

from workflows.definition.paths import join_all, quote
from workflows.definition.schemas import compile_validator, describe
from workflows.versioning.containment import plain
from workflows.versioning.containment.formulas import Kind, Undecided
from workflows.versioning.containment.lists import solve_array
from workflows.versioning.containment.objects import solve_object
from workflows.versioning.containment.reader import Document, Node, Pool
from workflows.versioning.containment.scalars import solve_number, solve_string
from workflows.versioning.containment.search import MAX_STEPS, Search
from workflows.versioning.containment.spelling import modern

MAX_REASONS = 20
_MAX_TRIED = 200
_MAX_EXAMPLE = 200

_SOLVERS = {
    Kind.NUMBER: solve_number,
    Kind.STRING: solve_string,
    Kind.ARRAY: solve_array,
    Kind.OBJECT: solve_object,
}


class Answer(StrEnum):
    """What is known about a change of a schema."""

    COMPATIBLE = "compatible"
    BREAKING = "breaking"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SchemaReason:
    """Why a change is not known to be compatible.

    path: JSON path in the schema that refuses, such as `$.properties.port.minimum`.
    message: one sentence for people.
    example: the shortest value that shows it, as JSON; empty when there is none to show.
    """

    path: str
    message: str
    example: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer with its reasons; compatible ones have none."""

    answer: Answer
    reasons: tuple[SchemaReason, ...] = ()


_COMPATIBLE = Verdict(Answer.COMPATIBLE)


def input_change(old: Any, new: Any) -> Verdict:
    """Whether everything that could be sent before still can be."""
    return contained(old, new)


def output_change(old: Any, new: Any) -> Verdict:
    """Whether everything that may be answered from now on could have been answered before."""
    return contained(new, old)


@dataclass(slots=True)
class Allowance:
    """How many steps several comparisons may take together."""

    steps: int = 4 * MAX_STEPS


def contained(narrow: Any, wide: Any, allowance: Allowance | None = None) -> Verdict:
    """Whether every value that `narrow` takes is taken by `wide`.

    Both are JSON Schemas (2020-12; a few older spellings are read too). Never raises, and never
    fetches anything: what can't be settled within bounds, or is no valid schema, is unknown.
    Reasons name places in `wide`.
    allowance: what is left of it bounds this comparison too, and what is used is taken off.
    """
    try:
        plain.require_bounds([narrow, wide])
        return _compare(modern(narrow), modern(wide), allowance or Allowance())
    except Undecided as undecided:
        return _unknown(str(undecided))
    except RecursionError:
        return _unknown("The schemas are nested too deep to be compared within bounds.")


def _compare(narrow: Any, wide: Any, allowance: Allowance) -> Verdict:
    taken, refused = _validator(narrow), _validator(wide)
    pool = Pool()
    inside, outside = Document(narrow, pool).node(narrow), Document(wide, pool).node(wide)
    search = Search(_SOLVERS, min(MAX_STEPS, allowance.steps))
    found: dict[str, SchemaReason] = {}
    proven = True
    blocked: str | None = None
    try:
        for values in _attempts(search, inside, outside):
            if values is None:
                continue
            proven = False
            for value in islice(values, _MAX_TRIED):
                for reason in _shown(value, taken, refused):
                    _keep(found, reason)
            if len(found) >= MAX_REASONS:
                break
    except Undecided as undecided:
        proven, blocked = False, str(undecided)
    finally:
        allowance.steps -= search.used
    if found:
        return Verdict(Answer.BREAKING, tuple(sorted(found.values(), key=lambda each: each.path)))
    if proven:
        return _COMPATIBLE
    said = "It could not be proven that everything that fitted before still does."
    return _unknown(blocked or said)


def _attempts(search: Search, inside: Node, outside: Node) -> Iterator[tuple[Any, ...] | None]:
    """For each way to be inside and not outside: values to try, or None when there are none."""
    if inside is outside:
        return
    goal = (frozenset({inside}), frozenset({outside}))
    for kind in Kind:
        for branch in search.branches(goal, kind):
            answer = search.settle(branch)
            yield None if answer.empty else answer.values


def _validator(schema: Any) -> jsonschema_rs.Validator:
    try:
        return compile_validator(schema)
    except (ValueError, TypeError, OverflowError) as error:
        text = quote(str(error).splitlines()[0])
        raise Undecided(f"A schema can't be compiled: {text}.") from error


def _shown(
    value: Any, taken: jsonschema_rs.Validator, refused: jsonschema_rs.Validator
) -> Iterator[SchemaReason]:
    """What the value shows: nothing unless the one schema takes it and the other refuses it."""
    try:
        if not taken.is_valid(value):
            return
        example = json.dumps(value, ensure_ascii=False)
        for error in islice(refused.iter_errors(value), MAX_REASONS):
            where = join_all("$", error.schema_path)
            yield SchemaReason(where, _sentence(error), quote(example, _MAX_EXAMPLE))
    except (ValueError, TypeError, OverflowError):
        return


def _sentence(error: jsonschema_rs.ValidationError) -> str:
    place = join_all("$", error.instance_path)
    at = "" if place == "$" else f" at {place}"
    return f"A value is refused{at}: {describe(error)}"


def _keep(found: dict[str, SchemaReason], reason: SchemaReason) -> None:
    """One reason for each place in the schema: the one with the shortest example."""
    known = found.get(reason.path)
    room = known is None and len(found) < MAX_REASONS
    if room or (known is not None and len(reason.example) < len(known.example)):
        found[reason.path] = reason


def _unknown(message: str) -> Verdict:
    return Verdict(Answer.UNKNOWN, (SchemaReason("$", message),))
