"""Ending calls from elsewhere by their tokens, and handing out tasks.

The token is the authority: whoever has it speaks for the call. Nothing here writes it down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from autopilot.accounts import audit, security
from autopilot.accounts.actors import Actor
from autopilot.accounts.kinds import SecurityEventKind
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.errors import DomainError
from autopilot.common.problems import Problem
from autopilot.common.storable import is_storable
from executions.engine.callbacks import COMPLETE, FAIL, HEARTBEAT
from executions.engine.errors import LIMIT_OUTPUT, EngineError
from executions.engine.events import CALLBACK
from executions.engine.payload import encode
from executions.engine.snapshot import Phase
from executions.engine.steps import ERROR_CODE
from executions.errors import (
    CallbackGone,
    CallbackInvalid,
    CallbackTooLarge,
    CallbackUnknown,
    CallbackUsed,
    TaskInvalid,
)
from executions.hidden.anywhere import hides_anything
from executions.hidden.marks import reveal, wrap
from executions.models import Callback, Execution
from executions.posting import post
from executions.runtime import callbacks_sql
from executions.runtime.faults import fault
from executions.tokens import Place, make_token, read_token
from workflows.actions.base import ActionError
from workflows.actions.pending import QUEUE

CALLBACKS = "/api/v1/executions/callbacks/"
ACTOR = Actor.system("callback")
MAX_CODE_CHARS = 100
MAX_MESSAGE_CHARS = 2_000
MAX_DETAILS_BYTES = 65_536
MAX_TASKS = 100
MAX_WORKER_CHARS = 200
MIN_LEASE_SECONDS, MAX_LEASE_SECONDS = 1.0, 86_400.0
DEFAULT_LEASE_SECONDS = 60.0


def complete_callback(*, token: str, output: Any = None) -> None:
    """The call has succeeded, and this is the step's output.

    Raises CallbackUnknown, CallbackUsed, CallbackGone, CallbackInvalid, CallbackTooLarge.
    """
    _check_json(output, "$.output", settings.AUTOPILOT["MAX_OUTPUT_BYTES"], CallbackTooLarge)
    _answer(token, COMPLETE, {"output": output})


def fail_callback(
    *, token: str, code: str, message: str, retryable: bool = True, details: Any = None
) -> None:
    """The call has failed, as if the action had raised `ActionError(code, message)`.

    Raises what `complete_callback` raises.
    """
    details = {} if details is None else details
    problems = []
    if not is_storable(code, MAX_CODE_CHARS) or not ERROR_CODE.fullmatch(code):
        expected = "A dotted code such as UnknownItem was expected."
        problems.append(Problem("$.code", CallbackInvalid.code, expected))
    if not is_storable(message, MAX_MESSAGE_CHARS) or not message:
        expected = f"A text of 1 to {MAX_MESSAGE_CHARS:,} characters was expected."
        problems.append(Problem("$.message", CallbackInvalid.code, expected))
    if not isinstance(details, dict):
        problems.append(Problem("$.details", CallbackInvalid.code, "An object was expected."))
    if problems:
        raise CallbackInvalid(problems[0].message, details=problems)
    _check_json(details, "$.details", MAX_DETAILS_BYTES)
    error = ActionError(code, message)
    _answer(
        token,
        FAIL,
        {
            "code": error.code[:MAX_CODE_CHARS],
            "message": message,
            "retryable": retryable,
            "details": details,
        },
    )


def heartbeat_callback(
    *, token: str, details: Any = None, lease_seconds: float = DEFAULT_LEASE_SECONDS
) -> None:
    """The call is still under way: silence counts from now, and a task's lease.

    details: plain JSON about how far it is. Raises what `complete_callback` raises.
    """
    _check_json(details, "$.details", MAX_DETAILS_BYTES)
    _check_lease(lease_seconds, CallbackInvalid)
    place = _place(token)
    with transaction.atomic():
        execution, callback = _locked(place)
        now = clock.now()
        callback.heard_at = now
        callback.details = wrap(details) if details is not None and hides_anything() else details
        _save(callback, "heard_at", "details")
        if callback.queue:
            with connection.cursor() as cursor:
                cursor.execute(_EXTEND, [lease_seconds, callback.pk])
        if execution.current_phase == Phase.OUTSIDE and _counts_silence(execution):
            _post(execution, place, {"what": HEARTBEAT})


# By the database's clock, like the lease itself.
_EXTEND = """
UPDATE executions_callback SET available_at = now() + %s * interval '1 second' WHERE id = %s
"""


def _counts_silence(execution: Execution) -> bool:
    """Whether a heartbeat moves anything: only then the execution is woken for it."""
    return execution.wait_until is not None


def _answer(token: str, what: str, said: dict[str, Any]) -> None:
    place = _place(token)
    with transaction.atomic():
        execution, callback = _locked(place)
        if hides_anything():
            said = {name: wrap(each) for name, each in said.items()}
        answer = {"what": what, **said}
        callback.answered_at, callback.answer = clock.now(), answer
        _save(callback, "answered_at", "answer")
        audit.record(
            actor=ACTOR,
            action=f"callback.{'completed' if what == COMPLETE else 'failed'}",
            target=execution,
            after={"step": execution.current_step, "attempt": place.attempt},
        )
        if execution.current_phase == Phase.OUTSIDE:
            _post(execution, place, answer)


def _place(token: str) -> Place:
    place = read_token(token)
    if place is None:
        message = "a token of a call that was not made here"
        # The path of the request would be the token.
        forged = security.Note(SecurityEventKind.TOKEN_INVALID, message=message, path=CALLBACKS)
        security.note(forged)
        raise CallbackUnknown
    return place


def _locked(place: Place) -> tuple[Execution, Callback]:
    """Both rows, the execution's under its lock. Raises if the token can't be used any more."""
    execution = (
        Execution.objects.select_for_update(no_key=True)
        .defer("input", "variables", "output", "error", "control")
        .filter(pk=place.execution_id)
        .first()
    )
    if execution is None:
        raise CallbackUnknown
    attempt = {"execution": execution, "seq": place.seq, "attempt": place.attempt}
    callback: Callback | None = Callback.objects.filter(**attempt).first()
    if callback is not None and callback.answered_at is not None:
        raise CallbackUsed
    is_closed = callback is not None and callback.closed_at is not None
    if is_closed or not _stands_at(execution, place):
        raise CallbackGone
    if callback is None:
        # The action that has given the token away has not returned yet.
        callback = Callback(step_id=execution.current_step, created_at=clock.now(), **attempt)
    return execution, callback


def _save(callback: Callback, *changed: str) -> None:
    """Only what was changed: whoever takes the task writes the rest."""
    callback.save(update_fields=changed if callback.pk else None)


def _stands_at(execution: Execution, place: Place) -> bool:
    return (
        not execution.has_ended
        and (execution.current_seq, execution.current_attempt) == (place.seq, place.attempt)
        and execution.current_phase in (Phase.CALL, Phase.OUTSIDE)
    )


def _post(execution: Execution, place: Place, data: dict[str, Any]) -> None:
    post(execution, place, data, kind=CALLBACK, actor=ACTOR.name, now=clock.now())


def _check_json(
    value: Any, path: str, limit: int, too_large: type[DomainError] = CallbackInvalid
) -> None:
    try:
        encode(value, limit=limit, what="What was sent")
    except EngineError as error:
        problem = Problem(path, error.info.code, error.info.message)
        kind = too_large if error.info.code == LIMIT_OUTPUT else CallbackInvalid
        raise kind(problem.message, details=[problem]) from None


def _check_lease(seconds: float, kind: type[DomainError]) -> None:
    if not MIN_LEASE_SECONDS <= seconds <= MAX_LEASE_SECONDS:
        message = f"A lease lasts {MIN_LEASE_SECONDS:g} to {MAX_LEASE_SECONDS:,g} seconds."
        raise kind(message, details=[Problem("$.lease_seconds", kind.code, message)])


# Tasks -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Task:
    """Work for a worker of any language; `token` ends it. lease: the how-manieth it was given."""

    token: str
    queue: str
    payload: Any
    execution_id: int
    step: str
    attempt: int
    lease: int


def take_tasks(
    *,
    queue: str,
    actor: Actor,
    limit: int = 1,
    lease_seconds: float = DEFAULT_LEASE_SECONDS,
    worker: str = "",
) -> list[Task]:
    """Take up to `limit` tasks off a queue, those that have waited longest first.

    Each is nobody else's for the time of the lease; a heartbeat makes that longer. After it, the
    task is there for others again. Raises PermissionDenied and TaskInvalid.
    """
    actor.require(Permission.TASK_WORK)
    problems = []
    if not isinstance(queue, str) or not QUEUE.fullmatch(queue):
        expected = "1 to 64 letters, digits, _, . and - are the name of a queue."
        problems.append(Problem("$.queue", TaskInvalid.code, expected))
    if not 1 <= limit <= MAX_TASKS:
        expected = f"One call takes 1 to {MAX_TASKS} tasks."
        problems.append(Problem("$.limit", TaskInvalid.code, expected))
    if not is_storable(worker, MAX_WORKER_CHARS):
        expected = f"A text of at most {MAX_WORKER_CHARS} characters was expected."
        problems.append(Problem("$.worker", TaskInvalid.code, expected))
    if problems:
        raise TaskInvalid(problems[0].message, details=problems)
    _check_lease(lease_seconds, TaskInvalid)
    parameters: dict[str, str | int | float] = {
        "queue": queue,
        "limit": limit,
        "lease": lease_seconds,
        "worker": worker or actor.name[:MAX_WORKER_CHARS],
    }
    with connection.cursor() as cursor:
        cursor.execute(callbacks_sql.TAKE, parameters)
        taken = [row[0] for row in cursor.fetchall()]
    fault("tasks.after_taking")
    if not taken:
        return []
    rows = Callback.objects.filter(pk__in=taken).order_by("created_at", "pk")
    return [
        Task(
            token=make_token(Place(row.execution_id, row.seq, row.attempt)),
            queue=row.queue,
            payload=reveal(row.payload),
            execution_id=row.execution_id,
            step=row.step_id,
            attempt=row.attempt,
            lease=row.leases,
        )
        for row in rows
    ]
