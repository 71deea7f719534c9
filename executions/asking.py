"""Asking executions for something: of one or of hundreds, in the same few statements.

Everybody's wish goes through `ask`: permission, lock, what follows from it, and audit are here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.committed import after_commit
from autopilot.common.crypto import has_key
from autopilot.common.errors import DomainError
from autopilot.common.problems import Problem
from autopilot.common.storable import is_storable
from executions.compensating import check_undoable, counts_of, undo_failed
from executions.engine.errors import EngineError
from executions.engine.events import Verb
from executions.engine.payload import encode
from executions.engine.states import Reason, State
from executions.errors import ExecutionNotFound, StartInvalid
from executions.hidden.marks import wrap
from executions.models import Execution, InboxMessage, StateTransition
from executions.noting import transition_of
from executions.reads import pending_of
from executions.retrying import check_parent, parents_of, take_up
from executions.runtime import dispatch
from executions.suiting import is_new_wish

MAX_REASON_CHARS = 200
_OF_FAILED = (Verb.RETRY, Verb.SKIP)
_DATA = ("input", "variables", "output", "error")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a wish: the execution as it is now, or why it was refused."""

    execution: Execution | None = None
    refusal: DomainError | None = None


def check_reason(reason: str) -> None:
    """Raises StartInvalid for a reason that can't be kept."""
    if not is_storable(reason, MAX_REASON_CHARS):
        message = f"The reason is a text of at most {MAX_REASON_CHARS} characters."
        raise StartInvalid(message, details=[Problem("$.reason", "invalid", message)])


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is asked, by whom, why; for a skip also the output."""

    verb: Verb
    actor: Actor
    reason: str
    output: Any
    compensate: bool = False

    def check(self) -> None:
        """Raises StartInvalid for what can't be kept."""
        check_reason(self.reason)
        try:
            encode(self.output, limit=settings.AUTOPILOT["MAX_OUTPUT_BYTES"], what="The output")
        except EngineError as error:
            problem = Problem("$.output", error.info.code, error.info.message)
            raise StartInvalid(problem.message, details=[problem]) from None

    def payload(self, seq: int) -> dict[str, Any]:
        said: dict[str, Any] = {"reason": self.reason}
        if self.verb is Verb.SKIP:
            said |= {"seq": seq, "output": self._sealed_output()}
        if self.compensate:
            said["compensate"] = True
        return said

    @property
    def undoes(self) -> bool:
        """Whether it is to undo what was done."""
        return self.compensate or self.verb is Verb.COMPENSATE

    def _sealed_output(self) -> Any:
        """On its way only: what of it is hidden is decided where it is recorded."""
        if self.output is None or not has_key():
            return self.output
        return wrap(self.output)

    def noted(self) -> dict[str, Any]:
        """For the audit: an output of any size is named, not kept."""
        with_output = {"with_output": True} if self.output is not None else {}
        undoing = {"compensate": True} if self.compensate else {}
        return {"reason": self.reason, **with_output, **undoing}


