"""The step `workflow`: another workflow as a child to be waited for, or started and let go.

Which version that is, and whether its input fits, is found out by the runtime, as an action's call
is made: the step stands in `Phase.CALL` meanwhile.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from executions.engine import children, steps
from executions.engine.commands import ChildKind, StartOther
from executions.engine.errors import CHILD_FAILED, ErrorInfo
from executions.engine.events import ChildFound, ChildrenEnded, ChildResult
from executions.engine.payload import encode
from executions.engine.snapshot import Phase, Position
from executions.engine.working import Working
from workflows.definition.compiled import CompiledStep, WorkflowConfig

_ID_BYTES = 100


def _start(
    working: Working, step: CompiledStep, position: Position, now: datetime
) -> steps.Outcome:
    looking = position.at(Phase.CALL)
    working.move(looking)
    return steps.Calling(looking)


def found(
    working: Working, step: CompiledStep, position: Position, event: ChildFound, now: datetime
) -> steps.Outcome:
    """The version is known and takes the input: make the child, or start the other one."""
    config = step.config
    assert isinstance(config, WorkflowConfig)
    if config.wait:
        return children.begin(
            working,
            step,
            position,
            kind=ChildKind.CHILD,
            inputs=(event.input,),
            tolerated=0,
            version=event.version_id,
            slot=event.slot,
            hides=event.hides,
        )
    working.add(
        StartOther(event.execution_id, event.version_id, event.input, event.slot, event.hides)
    )
    output = encode({"execution_id": event.execution_id}, limit=_ID_BYTES, what="The output")
    outcome = steps.complete(
        working, step, position, output, now, params=event.params, is_output=True
    )
    if not isinstance(outcome, steps.Next):
        # What the step assigns could not be worked out: it has failed, and started nothing.
        working.commands[:] = [
            each for each in working.commands if not isinstance(each, StartOther)
        ]
    return outcome


def _join(
    working: Working, step: CompiledStep, position: Position, event: ChildrenEnded, now: datetime
) -> steps.Outcome:
    config = step.config
    assert isinstance(config, WorkflowConfig)
    if not event.children:
        error = ErrorInfo(CHILD_FAILED, f"The child of the workflow {config.workflow} is gone.")
        return steps.fail(working, step, position, error, now)
    child = event.children[-1]
    if child.succeeded:
        return children.finish(working, step, position, child.output, now)
    return steps.fail(working, step, position, _error(config, child), now)


def _error(config: WorkflowConfig, child: ChildResult) -> ErrorInfo:
    cause = _cause_of(child)
    details: dict[str, Any] = {
        "workflow": config.workflow,
        "execution_id": child.execution_id,
        "error": children.shown(child.error),
        "cause": cause,
    }
    what = "was cancelled" if child.error is None else f"failed: {cause['message']}"
    message = f"Execution {child.execution_id} of the workflow {config.workflow} {what}"
    return children.failure(message if child.error else f"{message}.", details)


def _cause_of(child: ChildResult) -> dict[str, Any]:
    """Where it began: the error of the innermost child that failed, however deep that is."""
    error = child.error or {"code": "cancelled", "message": children.cause_of(child)}
    details = error.get("details") or {}
    inner = details.get("cause") if error["code"] == CHILD_FAILED else None
    if isinstance(inner, dict) and {"code", "message", "execution_id"} <= inner.keys():
        return inner
    return {
        "code": error["code"],
        "message": error["message"],
        "execution_id": child.execution_id,
    }


steps.TYPES[WorkflowConfig] = _start
children.JOINS[WorkflowConfig] = _join
