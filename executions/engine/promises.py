"""How a step that completes is to be undone: worked out then, when everything it needs is there."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

from executions.engine.commands import Promise, RecordStep, SetVariables
from executions.engine.errors import (
    EXPRESSION,
    LIMIT_INPUT,
    VALIDATION_INPUT,
    EngineError,
    ErrorInfo,
)
from executions.engine.events import LogRecord
from executions.engine.payload import Payload, encode
from executions.engine.snapshot import Position, Snapshot, scope_of
from executions.engine.working import Working
from workflows.definition.compiled import Compensation, CompiledStep
from workflows.definition.expressions import ExpressionError


def keep(
    working: Working,
    step: CompiledStep,
    position: Position,
    variables: SetVariables | None,
    record: RecordStep,
) -> RecordStep:
    """Keep the compensation of a step that has just succeeded; answers the step's row.

    variables: what they become by the step. A compensation that can't be worked out is kept with
    the reason, and a warning in the step's log: what the step has done is done, so failing it would
    only hide that.
    """
    if step.compensate is None:
        return record
    promise = _promise(working, step, step.compensate, position, variables)
    working.add(promise)
    if promise.error is None:
        return record
    fields = {"action": promise.action, "code": promise.error.code, "error": promise.error.message}
    note = LogRecord("warning", "step.cannot_be_undone", fields, record.ended_at)
    return replace(record, log=(*record.log, note))


def _promise(
    working: Working,
    step: CompiledStep,
    compensation: Compensation,
    position: Position,
    variables: SetVariables | None,
) -> Promise:
    promise = Promise(position.seq, step.id, step.name, compensation.action)
    seen = copy(working.snapshot)
    if variables is not None:
        seen.vars = variables.variables
    try:
        return replace(promise, params=_rendered(compensation, step, position, seen))
    except EngineError as error:
        return replace(promise, error=error.info.at(step.id, position.attempt))


def _rendered(
    compensation: Compensation, step: CompiledStep, position: Position, seen: Snapshot
) -> Payload:
    try:
        value = compensation.params.render(scope_of(seen), now=position.started_at)
    except ExpressionError as error:
        details = {"expression": error.source, "path": f"compensate.with{error.path}"}
        raise EngineError(ErrorInfo(EXPRESSION, error.message, details=details)) from None
    return encode(
        value,
        limit=seen.max_input_bytes,
        what=f"What undoes step `{step.id}`",
        code=VALIDATION_INPUT,
        size_code=LIMIT_INPUT,
    )
