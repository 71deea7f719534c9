"""Giving signals to the steps that wait for them, and telling whoever runs those."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import connection

from executions.runtime import callbacks_sql, dispatch, signals_sql

# Rounds of one matching: of each group of signals a round gives as many as it can.
MAX_ROUNDS = 20
PURGED_AT_ONCE = 5_000


@dataclass(slots=True)
class Woken:
    """Who has been given something: queues with work, and executions that a worker owns."""

    queues: set[str] = field(default_factory=set)
    owned: list[int] = field(default_factory=list)
    count: int = 0

    def tell(self) -> None:
        """Ring and call. To be used after the commit; never raises."""
        for queue in sorted(self.queues):
            dispatch.ring(queue)
        if self.owned:
            dispatch.wake(self.owned)


def match(cursor: Any, sql: str, parameters: dict[str, Any]) -> Woken:
    """Give what can be given; one of `signals_sql.MATCH_*`. Outside of any transaction."""
    woken = Woken()
    for _ in range(MAX_ROUNDS):
        cursor.execute(sql, parameters)
        rows = cursor.fetchall()
        for pk, owner, queue in rows:
            if owner is None:
                woken.queues.add(queue)
            else:
                woken.owned.append(pk)
        woken.count += len(rows)
        if not rows:
            break
    return woken


def match_signals(ids: Collection[int]) -> None:
    """After the commit in which these signals were received."""
    with connection.cursor() as cursor:
        match(cursor, signals_sql.MATCH_SIGNALS, {"ids": list(ids)}).tell()


def match_waits(cursor: Any, ids: Collection[int]) -> Woken:
    """After the commit in which these executions have begun to wait."""
    return match(cursor, signals_sql.MATCH_WAITS, {"ids": list(ids)})


def match_late(seconds: float) -> set[str]:
    """What has changed in the last `seconds`; answers queues with work."""
    with connection.cursor() as cursor:
        woken = match(cursor, signals_sql.MATCH_LATE, {"seconds": seconds})
    if woken.owned:
        dispatch.wake(woken.owned)
    return woken.queues


def match_all() -> set[str]:
    """Everything there is; answers queues with work."""
    with connection.cursor() as cursor:
        woken = match(cursor, signals_sql.MATCH_ALL, {})
    if woken.owned:
        dispatch.wake(woken.owned)
    return woken.queues


def purge() -> int:
    """Forget signals and calls that were kept long enough; answers how many of them."""
    days = settings.AUTOPILOT["SIGNAL_KEEP_DAYS"]
    with connection.cursor() as cursor:
        cursor.execute(signals_sql.PURGE, {"limit": PURGED_AT_ONCE})
        count = int(cursor.rowcount)
        cursor.execute(callbacks_sql.PURGE, {"limit": PURGED_AT_ONCE, "days": days})
        return count + int(cursor.rowcount)
