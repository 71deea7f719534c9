"""What a `workflow` step starts: which version, whether it takes the input, how deep that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.conf import settings

from autopilot.common.crypto import NoEncryptionKey, has_key
from autopilot.common.errors import DomainError
from executions.engine.children import takes_up
from executions.engine.commands import Call
from executions.engine.errors import (
    CHILD_NO_VERSION,
    CHILD_NOT_FOUND,
    EXPRESSION,
    LIMIT_CONCURRENCY,
    LIMIT_DEPTH,
    LIMIT_INPUT,
    VALIDATION_INPUT,
    EngineError,
    ErrorInfo,
)
from executions.engine.events import CallFailed, ChildFound
from executions.engine.payload import NULL, Payload, encode
from executions.engine.slots import Slot, slot_of
from executions.engine.snapshot import Position, Snapshot, scope_of
from executions.hidden.veil import Veil
from executions.holding import refuse_start
from executions.models import Execution
from executions.runtime.children_sql import CHAIN, CORRELATION, LAST_CHILD, NEW_ID, SLOTS_ABOVE
from executions.runtime.rows import cursor
from workflows.compiled import compiled_version
from workflows.definition.compiled import WorkflowConfig
from workflows.definition.expressions import ExpressionError
from workflows.models import Workflow, WorkflowVersion
from workflows.routing import Ticket, route_of
from workflows.services import version_in_range

SHOWN_OF_CHAIN = 6


def find(snapshot: Snapshot, call: Call, veil: Veil) -> ChildFound | CallFailed:
    """Look for what the current step starts. Reads the database; errors of the step are answers.

    veil: learns what the version that is found hides of its input.
    """
    position = call.position
    step = snapshot.definition.steps[position.step_id]
    config = step.config
    assert isinstance(config, WorkflowConfig)
    known = _earlier(snapshot, position) if config.wait else None
    if known is not None:
        return ChildFound(known, NULL)
    params: Payload = NULL
    try:
        data = _input(snapshot, config, position)
        params = _params(config, data, None)
        with cursor() as opened:
            check_depth(opened, snapshot.execution_id, config.workflow)
        version = _version(config, snapshot, position, data)
        if not config.wait:
            _check_switches(snapshot, version.workflow)
        params = _params(config, data, version.version)
        return _found(snapshot, call, version, data, params, veil)
    except EngineError as error:
        return CallFailed(error.info, params)


def _found(
    snapshot: Snapshot,
    call: Call,
    version: WorkflowVersion,
    data: Payload,
    params: Payload,
    veil: Veil,
) -> ChildFound:
    config = snapshot.definition.steps[call.position.step_id].config
    assert isinstance(config, WorkflowConfig)
    try:
        definition = compiled_version(version.pk)
    except DomainError as error:
        raise EngineError(ErrorInfo(CHILD_NO_VERSION, error.message)) from None
    hides = definition.redaction.input
    if definition.redaction and not has_key():
        message = f"{config.workflow} {version.version} hides values, and there is no key for that."
        raise EngineError(ErrorInfo(NoEncryptionKey.code, message))
    veil.learn_at(data.value, hides)
    schema = definition.input_schema
    problems = schema.problems(data.value, root="$.input") if schema else []
    if problems:
        message = (
            f"The input breaks the input schema of {config.workflow} {version.version} at "
            f"{problems[0].path}: {problems[0].message}"
        )
        details = {"problems": [each.as_dict() for each in problems]}
        raise EngineError(ErrorInfo(VALIDATION_INPUT, message, details=details))
    slot = slot_of(definition, data.value, call.position.started_at)
    if slot is not None and config.wait:
        _check_slot(snapshot, version.workflow_id, replace(slot, key=veil.disguise(slot.key)))
    new_id = 0 if config.wait else _new_id()
    return ChildFound(version.pk, data, new_id, params, slot, hides)


def _earlier(snapshot: Snapshot, position: Position) -> int | None:
    """The version of the child that this attempt keeps, or goes on with, instead of a new one."""
    if not position.base:
        return None
    with cursor() as opened:
        opened.execute(
            LAST_CHILD,
            {"parent": snapshot.execution_id, "step": position.step_id, "base": position.base},
        )
        row = opened.fetchone()
    if row is None:
        return None
    version, state = row
    is_kept = state == "completed" or (state == "failed" and takes_up(position))
    return int(version) if is_kept else None


def _input(snapshot: Snapshot, config: WorkflowConfig, position: Position) -> Payload:
    value: Any = {}
    if config.input is not None:
        try:
            value = config.input.render(scope_of(snapshot), now=position.started_at)
        except ExpressionError as error:
            details = {"expression": error.source, "path": f"input{error.path}"}
            raise EngineError(ErrorInfo(EXPRESSION, error.message, details=details)) from None
    return encode(
        value,
        limit=snapshot.max_input_bytes,
        what=f"The input of step `{position.step_id}`",
        code=VALIDATION_INPUT,
        size_code=LIMIT_INPUT,
    )


def _params(config: WorkflowConfig, data: Payload, version: str | None) -> Payload:
    shown: Mapping[str, Any] = {
        "workflow": config.workflow,
        "version": version,
        "input": data.value,
    }
    # A little more than the input, which has been measured.
    return encode(dict(shown), limit=settings.AUTOPILOT["MAX_INPUT_BYTES"] + 1_000, what="It")


def _version(
    config: WorkflowConfig, snapshot: Snapshot, position: Position, data: Payload
) -> WorkflowVersion:
    workflow = Workflow.objects.with_rollout().filter(slug=config.workflow).first()
    if workflow is None:
        message = f"There is no workflow with the slug {config.workflow}."
        raise EngineError(ErrorInfo(CHILD_NOT_FOUND, message, retryable=True))
    has_rollout = workflow.has_rollout  # type: ignore[attr-defined]
    route = route_of(workflow) if has_rollout else None
    candidate = route.choose(_ticket(snapshot, position, data)) if route else None
    version = version_in_range(workflow=workflow, range=config.range, candidate=candidate)
    if version is None:
        wanted = f"in the range {config.range.text}" if config.range else "at all"
        message = f"The workflow {config.workflow} has no published version {wanted}."
        raise EngineError(ErrorInfo(CHILD_NO_VERSION, message, retryable=True))
    return version


def _ticket(snapshot: Snapshot, position: Position, data: Payload) -> Ticket:
    """A child has the correlation of what it is part of; without one, this step has one of its own,
    so that it decides alike each time."""
    with cursor() as opened:
        opened.execute(CORRELATION, {"id": snapshot.execution_id})
        (correlation,) = opened.fetchone()
    here = f"{snapshot.execution_id}:{position.step_id}"
    return Ticket(data.value, correlation, otherwise=here)


def _check_switches(snapshot: Snapshot, workflow: Workflow) -> None:
    """What is let go is a new start; a child is part of what was accepted before."""
    rows = Execution.objects.filter(pk=snapshot.execution_id)
    try:
        refuse_start(workflow=workflow, queue=rows.values_list("queue", flat=True).get())
    except DomainError as error:
        raise EngineError(ErrorInfo(error.code, error.message, retryable=True)) from None


def check_depth(opened: Any, execution_id: int, slug: str) -> None:
    """Workflows that start each other must not do so for ever, whether they wait or not.

    opened: a cursor. Raises EngineError `limit.depth` if this execution can't start one more.
    """
    limit: int = settings.AUTOPILOT["MAX_DEPTH"]
    opened.execute(CHAIN, {"id": execution_id, "limit": limit + 1})
    chain = [row[0] for row in opened.fetchall()]
    if len(chain) < limit:
        return
    names = [*chain, slug]
    half = SHOWN_OF_CHAIN // 2
    shown = names if len(names) <= SHOWN_OF_CHAIN else [*names[:half], "…", *names[-half:]]
    message = (
        f"Workflows may start each other {limit} deep (AUTOPILOT_MAX_DEPTH): {' → '.join(shown)}."
    )
    raise EngineError(ErrorInfo(LIMIT_DEPTH, message, details={"chain": names}))


def _check_slot(snapshot: Snapshot, workflow_id: int, slot: Slot) -> None:
    """A child can't have a slot as long as those that wait for it hold all there are."""
    given = {"id": snapshot.execution_id, "key": slot.row_key(workflow_id)}
    with cursor() as opened:
        opened.execute(SLOTS_ABOVE, given)
        (held,) = opened.fetchone()
    if held < slot.limit:
        return
    slots = "the only slot" if slot.limit == 1 else f"all {slot.limit} slots"
    message = (
        f"The child would wait for ever: {slots} of the concurrency key “{slot.key}” "
        f"{'is' if slot.limit == 1 else 'are'} held by what waits for it."
    )
    raise EngineError(ErrorInfo(LIMIT_CONCURRENCY, message))


def _new_id() -> int:
    with cursor() as opened:
        opened.execute(NEW_ID)
        return int(opened.fetchone()[0])
