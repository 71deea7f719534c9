"""Calls that end elsewhere: the action has returned, somebody else says what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from executions.engine import outside, steps
from executions.engine.commands import WriteLog
from executions.engine.errors import TIMEOUT_STEP, EngineError, ErrorInfo
from executions.engine.events import CALLBACK, CallPending, Delivered
from executions.engine.payload import NULL, Payload, encode
from executions.engine.snapshot import Position, scope_of
from executions.engine.states import Reason
from executions.engine.working import Working
from workflows.definition.compiled import ActionConfig, CompiledStep

# What somebody with the token may say.
COMPLETE, FAIL, HEARTBEAT = "complete", "fail", "heartbeat"


def pend(
    working: Working, step: CompiledStep, position: Position, event: CallPending, now: datetime
) -> steps.Outcome:
    """Wait for the end of the call, as long as the step's timeout and heartbeat allow."""
    data: dict[str, Any] = {"queue": event.queue, "payload": event.payload.value}
    if event.log:
        working.add(WriteLog(step.id, position.attempt, event.log))
    return outside.begin(working, step, position, data, until=_until(step, position, now))


def _until(step: CompiledStep, position: Position, heard_at: datetime) -> datetime | None:
    """The step's timeout counts from the begin of the call, silence from what was heard last."""
    ends = [
        None if step.timeout is None else position.started_at + step.timeout,
        None if step.heartbeat is None else heard_at + step.heartbeat,
    ]
    known = [each for each in ends if each is not None]
    return min(known) if known else None


def _deliver(
    working: Working, step: CompiledStep, position: Position, event: Delivered, now: datetime
) -> steps.Outcome | None:
    said = event.data
    if said["what"] == HEARTBEAT:
        working.move(replace(position, wait_until=_until(step, position, now)))
        return None
    params = _params(working, step, position)
    if said["what"] == FAIL:
        return steps.fail(working, step, position, _error(said), now, params=params)
    limit = working.snapshot.max_output_bytes
    output = encode(said["output"], limit=limit, what=f"The output of step `{step.id}`")
    return steps.complete(working, step, position, output, now, params=params, is_output=True)


def _error(said: Mapping[str, Any]) -> ErrorInfo:
    return ErrorInfo(
        said["code"], said["message"], details=said["details"], retryable=said["retryable"]
    )


def _params(working: Working, step: CompiledStep, position: Position) -> Payload:
    """What the action was called with, worked out again: nothing has changed since."""
    config = step.config
    assert isinstance(config, ActionConfig)
    snapshot = working.snapshot
    try:
        value = steps.render(config.params, scope_of(snapshot), position.started_at)
        return encode(value, limit=snapshot.max_input_bytes, what="The parameters")
    except EngineError:
        # It has what only the performer knows.
        return NULL


def _expire(step: CompiledStep, position: Position) -> ErrorInfo:
    total, until = step.timeout, position.wait_until
    is_total = total is not None and until is not None and until >= position.started_at + total
    message = f"The call was not ended within {total}."
    if step.heartbeat is not None and not is_total:
        message = f"Nothing was heard of the call for {step.heartbeat}."
    return ErrorInfo(TIMEOUT_STEP, message, retryable=True)


outside.KINDS[ActionConfig] = outside.Kind(CALLBACK, Reason.CALLBACK, _deliver, _expire)
