"""Giving signals to the steps that wait for them, and telling whoever runs those."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.db import connection, transaction

from autopilot.common.committed import after_commit
from executions.runtime import callbacks_sql, dispatch, signals_sql
from executions.runtime.faults import fault

# What is left over is looked at the next time round.
MAX_AT_ONCE = 10_000
PURGED_AT_ONCE = 5_000

Row = TypeVar("Row", "Wait", "Kept")


@dataclass(slots=True)
class Woken:
    """Who has been given something: queues with work, and executions that a worker owns."""

    ids: set[int] = field(default_factory=set)
    queues: set[str] = field(default_factory=set)
    owned: list[int] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.ids)

    def add(self, other: Woken) -> None:
        self.queues |= other.queues
        self.owned += other.owned
        self.ids |= other.ids

    def call_owners(self) -> set[str]:
        """Only to owners; answers the queues, for somebody else to ring."""
        if self.owned:
            dispatch.wake(self.owned)
        return self.queues

    def tell(self) -> None:
        """Ring and call. To be used after the commit; never raises."""
        for queue in sorted(self.queues):
            dispatch.ring(queue)
        if self.owned:
            dispatch.wake(self.owned)


class Wait(NamedTuple):
    """A step that waits, in the order of `signals_sql.WAITS`."""

    execution_id: int
    document_id: int
    workflow_id: int
    name: str
    correlation: str


class Kept(NamedTuple):
    """A signal that is free, in the order of `signals_sql.SIGNALS`."""

    id: int
    target_id: int | None
    workflow_id: int | None
    name: str
    correlation: str


def suits(kept: Kept, wait: Wait) -> bool:
    """Whether this signal is for this step."""
    if kept.name != wait.name:
        return False
    if kept.target_id is not None:
        is_meant = kept.target_id in (wait.execution_id, wait.document_id)
        return is_meant and kept.correlation in ("", wait.correlation)
    is_workflow = kept.workflow_id in (None, wait.workflow_id)
    return is_workflow and kept.correlation == wait.correlation


def _suiting(signals: Iterable[Kept], wait: Wait) -> Iterator[Kept]:
    return (each for each in signals if suits(each, wait))


def pairs_of(waits: Iterable[Wait], signals: Iterable[Kept]) -> list[tuple[int, int]]:
    """Execution and signal ids: the first signal to the first wait that it is for, and so on.

    waits: the one that has waited longest first. signals: the first that came first.
    """
    by_key: dict[tuple[str, str], list[Kept]] = defaultdict(list)
    by_target: dict[int, list[Kept]] = defaultdict(list)
    for each in sorted(signals):
        if each.target_id is not None:
            by_target[each.target_id].append(each)
        else:
            by_key[each.name, each.correlation].append(each)
    found = []
    for wait in waits:
        lists = [by_key.get((wait.name, wait.correlation), [])]
        lists += [by_target.get(pk, []) for pk in {wait.execution_id, wait.document_id}]
        fitting = [(one, kept) for kept in lists for one in islice(_suiting(kept, wait), 1)]
        if fitting:
            first, kept = min(fitting, key=lambda pair: pair[0].id)
            kept.remove(first)
            found.append((wait.execution_id, first.id))
    return found


def waits_for(cursor: Any, signals: Sequence[Kept]) -> list[Wait]:
    """The steps that wait for any of these; the one that has waited longest first."""
    to_any = [each for each in signals if each.target_id is None]
    targets = list({each.target_id for each in signals if each.target_id is not None})
    found: list[Wait] = []
    if to_any:
        found += _read(cursor, Wait, signals_sql.WAITS_BY_KEY, **_keys(to_any))
    if targets:
        found += _read(cursor, Wait, signals_sql.WAITS_OF_TARGETS, targets=targets)
    return found


def match_waits(cursor: Any, ids: Collection[int]) -> Woken:
    """After the commit in which these executions have begun to wait; outside of transactions."""
    return _give(cursor, _pairs_for(cursor, ids))


def _pairs_for(cursor: Any, ids: Collection[int]) -> list[tuple[int, int]]:
    waits = _read(cursor, Wait, signals_sql.WAITS, ids=list(ids))
    if not waits:
        return []
    signals = _read(cursor, Kept, signals_sql.SIGNALS_BY_KEY, **_keys(waits), limit=MAX_AT_ONCE)
    targets = {pk for each in waits for pk in (each.execution_id, each.document_id)}
    signals += _read(
        cursor,
        Kept,
        signals_sql.SIGNALS_TO_TARGETS,
        targets=list(targets),
        limit=MAX_AT_ONCE,
    )
    return pairs_of(waits, signals)


def match_signals(ids: Collection[int]) -> None:
    """After the commit in which these signals were received."""
    fault("matching.before_giving")
    with connection.cursor() as cursor:
        woken = _match_signals(cursor, ids)
    woken.tell()


def _match_signals(cursor: Any, ids: Collection[int]) -> Woken:
    signals = _read(cursor, Kept, signals_sql.SIGNALS, ids=list(ids))
    # By the steps that wait: of the signals kept for one of them, another may have come first.
    chosen = [pk for pk, _ in pairs_of(waits_for(cursor, signals), signals)]
    return match_waits(cursor, chosen) if chosen else Woken()


def match_late(seconds: float) -> set[str]:
    """What has changed in the last `seconds`; answers queues with work."""
    woken = Woken()
    with connection.cursor() as cursor:
        parameters = {"seconds": seconds, "limit": MAX_AT_ONCE}
        cursor.execute(signals_sql.LATE_SIGNALS, parameters)
        if signals := [row[0] for row in cursor.fetchall()]:
            woken.add(_match_signals(cursor, signals))
        cursor.execute(signals_sql.LATE_WAITS, parameters)
        if waits := [row[0] for row in cursor.fetchall()]:
            woken.add(match_waits(cursor, waits))
    return woken.call_owners()


def match_all() -> set[str]:
    """Everything there is; answers queues with work."""
    with connection.cursor() as cursor:
        waits = _all_waits(cursor)
        woken = match_waits(cursor, waits) if waits else Woken()
    return woken.call_owners()


def give_to(ids: Collection[int]) -> set[int]:
    """Give signals to those of these that one is there for, and that nobody has waited longer for
    than they; answers who got one. In a transaction: whoever owns one hears of it after that."""
    with connection.cursor() as cursor:
        woken = _give(cursor, [pair for pair in pairs_there(cursor) if pair[0] in ids])
    after_commit(woken.call_owners)
    return woken.ids


def pairs_there(cursor: Any) -> list[tuple[int, int]]:
    """Executions that wait, and signals that are kept for them, which nobody has given yet."""
    waits = _all_waits(cursor)
    return _pairs_for(cursor, waits) if waits else []


def _all_waits(cursor: Any) -> list[int]:
    with transaction.atomic():
        cursor.execute(signals_sql.ALL_WAITS, {"limit": MAX_AT_ONCE})
        found = [row[0] for row in cursor.fetchall()]
        # What comes after it in a larger transaction is planned as ever.
        cursor.execute("SET LOCAL enable_nestloop TO DEFAULT")
    return found


def _read(cursor: Any, kind: type[Row], sql: str, **parameters: Any) -> list[Row]:
    cursor.execute(sql, parameters)
    return [kind(*row) for row in cursor.fetchall()]


def _keys(rows: Iterable[Wait | Kept]) -> dict[str, list[str]]:
    keys = {(each.name, each.correlation) for each in rows}
    return {
        "names": list({name for name, _ in keys}),
        "correlations": list({correlation for _, correlation in keys}),
    }


def _give(cursor: Any, pairs: list[tuple[int, int]]) -> Woken:
    woken = Woken()
    if not pairs:
        return woken
    executions, signals = (list(each) for each in zip(*pairs, strict=True))
    cursor.execute(signals_sql.GIVE, {"executions": executions, "signals": signals})
    for pk, owner, queue in cursor.fetchall():
        woken.ids.add(pk)
        if owner is None:
            woken.queues.add(queue)
        else:
            woken.owned.append(pk)
    return woken


def purge() -> int:
    """Forget signals and calls that were kept long enough; answers how many of them."""
    days = settings.AUTOPILOT["SIGNAL_KEEP_DAYS"]
    with connection.cursor() as cursor:
        cursor.execute(signals_sql.PURGE, {"limit": PURGED_AT_ONCE})
        count = int(cursor.rowcount)
        cursor.execute(callbacks_sql.PURGE, {"limit": PURGED_AT_ONCE, "days": days})
        return count + int(cursor.rowcount)
