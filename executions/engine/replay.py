"""What steps that are taken over into another execution have left behind: variables and errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from executions.engine import steps
from executions.engine.errors import EngineError
from executions.engine.snapshot import Phase, Position, Snapshot, StepFact
from executions.engine.states import StepState
from executions.engine.working import Working
from workflows.definition.compiled import CompiledStep, GroupConfig


@dataclass(frozen=True, slots=True)
class Taken:
    """A step as it was recorded, or as somebody has edited it."""

    step_id: str
    seq: int
    started_at: datetime
    fact: StepFact


def replay(snapshot: Snapshot, taken: Iterable[Taken]) -> Snapshot:
    """The snapshot as these steps leave it, in the order in which they ended; nothing is called.

    `assign` is evaluated anew for every step that has a result, so an edited input or output is
    felt; what a catch has bound is bound again. Raises EngineError with the step's id.
    """
    working = Working(copy(snapshot))
    for each in taken:
        working.set_fact(each.step_id, each.fact)
        step = snapshot.definition.steps.get(each.step_id)
        if step is None:
            continue
        _note_caught(working.snapshot, step, each.fact)
        if not _has_result(each.fact):
            continue
        position = Position(step.id, each.seq, Phase.ENTER, each.started_at, each.fact.attempts)
        try:
            variables = steps.assigned(working, step, position)
        except EngineError as error:
            raise EngineError(error.info.at(step.id, each.fact.attempts)) from None
        if variables is not None:
            working.set_variables(variables)
    return working.snapshot


def _has_result(fact: StepFact) -> bool:
    """Also a skipped step assigns, if it was given an output."""
    if fact.state is StepState.SKIPPED:
        return fact.output is not None
    return fact.state is StepState.COMPLETED


def _note_caught(snapshot: Snapshot, step: CompiledStep, fact: StepFact) -> None:
    error: Mapping[str, Any] | None = fact.error
    if fact.state is StepState.FAILED and error is not None:
        for clause in step.catch:
            if clause.applies_to(error["code"]):
                snapshot.caught = error
                if clause.name is not None:
                    snapshot.names = {**snapshot.names, clause.name: error}
                return
    elif isinstance(step.config, GroupConfig) and step.config.last is not None:
        snapshot.caught = None
