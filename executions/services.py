"""The one door: everything that starts an execution or asks something of one."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from django.conf import settings
from django.db import IntegrityError, transaction

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.problems import Problem
from executions.engine.errors import LIMIT_INPUT, VALIDATION_INPUT, EngineError
from executions.engine.events import Verb
from executions.engine.payload import encode
from executions.engine.states import Reason, State
from executions.errors import (
    ExecutionEnded,
    ExecutionNotFound,
    IdempotencyConflict,
    InputInvalid,
    InputTooLarge,
    StartInvalid,
    TransitionRefused,
)
from executions.models import Execution, InboxMessage, Priority, StateTransition
from executions.runtime import dispatch
from workflows.compiled import compiled_version
from workflows.models import Workflow, WorkflowVersion
from workflows.services import resolve_version

MAX_KEY_CHARS = 200
MAX_LABELS = 20
MAX_LABEL_CHARS = 100
MAX_REASON_CHARS = 200


class Started(NamedTuple):
    """An accepted execution; `created` is False if the same request had been accepted before."""

    execution: Execution
    created: bool


def start_execution(
    *,
    workflow: Workflow,
    actor: Actor,
    input: Any = None,
    version: str | None = None,
    idempotency_key: str = "",
    priority: int = Priority.NORMAL,
    queue: str | None = None,
    start_at: datetime | None = None,
    labels: dict[str, str] | None = None,
    correlation_id: str = "",
) -> Started:
    """Accept one execution of a published version of `workflow`.

    version: an exact version; None = the latest published one. start_at: not before this moment.
    queue: None = the first configured one.
    idempotency_key: the same key by the same actor answers the first execution again.
    Commits or rolls back with the caller's transaction; workers hear of it after the commit.
    Raises PermissionDenied, InputInvalid, InputTooLarge, StartInvalid, IdempotencyConflict, and
    what `resolve_version` raises.
    """
    actor.require(Permission.EXECUTION_START)
    labels = labels or {}
    data = {} if input is None else input
    queue = queue or settings.AUTOPILOT_QUEUES[0]
    _check_options(priority, queue, start_at, labels, correlation_id, idempotency_key)
    _check_storable(data)
    moment = start_at.isoformat() if start_at else None
    request = [version, data, int(priority), queue, moment, labels, correlation_id]
    now = clock.now()
    is_later = start_at is not None and start_at > now
    execution = Execution(
        workflow=workflow,
        reason=(Reason.SCHEDULED if is_later else Reason.QUEUED).value,
        input=data,
        queue=queue,
        priority=priority,
        runnable_at=start_at if is_later else now,
        started_by_id=actor.id,
        principal=f"{actor.kind.value}:{actor.id or actor.name}"[:150],
        idempotency_key=idempotency_key,
        request_hash=_hash(request) if idempotency_key else "",
        correlation_id=correlation_id,
        labels=labels,
        created_at=now,
        start_at=start_at,
        transition_seq=1,
    )
    # Before anything that may have changed since: a repeated request gets the same answer.
    earlier = _earlier(execution)
    if earlier is not None:
        return Started(earlier, created=False)
    execution.version = resolve_version(workflow=workflow, version=version)
    _check_schema(execution.version, data)
    return _accept(execution, actor)


def _accept(execution: Execution, actor: Actor) -> Started:
    """Insert the execution with all that goes with it, unless its key has been used before."""
    with transaction.atomic():
        earlier = _insert(execution)
        if earlier is not None:
            return Started(earlier, created=False)
        _note(execution, source="", actor=actor, now=execution.created_at)
        audit.record(
            actor=actor,
            action="execution.started",
            target=execution,
            after={"workflow": execution.workflow.slug, "version": execution.version.version},
        )
        if execution.reason == Reason.QUEUED:
            transaction.on_commit(partial(dispatch.ring, execution.queue), robust=True)
    return Started(execution, created=True)


def _insert(execution: Execution) -> Execution | None:
    """Insert the row; answers the one that was first if two starts came with one key at once."""
    if not execution.idempotency_key:
        execution.save(force_insert=True)
        return None
    try:
        with transaction.atomic():
            execution.save(force_insert=True)
    except IntegrityError:
        earlier = _earlier(execution)
        if earlier is None:
            raise
        return earlier
    return None


def pause_execution(*, execution: Execution, actor: Actor, reason: str = "") -> Execution:
    """Ask an execution to stop at its next step boundary."""
    return _ask(execution, Verb.PAUSE, actor, reason)


def resume_execution(*, execution: Execution, actor: Actor, reason: str = "") -> Execution:
    """Ask a paused execution to go on."""
    return _ask(execution, Verb.RESUME, actor, reason)


def cancel_execution(*, execution: Execution, actor: Actor, reason: str = "") -> Execution:
    """Ask an execution to end without finishing; a step under way is interrupted."""
    return _ask(execution, Verb.CANCEL, actor, reason)


def pending_verbs(execution: Execution) -> list[str]:
    """What has been asked of the execution and not been done yet, oldest first."""
    if execution.inbox_seq <= execution.seen_seq:
        return []
    messages = InboxMessage.objects.filter(execution=execution, seq__gt=execution.seen_seq)
    return list(messages.order_by("seq").values_list("kind", flat=True))


def _ask(execution: Execution, verb: Verb, actor: Actor, reason: str) -> Execution:
    """Put a wish into the inbox; PAUSED -> RESUMED is taken at once if nobody owns the row."""
    actor.require(Permission.EXECUTION_CONTROL)
    reason = _checked_reason(reason)
    with transaction.atomic():
        try:
            locked: Execution = Execution.objects.select_for_update(no_key=True).get(
                pk=execution.pk
            )
        except Execution.DoesNotExist:
            raise ExecutionNotFound from None
        before = locked.state
        if not _is_new_wish(locked, verb):
            return locked
        now = clock.now()
        if verb is Verb.RESUME and locked.state == State.PAUSED and locked.owner_id is None:
            _resume_now(locked, actor, reason, now)
        else:
            _post(locked, verb, actor, reason, now)
        audit.record(
            actor=actor,
            action=f"execution.{verb.value}_requested",
            target=locked,
            before={"state": before},
            after={"state": locked.state, "reason": reason},
        )
        if locked.owner_id is None:
            transaction.on_commit(partial(dispatch.ring, locked.queue), robust=True)
        else:
            transaction.on_commit(partial(dispatch.wake, [locked.pk]), robust=True)
    return locked


def _is_new_wish(execution: Execution, verb: Verb) -> bool:
    """False if the same is under way already. Raises what explains why it can't be asked."""
    if execution.has_ended:
        raise ExecutionEnded(f"The execution has ended: it is {execution.state}.")
    pending = pending_verbs(execution)
    if (pending and pending[-1] == verb) or (Verb.CANCEL in pending and verb is Verb.CANCEL):
        return False
    if Verb.CANCEL in pending:
        raise TransitionRefused("The execution is being cancelled.")
    will_be_paused = pending[-1] == Verb.PAUSE if pending else execution.state == State.PAUSED
    if verb is Verb.PAUSE and will_be_paused:
        raise TransitionRefused("The execution is paused already.")
    if verb is Verb.RESUME and not will_be_paused:
        raise TransitionRefused(
            f"The execution is {execution.state}; only a paused one can be resumed."
        )
    return True


