"""What the language describes but this release cannot run yet: one table, rows get deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from autopilot.common.problems import Problem
from workflows.definition.outline import Outline, Step
from workflows.definition.paths import join

CODE = "not_supported_yet"

NOT_RUNNABLE_STEP_TYPES: dict[str, str] = {
    "parallel": "running branches side by side",
    "map": "running steps for every item of a list",
    "signal": "waiting for an external event",
    "approval": "waiting for a person's decision",
    "group": "groups of steps",
    "workflow": "starting another workflow",
}
NOT_RUNNABLE_STEP_FIELDS: dict[str, str] = {
    "retry": "trying a failed step again",
    "heartbeat": "watching over the heartbeat of a step",
    "catch": "catching the error of a step",
    "compensate": "undoing a step",
}
NOT_RUNNABLE_CONFIG_FIELDS: dict[tuple[str, str], str] = {
    ("succeed", "continue_as_new"): "continuing as a new execution",
}
NOT_RUNNABLE_DOCUMENT_FIELDS: dict[str, str] = {
    "timeout": "a timeout of the whole execution",
    "defaults": "defaults for all steps",
    "concurrency": "limiting how many executions run at once",
    "on_failure": "an answer to a failed execution",
    "redact": "hiding values",
}


def find_not_runnable(document: Mapping[str, Any], outline: Outline) -> Iterator[Problem]:
    """One problem, code `not_supported_yet`, per step type and field that cannot run yet."""
    for field, meaning in NOT_RUNNABLE_DOCUMENT_FIELDS.items():
        if document.get(field) is not None:
            yield _field(join("$", field), field, meaning)
    for step in outline.steps:
        yield from _step_problems(step)


def _step_problems(step: Step) -> Iterator[Problem]:
    meaning = NOT_RUNNABLE_STEP_TYPES.get(step.type)
    if meaning is not None:
        yield Problem(
            join(step.path, "type"),
            CODE,
            f'Steps of type "{step.type}" ({meaning}) cannot run in this release yet.',
        )
    for field, meaning in NOT_RUNNABLE_STEP_FIELDS.items():
        if step.raw.get(field) is not None:
            yield _field(join(step.path, field), field, meaning)
    for (type_, field), meaning in NOT_RUNNABLE_CONFIG_FIELDS.items():
        if step.type == type_ and step.config.get(field) is not None:
            yield _field(join(step.config_path, field), field, meaning)


def _field(path: str, field: str, meaning: str) -> Problem:
    return Problem(path, CODE, f'The field "{field}" ({meaning}) cannot run in this release yet.')
