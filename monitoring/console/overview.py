"""What the home page counts. Every query looks at a bounded number of rows, however many exist."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from executions.engine.states import ACTIVE, State
from executions.holding import live_holds
from executions.models import Execution, Hold, Worker
from executions.querysets import ExecutionQuerySet

DAY = timedelta(hours=24)
LATE_AFTER = timedelta(seconds=60)
# How many rows a count looks at before it says "or more".
NEWEST = 5_000
NEWEST_FAILED = 1_000
MANY = 1_000
SHOWN_WORKERS = 50
SHOWN_HOLDS = 20

_BY_WORKFLOW = """
SELECT workflow_id, state, count(*), min(created_at)
FROM (
    SELECT workflow_id, state, created_at FROM executions_execution
    WHERE parent_id IS NULL ORDER BY id DESC LIMIT %s
) AS newest
WHERE created_at >= %s
GROUP BY workflow_id, state
"""
_FAILED = """
SELECT workflow_id, error_code, count(*), max(ended_at)
FROM (
    SELECT workflow_id, error_code, ended_at FROM executions_execution
    WHERE state = 'failed' AND parent_id IS NULL ORDER BY id DESC LIMIT %s
) AS newest
WHERE ended_at >= %s
GROUP BY workflow_id, error_code
"""
_READY = """
SELECT queue, count(*), min(runnable_at), count(*) FILTER (WHERE parent_id IS NOT NULL)
FROM (
    SELECT queue, runnable_at, parent_id FROM executions_execution
    WHERE owner_id IS NULL AND runnable_at <= %s LIMIT %s
) AS ready
GROUP BY queue
"""


@dataclass(frozen=True, slots=True)
class Day:
    """Executions that began in the last 24 hours.

    since: the moment the counts begin; later than 24 hours ago if there were too many to count.
    """

    by_workflow: Mapping[int, Mapping[str, int]]
    since: datetime
    is_capped: bool

    @property
    def counts(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for states in self.by_workflow.values():
            total.update(states)
        return total


@dataclass(slots=True)
class Failing:
    """A workflow's failures of the last 24 hours, by error code."""

    workflow_id: int
    codes: Counter[str] = field(default_factory=Counter)
    last_at: datetime | None = None

    @property
    def count(self) -> int:
        return self.codes.total()

    @property
    def most_common(self) -> str:
        return self.codes.most_common(1)[0][0] if self.codes else ""


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits in a queue for a worker, and how many workers serve it.

    items: how many of the ready ones are parts of others, such as the items of a map.
    """

    name: str
    ready: int
    oldest: datetime | None
    workers: int
    items: int


def last_day(now: datetime) -> Day:
    """The counts of the last 24 hours, over the newest NEWEST executions."""
    with connection.cursor() as cursor:
        cursor.execute(_BY_WORKFLOW, [NEWEST, now - DAY])
        rows = cursor.fetchall()
    by_workflow: dict[int, dict[str, int]] = defaultdict(dict)
    for workflow_id, state, count, _ in rows:
        by_workflow[workflow_id][state] = count
    is_capped = sum(row[2] for row in rows) >= NEWEST
    since = min(row[3] for row in rows) if is_capped else now - DAY
    return Day(by_workflow, since, is_capped)


def failing(now: datetime) -> list[Failing]:
    """Workflows with failures in the last 24 hours, the most failures first."""
    found: dict[int, Failing] = {}
    with connection.cursor() as cursor:
        cursor.execute(_FAILED, [NEWEST_FAILED, now - DAY])
        for workflow_id, code, count, last_at in cursor.fetchall():
            one = found.setdefault(workflow_id, Failing(workflow_id))
            one.codes[code] += count
            one.last_at = max(last_at, one.last_at or last_at)
    return sorted(found.values(), key=lambda one: -one.count)


def queues(now: datetime, workers: list[Worker], names: list[str]) -> list[Queue]:
    """Every configured queue, and any other in which something waits."""
    with connection.cursor() as cursor:
        cursor.execute(_READY, [now, NEWEST])
        ready = {name: rest for name, *rest in cursor.fetchall()}
    found = []
    for name in [*names, *sorted(set(ready) - set(names))]:
        count, oldest, items = ready.get(name, (0, None, 0))
        serving = sum(1 for worker in workers if name in worker.queues)
        found.append(Queue(name, count, oldest, serving, items))
    return found


def workers() -> list[Worker]:
    """The workers that keep their lease."""
    return list(Worker.objects.filter(lease_until__gt=Now())[:SHOWN_WORKERS])


def holds(now: datetime) -> list[Hold]:
    """The queues and workflows that are switched off, queues first."""
    rows = live_holds(now).select_related("workflow")
    return list(rows.order_by(F("workflow").asc(nulls_first=True), "pk")[:SHOWN_HOLDS])


def late(visible: ExecutionQuerySet, now: datetime, held: Collection[str] = ()) -> tuple[int, int]:
    """How many that somebody started, and how many parts of others, have been ready for too long.

    held: queues in which nothing is to run, so nothing is late there. Each at most MANY + 1.
    """
    ready = visible.ready(now - LATE_AFTER)
    if held:
        ready = ready.exclude(queue__in=held)
    return bounded(ready.roots()), bounded(ready.filter(parent__isnull=False))


def abandoned(visible: ExecutionQuerySet) -> int:
    """How many belong to a worker whose lease is over and that nobody has freed."""
    gone = list(Worker.objects.filter(lease_until__lte=Now() - LATE_AFTER).values_list("pk")[:MANY])
    return bounded(visible.filter(owner__in=gone)) if gone else 0


def unfinished(visible: ExecutionQuerySet) -> ExecutionQuerySet:
    """Those that a worker is needed for: under way, waiting or about to begin, not paused."""
    states = [state.value for state in ACTIVE if state is not State.PAUSED]
    return visible.roots().filter(state__in=states)


def paused(visible: ExecutionQuerySet) -> ExecutionQuerySet:
    """Those that somebody stopped, the newest first."""
    return visible.roots().filter(state="paused").order_by("-pk")


def bounded(rows: ExecutionQuerySet) -> int:
    """The number of rows, counted up to MANY + 1."""
    return rows.order_by().values("pk")[: MANY + 1].count()


def anything_ran() -> bool:
    return Execution.objects.exists()
