"""Asking for the places and turns that a call needs, before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from executions.engine.states import Reason
from executions.runtime import limits_sql
from executions.runtime.rows import cursor

# A turn that comes so soon is not worth giving the execution up.
AT_ONCE = timedelta(milliseconds=5)


@dataclass(frozen=True, slots=True)
class Barred:
    """The call may not begin yet: no place is free (`limit_id` says of which), or its turn is at
    `until`."""

    reason: Reason
    until: datetime | None = None
    limit_id: int = 0


class CallBarred(Exception):
    """Raised before a call begins that has to wait."""

    def __init__(self, barred: Barred) -> None:
        super().__init__(barred.reason)
        self.barred = barred


def enter(execution_id: int, limit_ids: Sequence[int]) -> Barred | None:
    """Take the places of all these limits, in the order of their ids, and then the turns.

    None = the call may begin. What was taken before it is barred is kept, so nobody who waits for
    several limits is overtaken for ever, and nobody waits for each other in a circle. In a
    transaction of its own, on the ledger's connection.
    """
    with cursor() as opened:
        opened.execute("BEGIN; SET LOCAL lock_timeout = '10s'")
        barred = _enter(opened, execution_id, limit_ids)
        opened.execute("COMMIT")
    return barred


def _enter(opened: Any, execution_id: int, limit_ids: Sequence[int]) -> Barred | None:
    opened.execute(limits_sql.PRIORITY, {"execution": execution_id})
    (priority,) = opened.fetchone()
    opened.execute(limits_sql.LOCK, {"limits": list(limit_ids)})
    limits = opened.fetchall()
    opened.execute(limits_sql.USES, {"execution": execution_id})
    uses = {(limit, kind): (held, until) for limit, kind, held, until in opened.fetchall()}
    for pk, places, *_ in limits:
        if places is None or uses.get((pk, "place"), (False, None))[0]:
            continue
        if not _take_place(opened, pk, places, execution_id, priority):
            return Barred(Reason.SLOT, limit_id=pk)
    turns: list[datetime] = []
    for pk, _, rate, period, next_at, now in limits:
        if rate is None:
            continue
        _, until = uses.get((pk, "turn"), (False, None))
        if until is None:
            until = _take_turn(opened, pk, rate, period, next_at, now, execution_id, priority)
        if until > now + AT_ONCE:
            turns.append(until)
    return Barred(Reason.RATE, max(turns)) if turns else None


def _take_place(opened: Any, pk: int, places: int, execution_id: int, priority: int) -> bool:
    known = {"limit": pk, "execution": execution_id, "priority": priority}
    opened.execute(limits_sql.OWN, known)
    own = opened.fetchone()
    # Without a place in the line it is behind everybody who has one and no lower priority.
    opened.execute(limits_sql.ROOM, {**known, "own": own[0] if own else 2**62})
    if opened.fetchone()[0] >= places:
        return False
    opened.execute(limits_sql.TAKE, {**known, "kind": "place", "until": None})
    return True


def _take_turn(
    opened: Any,
    pk: int,
    rate: int,
    period: float,
    next_at: datetime | None,
    now: datetime,
    execution_id: int,
    priority: int,
) -> datetime:
    """The moment of the next call: `rate` of them at once, then one every `period / rate`."""
    interval = timedelta(seconds=period / rate)
    due = max(next_at or now, now)
    until = max(now, due - (timedelta(seconds=period) - interval))
    opened.execute(limits_sql.NEXT_TURN, {"limit": pk, "next": due + interval})
    opened.execute(
        limits_sql.TAKE,
        {
            "limit": pk,
            "execution": execution_id,
            "priority": priority,
            "kind": "turn",
            "until": until,
        },
    )
    return until
