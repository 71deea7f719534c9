"""Undoing by hand, and what there is to be undone: compensations over whole trees of executions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from django.db import connection
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from autopilot.accounts.actors import Actor
from executions.engine.snapshot import Undo
from executions.engine.states import Reason, State, UndoState
from executions.errors import NothingToUndo
from executions.models import Compensation, Execution, StateTransition
from executions.noting import transition_of
from executions.runtime import undo_sql
from executions.runtime.control import undo_to_json


@dataclass(slots=True)
class UndoCounts:
    """The compensations of an execution and of all below it; callable: could be called now."""

    pending: int = 0
    done: int = 0
    failed: int = 0
    left: int = 0
    callable: int = 0

    @property
    def total(self) -> int:
        return self.pending + self.done + self.failed + self.left


def counts_of(ids: Collection[int]) -> Mapping[int, UndoCounts]:
    """The counts by execution; zeros for those without any. One query for all."""
    found: dict[int, UndoCounts] = defaultdict(UndoCounts)
    with connection.cursor() as cursor:
        cursor.execute(undo_sql.BY_STATE, {"roots": list(ids)})
        for root, state, total, can_be_called in cursor.fetchall():
            setattr(found[root], UndoState(state).value, total)
            found[root].callable += can_be_called
    return found


def calls_of(ids: Collection[int]) -> int:
    """How many compensations would be called if these were undone now."""
    return sum(each.callable for each in counts_of(ids).values())


def compensations_of(execution: Execution) -> QuerySet[Compensation]:
    """What undoes the execution and all below it, in the order in which it is called."""
    chosen = RawSQL(undo_sql.LISTED, ([execution.pk],))  # noqa: S611 - constant
    return Compensation.objects.filter(pk__in=chosen).order_by("-pk")


def check_undoable(row: Execution, counts: Mapping[int, UndoCounts]) -> None:
    """Raises NothingToUndo."""
    found = counts.get(row.pk) or UndoCounts()
    if found.callable:
        return
    if not found.total:
        raise NothingToUndo
    if not found.left:
        raise NothingToUndo("Everything that the execution did has been undone already.")
    raise NothingToUndo(
        f"What is left of the execution can't be called: what undoes {found.left} of its steps "
        "could not be worked out when they completed."
    )


def undo_failed(rows: Sequence[Execution], *, actor: Actor, reason: str, now: datetime) -> None:
    """FAILED to RUNNING, ready for a worker that calls what has not been undone.

    Also what had failed, and what had been left since its worker died: somebody has looked at it.
    Whoever calls holds the locks of these rows.
    """
    if not rows:
        return
    undo = Undo(State.FAILED, actor.name[:200], by_hand=True)
    document = undo_to_json(undo, lambda value, step_id: value)
    ids = [row.pk for row in rows]
    notes = []
    for row in rows:
        source = row.state
        # The generated FSM method: it checks the table and the condition.
        row.compensate(reason=Reason.COMPENSATING.value)  # type: ignore[attr-defined]
        row.ended_at, row.runnable_at = None, now
        row.transition_seq += 1
        row.seen_seq = row.inbox_seq
        row.control = {**(row.control or {}), "undo": {}}
        notes.append(transition_of(row, source=source, actor=actor, now=now, reason=reason))
    with connection.cursor() as cursor:
        cursor.execute(undo_sql.AGAIN, {"roots": ids})
        cursor.execute(undo_sql.TAKE_UP, {"ids": ids, "undo": orjson.dumps(document).decode()})
    StateTransition.objects.bulk_create(notes)
