"""Workers, the clock's leader, and the queues that both serve."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db.models import Max, Min
from django.db.models.functions import Now

from autopilot.common.database_time import database_now
from autopilot.common.words import duration_words, plural
from executions.models import Execution, Hold, Worker
from executions.queues import QueueState, queue_states
from executions.runtime.clock import LEADER_TRIES_SECONDS, LOCK
from monitoring.checks.base import Check, ok, problem, warning

# A worker renews its lease every AUTOPILOT_HEARTBEAT_SECONDS; so many missed are a sign.
MISSED_HEARTBEATS = 3
# A lease that has been over for so long should have been seen to.
LATE_LEASE_SECONDS = 10
CLOCK_WARNING, CLOCK_PROBLEM = 10, 30
WAITING_WARNING, WAITING_PROBLEM = 60, 600
# With room to spare somebody takes what is ready within a moment.
IGNORED_SECONDS = 30
MANY = 50

_LEADER = """
SELECT a.pid, coalesce(host(a.client_addr), ''),
       extract(epoch FROM clock_timestamp() - greatest(a.query_start, a.state_change))
  FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.objsubid = 2 AND l.granted
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_START_ONE = "Start one: manage.py worker (and let a supervisor keep it running)."


def workers(cursor: Any) -> Iterator[Check]:
    now = database_now()
    rows = list(Worker.objects.order_by("pk"))
    alive = [each for each in rows if each.lease_until > now]
    facts = {"workers": [_said(each, now) for each in alive[:MANY]]}
    if alive:
        told = "; ".join(f"{each.name} serves {', '.join(each.queues)}" for each in alive[:5])
        more = f"; and {len(alive) - 5} more" if len(alive) > 5 else ""
        yield ok("workers.alive", f"{plural(len(alive), 'worker')}: {told}{more}.", **facts)
    else:
        yield problem("workers.alive", "No worker is alive; nothing runs.", _START_ONE, **facts)
    yield from _leases(rows, alive, now)


def _leases(rows: list[Worker], alive: list[Worker], now: Any) -> Iterator[Check]:
    over = [each for each in rows if (now - each.lease_until).total_seconds() > LATE_LEASE_SECONDS]
    lease, beat = (settings.AUTOPILOT[f"{name}_SECONDS"] for name in ("LEASE", "HEARTBEAT"))
    silent = {each.name: lease - (each.lease_until - now).total_seconds() for each in alive}
    silent = {name: past for name, past in silent.items() if past > MISSED_HEARTBEATS * beat}
    if over:
        yield problem(
            "workers.leases",
            f"The lease of {', '.join(each.name for each in over)} is over, and nobody has freed "
            "what belongs to it: the clock should have.",
            "See the check of the clock. manage.py recover_executions --free frees it now.",
            late=[each.name for each in over],
        )
    elif silent:
        name, past = max(silent.items(), key=lambda item: item[1])
        yield warning(
            "workers.leases",
            f"{name} has given no sign of life for {duration_words(past)}.",
            "It is frozen, or cut off from PostgreSQL: look at its process and its log. "
            "Once its lease is over others go on with what it has.",
            silent={name: round(past, 1) for name, past in silent.items()},
        )
    elif alive:
        yield ok("workers.leases", "All of them give signs of life.")


def _said(worker: Worker, now: Any) -> dict[str, Any]:
    return {
        "name": worker.name,
        "queues": worker.queues,
        "since": worker.started_at.isoformat(),
        "busy": worker.busy,
        "slots": worker.slots,
        "lease_seconds_left": round((worker.lease_until - now).total_seconds(), 1),
    }


