"""The one door: everything that starts an execution or asks something of one."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime
from functools import partial
from typing import Any

from django.db import connection, transaction

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common.committed import after_commit
from executions.accepting import MAX_KEY_CHARS, Started, check_input, earlier_of, prepare
from executions.approvals.deciding import Decided, decide
from executions.approvals.handling import claim, reassign, release
from executions.asking import MAX_REASON_CHARS, ask
from executions.engine.events import Verb
from executions.engine.states import Reason
from executions.errors import ExecutionNotFound
from executions.fairness import get_in
from executions.holding import refuse_start
from executions.inserting import insert_started
from executions.models import Execution, Priority
from executions.noting import transition_of
from executions.reads import pending_of
from executions.rerunning import rerun_execution
from executions.routing import choose
from executions.runtime import dispatch
from executions.slots import counts_at_once, insert_with_slot, note_slot, settle_later
from executions.standing import standing_of
from workflows.models import Workflow
from workflows.services import resolve_version


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
    starter: Execution | None = None,
) -> Started:
    """Accept one execution of a published version of `workflow`.

    version: an exact version, or a range such as `^1.2` of which the highest published one runs;
    None = the live one, or what a rollout gives this start. start_at: not before this moment.
    queue: None = the first configured one.
    idempotency_key: the same key by the same actor answers the first execution again.
    starter: the execution a step of which asks for it, on behalf of whoever had started that.
    Commits or rolls back with the caller's transaction; workers hear of it after the commit.
    Raises PermissionDenied, InputInvalid, InputTooLarge, StartInvalid, IdempotencyConflict,
    ConcurrencyReached, WorkflowPaused, QueuePaused, NoEncryptionKey, and what
    `resolve_version` raises.
    """
    actor.require(Permission.EXECUTION_START)
    execution = prepare(
        workflow=workflow,
        actor=actor,
        input=input,
        version=version,
        idempotency_key=idempotency_key,
        priority=priority,
        queue=queue,
        start_at=start_at,
        labels=labels,
        correlation_id=correlation_id,
    )
    # Before anything that may have changed since: a repeated request gets the same answer.
    earlier = earlier_of(execution)
    if earlier is not None:
        return Started(earlier, created=False)
    line, live, route, candidate = standing_of(execution)
    if line.has_holds:
        refuse_start(workflow=workflow, queue=execution.queue)
    if starter is not None:
        execution.started_by_execution_id = starter.pk
        execution.started_by_id, execution.is_test = starter.started_by_id, starter.is_test
    given = choose(route, execution)
    chosen = live if given is None else candidate
    if version is not None or chosen is None:
        chosen = resolve_version(workflow=workflow, version=version, candidate=given)
    execution.version = chosen
    note_slot(execution, check_input(execution))
    get_in(execution, line)
    return _accept(execution, actor)


def _accept(execution: Execution, actor: Actor) -> Started:
    """Insert the execution with all that goes with it, unless its key has been used before."""
    first = transition_of(execution, source="", actor=actor, now=execution.created_at)
    entry = audit.entry_of(
        actor=actor,
        action="execution.started",
        target=execution,
        after={"workflow": execution.workflow.slug, "version": execution.version.version},
    )
    # One statement is a transaction; inside of somebody's it must not spoil theirs if it fails.
    is_alone = not (counts_at_once(execution) or connection.in_atomic_block)
    with nullcontext() if is_alone else transaction.atomic():
        earlier = insert_with_slot(execution, partial(insert_started, first=first, entry=entry))
        if earlier is not None:
            return Started(earlier, created=False)
        if execution.reason == Reason.QUEUED:
            after_commit(dispatch.ring, execution.queue, execution.pk)
        settle_later([execution])
    return Started(execution, created=True)


def pause_execution(*, execution: Execution, actor: Actor, reason: str = "") -> Execution:
    """Ask an execution to stop at its next step boundary."""
    return _ask(execution, Verb.PAUSE, actor, reason)


def resume_execution(*, execution: Execution, actor: Actor, reason: str = "") -> Execution:
    """Ask a paused execution to go on."""
    return _ask(execution, Verb.RESUME, actor, reason)


def cancel_execution(
    *, execution: Execution, actor: Actor, reason: str = "", compensate: bool = False
) -> Execution:
    """Ask an execution to end without finishing; a step under way is interrupted.

    compensate: the steps that have completed are undone first, the last one first.
    """
    return _ask(execution, Verb.CANCEL, actor, reason, compensate=compensate)


def compensate_execution(*, execution: Execution, actor: Actor, reason: str = "") -> Execution:
    """Have a failed execution undo the steps that completed and have not been undone.

    Asked again after some could not be undone, it calls those again. Raises NothingToUndo.
    """
    return _ask(execution, Verb.COMPENSATE, actor, reason)


def retry_execution(*, execution: Execution, actor: Actor, reason: str = "") -> Execution:
    """Have a failed execution go on at the step it failed at, with a further attempt.

    Its time limits begin anew. An item of a map can be retried as long as the map waits for it;
    after that the execution around it is the one to retry, and keeps what succeeded.
    """
    return _ask(execution, Verb.RETRY, actor, reason)


def skip_step(
    *, execution: Execution, actor: Actor, reason: str = "", output: Any = None
) -> Execution:
    """Have the current step of a waiting, paused or failed execution recorded as skipped.

    output: what the step is to count as having come to, for what follows; None = nothing.
    """
    return _ask(execution, Verb.SKIP, actor, reason, output)


def pending_verbs(execution: Execution) -> list[str]:
    """What has been asked of the execution and not been done yet, oldest first."""
    return pending_of([execution]).get(execution.pk, [])


def _ask(
    execution: Execution,
    verb: Verb,
    actor: Actor,
    reason: str,
    output: Any = None,
    *,
    compensate: bool = False,
) -> Execution:
    pk = execution.pk
    answer = ask(
        ids=[pk],
        verb=verb,
        actor=actor,
        reason=reason,
        output=output,
        compensate=compensate,
        with_data=True,
    )[pk]
    if answer.execution is None:
        raise answer.refusal or ExecutionNotFound
    return answer.execution


__all__ = [
    "MAX_KEY_CHARS",
    "MAX_REASON_CHARS",
    "Decided",
    "Started",
    "cancel_execution",
    "claim",
    "compensate_execution",
    "decide",
    "pause_execution",
    "pending_verbs",
    "reassign",
    "release",
    "rerun_execution",
    "resume_execution",
    "retry_execution",
    "skip_step",
    "start_execution",
]
