"""`state.get`, `state.set`: values that outlive an execution; `workflow.start`, `signal.send`."""

from __future__ import annotations

from typing import Annotated, Any

from django.db import connection
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from autopilot.accounts.actors import Actor
from autopilot.common.errors import DomainError
from executions.engine.errors import EngineError
from executions.models import Execution
from executions.runtime.subflows import check_depth
from executions.services import start_execution
from executions.signalling import send_signal
from executions.values import (
    MAX_KEY_CHARS,
    Scope,
    VersionConflict,
    get_value,
    scope_name,
    set_value,
)
from workflows.actions import Context, action
from workflows.actions.base import BuiltinError
from workflows.models import Workflow

Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY_CHARS, pattern=r"^[^\x00-\x1f\x7f]+$")]


class StateGetParams(BaseModel):
    """key: whose value; default: the value when there is none."""

    model_config = ConfigDict(extra="forbid")

    key: Key
    scope: Scope = Scope.WORKFLOW
    default: JsonValue = None


class StateSetParams(BaseModel):
    """if_version: write only if the value is at this version; 0 = only if there is none."""

    model_config = ConfigDict(extra="forbid")

    key: Key
    value: JsonValue
    scope: Scope = Scope.WORKFLOW
    if_version: int | None = Field(default=None, ge=0, le=2**62)


class WorkflowStartParams(BaseModel):
    """workflow: the slug; version: an exact one or a range; default: the live one."""

    model_config = ConfigDict(extra="forbid")

    workflow: Annotated[str, Field(min_length=1, max_length=200)]
    input: JsonValue = None
    version: Annotated[str, Field(max_length=256)] | None = None
    correlation_id: Annotated[str, Field(max_length=200)] = ""
    labels: dict[str, str] = Field(default_factory=dict)


class SignalSendParams(BaseModel):
    """execution: the id of the one it is for; without it the correlation says whom it is for."""

    model_config = ConfigDict(extra="forbid")

    signal: Annotated[str, Field(min_length=1, max_length=200)]
    execution: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    correlation: Annotated[str, Field(max_length=200)] | int | float = ""
    payload: JsonValue = None


@action("state.get", schema=StateGetParams, idempotent=True)
def state_get(params: StateGetParams, context: Context) -> dict[str, Any]:
    """Read a value that outlives executions."""
    kept = get_value(scope=scope_name(params.scope, context.execution_id), key=params.key)
    value = kept.value if kept.version else params.default
    return {"value": value, "version": kept.version, "found": kept.version > 0}


@action("state.set", schema=StateSetParams, idempotent=True)
def state_set(params: StateSetParams, context: Context) -> dict[str, Any]:
    """Write a value that outlives executions."""
    try:
        version = set_value(
            scope=scope_name(params.scope, context.execution_id),
            key=params.key,
            value=context.conceal(params.value),
            if_version=params.if_version,
            written_by=context.idempotency_key,
        )
    except VersionConflict as error:
        # Trying the same again can't help: the value has to be read again first.
        details = {"expected": params.if_version, "found": error.found}
        raise BuiltinError(error.code, error.message, retryable=False, details=details) from None
    except EngineError as error:
        info = error.info
        raise BuiltinError(info.code, info.message, retryable=False) from None
    return {"version": version}


@action("workflow.start", schema=WorkflowStartParams, idempotent=True)
def workflow_start(params: WorkflowStartParams, context: Context) -> dict[str, Any]:
    """Start another workflow and go on without waiting for it."""
    workflow = Workflow.objects.filter(slug=params.workflow).first()
    if workflow is None:
        message = f"There is no workflow with the slug {params.workflow!r}."
        raise BuiltinError("workflow.unknown", message, retryable=False)
    try:
        with connection.cursor() as opened:
            check_depth(opened, context.execution_id, workflow.slug)
    except EngineError as error:
        info = error.info
        raise BuiltinError(info.code, info.message, retryable=False, details=info.details) from None
    starters = Execution.objects.only("pk", "started_by_id", "is_test")
    try:
        # The key is this step's own: a repeated call finds what the first one has started.
        started = start_execution(
            workflow=workflow,
            actor=Actor.system(f"execution {context.execution_id}"),
            input=context.conceal(params.input),
            version=params.version,
            idempotency_key=context.idempotency_key,
            # What they are found by is shown everywhere.
            correlation_id=str(context.conceal(params.correlation_id)),
            labels={name: str(context.conceal(text)) for name, text in params.labels.items()},
            starter=starters.filter(pk=context.execution_id).first(),
        )
    except DomainError as error:
        details = {"problems": [each.as_dict() for each in error.details]}
        raise BuiltinError(
            "workflow.refused", error.message, retryable=False, details=details
        ) from None
    return {"execution_id": started.execution.pk, "version": started.execution.version.version}


@action("signal.send", schema=SignalSendParams, idempotent=True)
def signal_send(params: SignalSendParams, context: Context) -> dict[str, Any]:
    """Send a signal to an execution, or to whichever waits for it."""
    target = None
    if params.execution is not None:
        target = Execution.objects.filter(pk=params.execution).first()
        if target is None:
            message = f"There is no execution {params.execution}."
            raise BuiltinError("signal.no_execution", message, retryable=False)
    try:
        # The key is this step's own: a repeated call finds the signal that the first one has sent.
        sent = send_signal(
            name=params.signal,
            actor=Actor.system(f"execution {context.execution_id}"),
            payload=context.conceal(params.payload),
            execution=target,
            correlation=params.correlation,
            idempotency_key=context.idempotency_key,
        )
    except DomainError as error:
        details = {"problems": [each.as_dict() for each in error.details]}
        raise BuiltinError(
            "signal.not_sent", error.message, retryable=False, details=details
        ) from None
    return {"signal_id": sent.signal.pk}