def ask(
    *,
    ids: Collection[int],
    verb: Verb,
    actor: Actor,
    reason: str = "",
    output: Any = None,
    compensate: bool = False,
    with_data: bool = False,
) -> dict[int, Answer]:
    """Put a wish into the inbox of each of these executions; answers every id, in one transaction.

    PAUSED -> RESUMED is taken at once where nobody owns the row, and so is FAILED -> RESUMED.
    What can't be asked of one is its answer and stops no other.
    output: what a skipped step is to count as having come to; None = nothing. compensate: what was
    done is to be undone before it is cancelled. with_data: also read input, output, variables and
    error.
    Raises PermissionDenied, and StartInvalid for a reason or an output that can't be kept.
    """
    actor.require(Permission.EXECUTION_CONTROL)
    wish = _Wish(verb, actor, reason, output, compensate)
    wish.check()
    missing = ExecutionNotFound()
    answers = {pk: Answer(refusal=missing) for pk in ids}
    with transaction.atomic():
        # A failed item is counted on its parent. All in the order of ids, as everybody locks them.
        around = parents_of(ids) if verb in _OF_FAILED else set()
        keys = {*ids, *around}
        rows = Execution.objects.select_for_update(no_key=True).filter(pk__in=keys).order_by("pk")
        found = {row.pk: row for row in (rows if with_data else rows.defer(*_DATA))}
        locked = [row for pk, row in found.items() if pk in answers]
        pending = pending_of(locked)
        before = {row.pk: _before(row) for row in locked}
        wanted: list[Execution] = []
        undoable = counts_of(ids) if verb is Verb.COMPENSATE else {}
        for row in locked:
            try:
                if is_new_wish(row, verb, pending.get(row.pk, []), undoes=wish.undoes):
                    if verb is Verb.COMPENSATE:
                        check_undoable(row, undoable)
                    elif row.state == State.FAILED:
                        check_parent(row, found)
                    wanted.append(row)
            except DomainError as refusal:
                answers[row.pk] = Answer(refusal=refusal)
            else:
                answers[row.pk] = Answer(row)
        _carry_out(wanted, found, wish)
        audit.record_many(
            actor=actor,
            action=f"execution.{verb.value}_requested",
            changes=[(row, before[row.pk], {"state": row.state, **wish.noted()}) for row in wanted],
        )
        _tell(wanted)
    return answers


def _before(row: Execution) -> dict[str, Any]:
    state = {"state": row.state}
    return {**state, "error_code": row.error_code} if row.error_code else state


def _carry_out(rows: Sequence[Execution], found: Mapping[int, Execution], wish: _Wish) -> None:
    now = clock.now()
    if wish.verb is Verb.COMPENSATE:
        undo_failed(rows, actor=wish.actor, reason=wish.reason, now=now)
        return
    resumed = [
        row
        for row in rows
        if wish.verb is Verb.RESUME and row.state == State.PAUSED and row.owner_id is None
    ]
    failed = [row for row in rows if row.state == State.FAILED]
    at_once = {row.pk for row in (*resumed, *failed)}
    _resume_now(resumed, wish.actor, wish.reason, now)
    take_up(failed, found, wish.reason, now)
    StateTransition.objects.bulk_create(
        transition_of(row, source=State.FAILED.value, actor=wish.actor, now=now) for row in failed
    )
    # To skip what failed, the execution is taken up first; the planner hears both.
    _post(failed, replace(wish, verb=Verb.RETRY), now, wakes=False)
    if wish.verb is Verb.SKIP:
        _post(failed, wish, now, wakes=False, at_current=False)
    _post([row for row in rows if row.pk not in at_once], wish, now)


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


def _post(
    rows: Sequence[Execution],
    wish: _Wish,
    now: datetime,
    *,
    wakes: bool = True,
    at_current: bool = True,
) -> None:
    """Insert the messages and raise `inbox_seq`; ready at once, but only if nobody owns the row.

    at_current: a skip is of the step the row stands at now, not of wherever the planner stands.
    """
    free = [row for row in rows if wakes and row.owner_id is None]
    others = [row for row in rows if not wakes or row.owner_id is not None]
    for row in rows:
        row.inbox_seq += 1
    for row in free:
        row.runnable_at = now
    raised = F("inbox_seq") + 1
    if free:
        chosen = Execution.objects.filter(pk__in=[row.pk for row in free])
        chosen.update(inbox_seq=raised, runnable_at=now)
    if others:
        Execution.objects.filter(pk__in=[row.pk for row in others]).update(inbox_seq=raised)
    InboxMessage.objects.bulk_create(
        InboxMessage(
            execution=row,
            seq=row.inbox_seq,
            kind=wish.verb.value,
            payload=wish.payload(row.current_seq if at_current else 0),
            actor=wish.actor.name[:200],
            created_at=now,
        )
        for row in rows
    )


def _tell(rows: Sequence[Execution]) -> None:
    """After the commit: one bell for each queue with something ready, one call to all owners."""
    for queue in sorted({row.queue for row in rows if row.owner_id is None}):
        after_commit(dispatch.ring, queue)
    owned = [row.pk for row in rows if row.owner_id is not None]
    if owned:
        after_commit(dispatch.wake, owned)