def _resume_now(execution: Execution, actor: Actor, reason: str, now: datetime) -> None:
    source = execution.state
    # The generated FSM method: it checks the table and the condition.
    execution.resume(reason=reason or Reason.OPERATOR.value)  # type: ignore[attr-defined]
    execution.runnable_at = now
    execution.transition_seq += 1
    execution.paused_at = None
    execution.save(update_fields=["state", "reason", "runnable_at", "transition_seq", "paused_at"])
    _note(execution, source=source, actor=actor, now=now)


def _post(execution: Execution, verb: Verb, actor: Actor, reason: str, now: datetime) -> None:
    """Insert the message and raise `inbox_seq`; ready at once, but only if nobody owns the row."""
    execution.inbox_seq += 1
    if execution.owner_id is None:
        execution.runnable_at = now
    execution.save(update_fields=["inbox_seq", "runnable_at"])
    InboxMessage.objects.create(
        execution=execution,
        seq=execution.inbox_seq,
        kind=verb.value,
        payload={"reason": reason},
        actor=actor.name[:200],
        created_at=now,
    )


def _note(execution: Execution, *, source: str, actor: Actor, now: datetime) -> None:
    StateTransition.objects.create(
        execution=execution,
        seq=execution.transition_seq,
        source=source,
        target=execution.state,
        reason=execution.reason,
        actor=actor.name[:200],
        at=now,
    )