def clock(cursor: Any) -> Iterator[Check]:
    found = _leader(cursor)
    if found is None:
        # Between two leaders there is none for a moment.
        time.sleep(1.2 * LEADER_TRIES_SECONDS)
        # A transaction goes on seeing the connections that it has seen first.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        found = _leader(cursor)
    name = "clock.leader"
    if found is None:
        yield problem(
            name,
            "Nobody leads the clock: timers, dead workers and lost bells are seen to by nobody.",
            "Start a worker without --no-clock, or manage.py clock.",
        )
        return
    pid, address, seconds = found
    where = f"connection {pid}{f' from {address}' if address else ''}"
    facts = {"pid": pid, "address": address, "seconds": round(seconds, 1)}
    message = f"The clock's leader ({where}) last looked {duration_words(seconds)} ago."
    advice = (
        "It is frozen, or cut off. Other processes do the most urgent and depose it when a worker "
        f"is lost; if that does not help: SELECT pg_terminate_backend({pid}); and another leads."
    )
    if seconds > CLOCK_PROBLEM:
        yield problem(name, message, advice, **facts)
    elif seconds > CLOCK_WARNING:
        yield warning(name, message, advice, **facts)
    else:
        yield ok(name, message, **facts)


def _leader(cursor: Any) -> tuple[int, str, float] | None:
    cursor.execute(_LEADER, LOCK)
    row = cursor.fetchone()
    return None if row is None else (row[0], row[1], max(0.0, float(row[2] or 0)))


def queues(cursor: Any) -> Iterator[Check]:
    now = database_now()
    alive = list(Worker.objects.filter(lease_until__gt=Now()))
    for state in queue_states():
        serving = [each for each in alive if state.name in each.queues]
        free = sum(max(0, each.slots - each.busy) for each in serving)
        waited = (now - state.oldest_ready).total_seconds() if state.oldest_ready else 0.0
        yield _queue(state, waited, free)
    yield from _unknown()


def _queue(state: QueueState, waited: float, free: int) -> Check:
    name = f"queue.{state.name}"
    count = f"{state.ready:,}{'+' if state.ready_is_capped else ''}"
    facts = {
        "ready": state.ready,
        "running": state.running,
        "workers": state.workers,
        "oldest_seconds": round(waited, 1),
    }
    said = f"{state.name}: {count} ready, {state.running:,} running, "
    said += plural(state.workers, "worker")
    since = f", the oldest ready for {duration_words(waited)}" if state.ready else ""
    if state.hold is not None and state.hold.mode == Hold.Mode.ALL:
        return warning(
            name,
            f"{said}; it is paused by {state.hold.actor}.",
            f"manage.py switch resume --queue {state.name}, once it may go on.",
            **facts,
        )
    if not state.workers:
        advice = f"Start one that serves it: manage.py worker {state.name}"
        if state.ready:
            return problem(name, f"{said}: nobody takes what is ready{since}.", advice, **facts)
        return warning(name, f"{said}: what comes will wait.", advice, **facts)
    if waited > IGNORED_SECONDS and free:
        return problem(
            name,
            f"{said}{since}, though workers have room for {free:,} more.",
            "Look at the workers' logs; if nothing is said there, restart them one by one. "
            "manage.py recover_executions says what it is about each.",
            **facts,
        )
    if waited > WAITING_WARNING:
        level = problem if waited > WAITING_PROBLEM else warning
        advice = "There is more work than workers: start more, or let them hold more "
        return level(name, f"{said}{since}.", f"{advice}(AUTOPILOT_SLOTS).", **facts)
    return ok(name, f"{said}{since}.", **facts)


def _unknown() -> Iterator[Check]:
    """What lies in a queue that was configured once."""
    ready = Execution.objects.filter(owner__isnull=True, runnable_at__isnull=False)
    rows = ready.exclude(queue__in=settings.AUTOPILOT_QUEUES).order_by()
    ends = rows.aggregate(first=Min("queue"), last=Max("queue"))
    if ends["first"] is not None:
        names = sorted({ends["first"], ends["last"]})
        yield problem(
            "queue.unknown",
            f"Executions lie in queues that are not configured, such as {' and '.join(names)}.",
            "Name them in AUTOPILOT_QUEUES again and start workers that serve them.",
            queues=names,
        )


LOOKS = (workers, clock, queues)
