"""Asking executions for something: of one or of hundreds, in the same few statements.

Everybody's wish goes through `ask`: permission, lock, what follows from it, and audit are here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models import F

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.errors import DomainError
from autopilot.common.problems import Problem
from autopilot.common.storable import is_storable
from executions.engine.events import Verb
from executions.engine.states import Reason, State
from executions.errors import ExecutionEnded, ExecutionNotFound, StartInvalid, TransitionRefused
from executions.models import Execution, InboxMessage, StateTransition
from executions.reads import pending_of
from executions.runtime import dispatch

MAX_REASON_CHARS = 200
_DATA = ("input", "variables", "output", "error")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a wish: the execution as it is now, or why it was refused."""

    execution: Execution | None = None
    refusal: DomainError | None = None


def ask(
    *, ids: Collection[int], verb: Verb, actor: Actor, reason: str = "", with_data: bool = False
) -> dict[int, Answer]:
    """Put a wish into the inbox of each of these executions; answers every id, in one transaction.

    PAUSED -> RESUMED is taken at once where nobody owns the row. What can't be asked of one is its
    answer and stops no other. with_data: also read input, output, variables and error.
    Raises PermissionDenied, and StartInvalid for a reason that can't be kept.
    """
    actor.require(Permission.EXECUTION_CONTROL)
    _check_reason(reason)
    missing = ExecutionNotFound()
    answers = {pk: Answer(refusal=missing) for pk in ids}
    with transaction.atomic():
        # In the order of ids, as everybody locks them.
        rows = Execution.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")
        locked: list[Execution] = list(rows if with_data else rows.defer(*_DATA))
        pending = pending_of(locked)
        before = {row.pk: row.state for row in locked}
        wanted: list[Execution] = []
        for row in locked:
            try:
                if _is_new_wish(row, verb, pending.get(row.pk, [])):
                    wanted.append(row)
            except DomainError as refusal:
                answers[row.pk] = Answer(refusal=refusal)
            else:
                answers[row.pk] = Answer(row)
        _carry_out(wanted, verb, actor, reason)
        audit.record_many(
            actor=actor,
            action=f"execution.{verb.value}_requested",
            changes=[
                (row, {"state": before[row.pk]}, {"state": row.state, "reason": reason})
                for row in wanted
            ],
        )
        _tell(wanted)
    return answers


def _is_new_wish(execution: Execution, verb: Verb, pending: Sequence[str]) -> bool:
    """False if the same is under way already. Raises what explains why it can't be asked."""
    if execution.has_ended:
        raise ExecutionEnded(f"The execution has ended: it is {execution.state}.")
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


def _carry_out(rows: Sequence[Execution], verb: Verb, actor: Actor, reason: str) -> None:
    now = clock.now()
    at_once = [
        row
        for row in rows
        if verb is Verb.RESUME and row.state == State.PAUSED and row.owner_id is None
    ]
    taken = {row.pk for row in at_once}
    _resume_now(at_once, actor, reason, now)
    _post([row for row in rows if row.pk not in taken], verb, actor, reason, now)


def _resume_now(rows: Sequence[Execution], actor: Actor, reason: str, now: datetime) -> None:
    if not rows:
        return
    notes = []
    for row in rows:
        source = row.state
        # The generated FSM method: it checks the table and the condition.
        row.resume(reason=reason or Reason.OPERATOR.value)  # type: ignore[attr-defined]
        row.runnable_at = now
        row.transition_seq += 1
        notes.append(transition_of(row, source=source, actor=actor, now=now))
    # All of them went the same way, so one statement says it; the database checks it again.
    # `paused_at` stays: whoever goes on needs it to move the deadlines on.
    Execution.objects.filter(pk__in=[row.pk for row in rows]).update(
        state=rows[0].state,
        reason=rows[0].reason,
        runnable_at=now,
        transition_seq=F("transition_seq") + 1,
    )
    StateTransition.objects.bulk_create(notes)


def _post(rows: Sequence[Execution], verb: Verb, actor: Actor, reason: str, now: datetime) -> None:
    """Insert the messages and raise `inbox_seq`; ready at once, but only if nobody owns the row."""
    free = [row for row in rows if row.owner_id is None]
    owned = [row for row in rows if row.owner_id is not None]
    for row in rows:
        row.inbox_seq += 1
    for row in free:
        row.runnable_at = now
    raised = F("inbox_seq") + 1
    if free:
        chosen = Execution.objects.filter(pk__in=[row.pk for row in free])
        chosen.update(inbox_seq=raised, runnable_at=now)
    if owned:
        Execution.objects.filter(pk__in=[row.pk for row in owned]).update(inbox_seq=raised)
    InboxMessage.objects.bulk_create(
        InboxMessage(
            execution=row,
            seq=row.inbox_seq,
            kind=verb.value,
            payload={"reason": reason},
            actor=actor.name[:200],
            created_at=now,
        )
        for row in rows
    )


def _tell(rows: Sequence[Execution]) -> None:
    """After the commit: one bell for each queue with something ready, one call to all owners."""
    for queue in sorted({row.queue for row in rows if row.owner_id is None}):
        transaction.on_commit(partial(dispatch.ring, queue), robust=True)
    owned = [row.pk for row in rows if row.owner_id is not None]
    if owned:
        transaction.on_commit(partial(dispatch.wake, owned), robust=True)


def transition_of(
    execution: Execution, *, source: str, actor: Actor, now: datetime
) -> StateTransition:
    """The row that says how `execution` came from `source` into its present state; not saved."""
    return StateTransition(
        execution=execution,
        seq=execution.transition_seq,
        source=source,
        target=execution.state,
        reason=execution.reason,
        actor=actor.name[:200],
        at=now,
    )


def _check_reason(reason: str) -> None:
    if not is_storable(reason, MAX_REASON_CHARS):
        message = f"The reason is a text of at most {MAX_REASON_CHARS} characters."
        raise StartInvalid(message, details=[Problem("$.reason", "invalid", message)])