def _earlier(execution: Execution) -> Execution | None:
    """The execution that was accepted for this key before; raises if it was another request."""
    if not execution.idempotency_key:
        return None
    earlier: Execution | None = Execution.objects.filter(
        workflow_id=execution.workflow_id,
        principal=execution.principal,
        idempotency_key=execution.idempotency_key,
    ).first()
    if earlier is not None and earlier.request_hash != execution.request_hash:
        message = (
            f"The idempotency key was used for execution {earlier.pk}, with a different request."
        )
        raise IdempotencyConflict(
            message, details=[Problem("$.idempotency_key", IdempotencyConflict.code, message)]
        )
    return earlier


def _hash(parts: list[Any]) -> str:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _check_storable(data: Any) -> None:
    try:
        encode(
            data,
            limit=settings.AUTOPILOT["MAX_INPUT_BYTES"],
            what="The input",
            code=VALIDATION_INPUT,
            size_code=LIMIT_INPUT,
        )
    except EngineError as error:
        problem = Problem("$.input", error.info.code, error.info.message)
        refusal = InputTooLarge if error.info.code == LIMIT_INPUT else InputInvalid
        raise refusal(error.info.message, details=[problem]) from None


def _check_schema(version: WorkflowVersion, data: Any) -> None:
    schema = compiled_version(version.pk).input_schema
    problems = schema.problems(data, root="$.input") if schema else []
    if problems:
        raise InputInvalid(details=problems)


def _check_options(
    priority: int,
    queue: str,
    start_at: datetime | None,
    labels: dict[str, str],
    correlation_id: str,
    idempotency_key: str,
) -> None:
    problems: list[Problem] = []

    def wrong(path: str, message: str) -> None:
        problems.append(Problem(path, "invalid", message))

    if priority not in Priority.values:
        wrong("$.priority", "The priority is 0 (low), 1 (normal), 2 (high) or 3 (urgent).")
    if queue not in settings.AUTOPILOT_QUEUES:
        known = ", ".join(settings.AUTOPILOT_QUEUES)
        wrong("$.queue", f"There is no queue {queue!r:.80}; the queues are {known}.")
    if start_at is not None and start_at.tzinfo is None:
        wrong("$.start_at", "The moment needs a time zone, such as 2030-01-31T12:00:00Z.")
    elif start_at is not None and not 1970 < start_at.year < 9000:
        wrong("$.start_at", "The moment is out of range.")
    if not _are_labels(labels):
        wrong(
            "$.labels",
            f"Labels are at most {MAX_LABELS} names with texts of at most {MAX_LABEL_CHARS} "
            "characters.",
        )
    for path, value in (
        ("$.correlation_id", correlation_id),
        ("$.idempotency_key", idempotency_key),
    ):
        if not _is_storable(value, MAX_KEY_CHARS):
            wrong(path, f"A text of at most {MAX_KEY_CHARS} characters was expected.")
    if problems:
        raise StartInvalid(problems[0].message, details=problems)


def _are_labels(labels: Any) -> bool:
    return (
        isinstance(labels, dict)
        and len(labels) <= MAX_LABELS
        and all(
            _is_storable(name, MAX_LABEL_CHARS) and _is_storable(value, MAX_LABEL_CHARS)
            for name, value in labels.items()
        )
    )


def _is_storable(value: Any, limit: int) -> bool:
    """A text that PostgreSQL takes: no NUL, no half of a surrogate pair."""
    return (
        isinstance(value, str)
        and len(value) <= limit
        and "\x00" not in value
        and not any("\ud800" <= char <= "\udfff" for char in value)
    )


def _checked_reason(reason: str) -> str:
    if not _is_storable(reason, MAX_REASON_CHARS):
        message = f"The reason is a text of at most {MAX_REASON_CHARS} characters."
        raise StartInvalid(message, details=[Problem("$.reason", "invalid", message)])
    return reason
