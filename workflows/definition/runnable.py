"""What the language describes but this release cannot run yet: one table, rows get deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from autopilot.common.problems import Problem
from workflows.definition.outline import Outline, Step
from workflows.definition.paths import join

CODE = "not_supported_yet"


class Place(StrEnum):
    """Where something that cannot run yet is written."""

    STEP_TYPE = "step type"
    STEP_FIELD = "step field"
    CONFIG_FIELD = "config field"
    DOCUMENT_FIELD = "document field"
    NAME = "name"  # of an expression


@dataclass(frozen=True, slots=True)
class Row:
    """One step type or field; of a config field the name is `<step type>.<field>`.

    compiled: the compiled form holds it, so that only the engine is missing.
    """

    place: Place
    name: str
    meaning: str
    compiled: bool = False


NOT_RUNNABLE: tuple[Row, ...] = (Row(Place.NAME, "secrets", "reading secrets"),)


def name_not_runnable(name: str) -> str | None:
    """The sentence about a name that expressions cannot use yet; None if they can."""
    for row in NOT_RUNNABLE:
        if row.place is Place.NAME and row.name == name:
            return f'The name "{name}" ({row.meaning}) cannot be used yet.'
    return None


def find_not_runnable(
    document: Mapping[str, Any], outline: Outline, *, ignore_compiled: bool = False
) -> Iterator[Problem]:
    """One problem, code `not_supported_yet`, per step type and field that cannot run yet.

    ignore_compiled: only what has no compiled form either.
    """
    rows = [row for row in NOT_RUNNABLE if not (ignore_compiled and row.compiled)]
    for row in rows:
        if row.place is Place.DOCUMENT_FIELD and document.get(row.name) is not None:
            yield _field(join("$", row.name), row.name, row.meaning)
    for step in outline.steps:
        for row in rows:
            problem = _step_problem(step, row)
            if problem is not None:
                yield problem


def _step_problem(step: Step, row: Row) -> Problem | None:
    if row.place is Place.STEP_TYPE and step.type == row.name:
        message = f'Steps of type "{step.type}" ({row.meaning}) cannot run in this release yet.'
        return Problem(join(step.path, "type"), CODE, message)
    if row.place is Place.STEP_FIELD and step.raw.get(row.name) is not None:
        return _field(join(step.path, row.name), row.name, row.meaning)
    if row.place is Place.CONFIG_FIELD:
        type_, field = row.name.split(".")
        if step.type == type_ and step.config.get(field) is not None:
            return _field(join(step.config_path, field), field, row.meaning)
    return None


def _field(path: str, field: str, meaning: str) -> Problem:
    return Problem(path, CODE, f'The field "{field}" ({meaning}) cannot run in this release yet.')
