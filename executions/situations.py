"""Gathers what `why.py` has to know, for one execution or a page of them.

The number of queries does not depend on how many executions there are, and each of them is only
asked where somebody needs its answer: nothing is read for a page of completed ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce, Left, Now

from autopilot.common import clock
from autopilot.common.errors import DomainError
from autopilot.common.kept import Kept
from executions import why_outside, why_undo  # noqa: F401 - bring their sentences
from executions.compensating import counts_of
from executions.engine.events import WISHES
from executions.engine.snapshot import Phase
from executions.engine.states import Reason, State
from executions.held_up import MAX_AHEAD
from executions.holding_up import held_up
from executions.joining import Joining
from executions.migrating.reads import moves_of
from executions.models import (
    Callback,
    ErrorStart,
    Execution,
    InboxMessage,
    Priority,
    SignalWait,
    StateTransition,
    Worker,
)
from executions.suiting import is_undoing, was_undone
from executions.why import why_of
from executions.why_facts import (
    MAX_MESSAGE_CHARS,
    Change,
    Facts,
    Owner,
    UndoFacts,
    Why,
    Wish,
    iso,
)
from workflows.compiled import compiled_version

# States that somebody brought about; their sentence says who.
# Of a message that holds something hidden, what is shown of it.
_MESSAGE = Coalesce(KT("error__message__shown"), KT("error__message"))
_SOMEBODYS = frozenset({State.PAUSED, State.RESUMED, State.CANCELLED})

# What `why.OUTSIDE` has to know of executions that wait for news from outside: by the reason of
# their state, one query for all of them; answers plain facts by id.
OUTSIDE: dict[str, Callable[[Sequence[Execution]], Mapping[int, Mapping[str, Any]]]] = {
    Reason.SIGNAL.value: lambda waiting: {
        wait.execution_id: {"name": wait.name, "correlation": wait.correlation}
        for wait in SignalWait.objects.filter(execution__in=[each.pk for each in waiting])
    },
    Reason.CALLBACK.value: lambda waiting: {
        row.execution_id: {
            "queue": row.queue,
            "leases": row.leases,
            "worker": row.worker,
            "heard_at": row.heard_at,
            "taken_until": row.available_at if row.leases else None,
        }
        for row in Callback.objects.filter(
            execution__in=[each.pk for each in waiting], closed_at__isnull=True
        ).defer("payload", "answer", "details")
    },
}

# How many ready ones are before each of these: all of a higher priority, and those of the same
# that were ready earlier. Reads the index of the claim, and never counts beyond the limit.
_AHEAD = """
SELECT x.id, (
    SELECT count(*) FROM (
        SELECT 1
          FROM generate_series(x.priority, %(highest)s) AS level(priority)
         CROSS JOIN LATERAL (
               SELECT 1 FROM executions_execution e
                WHERE e.owner_id IS NULL AND e.queue = x.queue AND e.priority = level.priority
                  AND e.runnable_at IS NOT NULL
                  AND e.runnable_at < CASE WHEN level.priority > x.priority
                                           THEN %(now)s::timestamptz ELSE x.runnable_at END
                LIMIT %(limit)s) AS earlier
         LIMIT %(limit)s) AS found)
  FROM unnest(%(ids)s::bigint[], %(queues)s::text[], %(priorities)s::int[],
              %(moments)s::timestamptz[]) AS x(id, queue, priority, runnable_at)
"""

# The same of one that has just been accepted, and who could take it, in one question.
_NEW = Kept(
    "start_situation",
    """
SELECT (SELECT count(*) FROM executions_worker WHERE lease_until > now()),
       (SELECT count(*) FROM executions_worker
         WHERE lease_until > now() AND queues @> to_jsonb(%(queue)s)),
       EXISTS (SELECT FROM executions_hold),
       (SELECT count(*) FROM (
           SELECT 1
             FROM generate_series(%(priority)s, %(highest)s) AS level(priority)
            CROSS JOIN LATERAL (
                  SELECT 1 FROM executions_execution e
                   WHERE e.owner_id IS NULL AND e.queue = %(queue)s
                     AND e.priority = level.priority AND e.runnable_at IS NOT NULL
                     AND e.runnable_at < CASE WHEN level.priority > %(priority)s
                                              THEN now() ELSE %(moment)s END
                   LIMIT %(limit)s) AS earlier
            LIMIT %(limit)s) AS found)
""",
    {
        "queue": "text",
        "priority": "int",
        "highest": "int",
        "moment": "timestamptz",
        "limit": "bigint",
    },
)


@dataclass(frozen=True, slots=True)
class Situation:
    """Why an execution isn't moving, and what was asked of it and has not been done yet."""

    why: Why
    pending: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Workers:
    """The workers there are, dead ones that nobody has cleared away included."""

    owners: dict[int, Owner] = field(default_factory=dict)
    live_by_queue: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    live: int = 0


def situation_of(execution: Execution) -> Situation:
    """The situation of one execution, with the name of its step out of the definition."""
    situation = situations_of([execution], with_names=True)[execution.pk]
    if execution.step_names is not None:
        situation.why.details.update(_moved(execution))
    return situation


def _moved(execution: Execution) -> dict[str, Any]:
    """That it was moved to the version that it runs, for the details of the answer."""
    for move in moves_of(execution):
        if move.undone_at is None:
            migration = move.migration
            ends = {"from": migration.source.version, "to": migration.target.version}
            said = {"by": migration.actor, "reason": migration.reason, "at": iso(move.moved_at)}
            return {"moved": {**ends, **said, "migration": migration.pk}}
    return {}


def situation_of_new(execution: Execution) -> Situation:
    """The same of one that this very request has started: nobody can have asked anything of it."""
    if execution.reason != Reason.QUEUED or execution.slot_key:
        return situation_of(execution)
    with connection.cursor() as cursor:
        _NEW.execute(
            cursor,
            {
                "queue": execution.queue,
                "priority": int(execution.priority),
                "highest": max(Priority.values),
                "moment": execution.runnable_at,
                "limit": MAX_AHEAD + 1,
            },
        )
        all_workers, workers, has_holds, ahead = cursor.fetchone()
    if has_holds:
        return situation_of(execution)
    facts = Facts(
        **_columns(execution),
        now=clock.now(),
        workers=workers,
        all_workers=all_workers,
        ahead=ahead if workers else None,
    )
    return Situation(why_of(facts))


def situations_of(
    executions: Sequence[Execution], *, with_names: bool = False
) -> dict[int, Situation]:
    """The situations of these executions, by id.

    with_names: say what the definition calls a step instead of its id; that reads the version,
    unless it is in memory.
    """
    now = clock.now()
    active = [each for each in executions if not each.has_ended]
    wishes = _wishes(active)
    workers = _workers() if active else _Workers()
    ahead = _ahead(active, workers, now)
    causes = held_up(active, now)
    changes = _changes(executions)
    errors = _errors(executions)
    undoing = _undoing(executions)
    not_heard = _not_heard(executions)
    outside = _outside(active)
    found = {}
    for each in executions:
        message, step = errors.get(each.pk, ("", ""))
        owner = None
        if each.owner_id is not None:
            # Gone between two reads: it has been freed by now.
            owner = workers.owners.get(each.owner_id) or Owner("", now)
        facts = Facts(
            **_columns(each),
            now=now,
            step_name=_step_name(each, step) if with_names else "",
            error_message=message,
            error_step=step,
            owner=owner,
            pending=tuple(wishes.get(each.pk, ())),
            last=changes.get(each.pk),
            undo=undoing.get(each.pk),
            not_heard=not_heard.get(each.pk, ""),
            workers=workers.live_by_queue.get(each.queue, 0),
            all_workers=workers.live,
            ahead=ahead.get(each.pk),
            outside=outside.get(each.pk, {}),
            held_up=causes.get(each.pk),
        )
        found[each.pk] = Situation(why_of(facts), [wish.verb for wish in facts.pending])
    return found


def _ready_since(execution: Execution) -> datetime | None:
    """A start that takes its turn in a backlog got in before it came; see `fairness.py`."""
    moment: datetime | None = execution.runnable_at
    if moment is None or execution.state != State.INITIALIZED:
        return moment
    return max(moment, execution.created_at)


def _columns(execution: Execution) -> dict[str, Any]:
    return {
        "state": State(execution.state),
        "reason": execution.reason,
        "queue": execution.queue,
        "step": execution.current_step,
        "phase": execution.current_phase,
        "attempt": execution.current_attempt,
        "current_since": execution.current_since,
        "wait_until": execution.wait_until,
        "runnable_at": _ready_since(execution),
        "ended_at": execution.ended_at,
        "duration_seconds": execution.duration_seconds,
        "steps_entered": execution.steps_entered,
        "claims": execution.claims,
        "error_code": execution.error_code,
        "joining": Joining(
            total=execution.children_total,
            open=execution.children_open,
            failed=execution.children_failed,
            tolerated=execution.children_tolerated,
            needed=execution.children_needed,
        ),
    }


def _undoing(executions: Iterable[Execution]) -> dict[int, UndoFacts]:
    """How far those have come that undo what they did, or have."""
    ids = [each.pk for each in executions if is_undoing(each) or was_undone(each)]
    if not ids:
        return {}
    counts = counts_of(ids)
    return {
        pk: UndoFacts(counts[pk].done, counts[pk].failed + counts[pk].left, counts[pk].pending)
        for pk in ids
    }


def _not_heard(executions: Iterable[Execution]) -> dict[int, str]:
    """Why error workflows were not started for these."""
    ids = [each.pk for each in executions if each.state == State.FAILED]
    if not ids:
        return {}
    refused = ErrorStart.objects.filter(execution__in=ids, status=ErrorStart.Status.REFUSED)
    return dict(refused.order_by("seq").values_list("execution_id", "problem"))


def _wishes(executions: Iterable[Execution]) -> dict[int, list[Wish]]:
    """What was asked of each execution since its owner last looked, oldest first."""
    seen = {each.pk: each.seen_seq for each in executions if each.inbox_seq > each.seen_seq}
    found: dict[int, list[Wish]] = defaultdict(list)
    if seen:
        messages = InboxMessage.objects.filter(
            execution__in=list(seen), seq__gt=min(seen.values()), kind__in=WISHES
        ).order_by("execution_id", "seq")
        rows = messages.values_list("execution_id", "seq", "kind", "actor", "created_at")
        for pk, seq, kind, actor, at in rows:
            if seq > seen[pk]:
                found[pk].append(Wish(kind, actor, at))
    return found


def _workers() -> _Workers:
    """Leases are by PostgreSQL's clock; what is left of each is said as a moment of this host's."""
    found = _Workers()
    now = clock.now()
    left = ExpressionWrapper(F("lease_until") - Now(), DurationField())
    for pk, name, queues, rest in Worker.objects.values_list("pk", "name", "queues", left):
        found.owners[pk] = Owner(name, now + rest)
        if rest > timedelta():
            found.live += 1
            for queue in set(queues):
                found.live_by_queue[queue] += 1
    return found


def _ahead(executions: Iterable[Execution], workers: _Workers, now: datetime) -> dict[int, int]:
    """How many are before each ready one; not asked where no worker serves the queue anyway."""
    ready = [
        each
        for each in executions
        if each.owner_id is None
        and each.runnable_at is not None
        and each.runnable_at <= now
        and workers.live_by_queue.get(each.queue)
    ]
    if not ready:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            _AHEAD,
            {
                "highest": max(Priority.values),
                "now": now,
                "limit": MAX_AHEAD + 1,
                "ids": [each.pk for each in ready],
                "queues": [each.queue for each in ready],
                "priorities": [each.priority for each in ready],
                "moments": [each.runnable_at for each in ready],
            },
        )
        return dict(cursor.fetchall())


def _outside(executions: Iterable[Execution]) -> dict[int, Mapping[str, Any]]:
    """What those wait for that wait for news from outside; one query for each kind there is."""
    by_reason: dict[str, list[Execution]] = defaultdict(list)
    for each in executions:
        if each.state == State.WAITING and each.current_phase == Phase.OUTSIDE:
            by_reason[each.reason].append(each)
    found: dict[int, Mapping[str, Any]] = {}
    for reason, waiting in by_reason.items():
        if (reader := OUTSIDE.get(reason)) is not None:
            found.update(reader(waiting))
    return found


def _changes(executions: Iterable[Execution]) -> dict[int, Change]:
    """The transitions into states that somebody brought about."""
    states = {each.pk: each.state for each in executions if each.state in _SOMEBODYS}
    if not states:
        return {}
    rows = StateTransition.objects.filter(
        execution__in=list(states), seq=F("execution__transition_seq")
    ).values_list("execution_id", "target", "actor", "at")
    # It may have gone on since the execution was read; then this is another change.
    return {pk: Change(actor, at) for pk, target, actor, at in rows if target == states[pk]}


def _errors(executions: Iterable[Execution]) -> dict[int, tuple[str, str]]:
    """Message and step of what failed; of errors that weren't read, only these are."""
    found: dict[int, tuple[str, str]] = {}
    unread: list[int] = []
    for each in executions:
        if each.state != State.FAILED:
            continue
        if "error" in each.get_deferred_fields():
            unread.append(each.pk)
        else:
            error: dict[str, Any] = each.error or {}
            found[each.pk] = (str(error.get("message") or ""), str(error.get("step") or ""))
    if unread:
        rows = Execution.objects.filter(pk__in=unread).values_list(
            "pk", Left(_MESSAGE, MAX_MESSAGE_CHARS + 1), KT("error__step")
        )
        found |= {pk: (message or "", step or "") for pk, message, step in rows}
    return found


def _step_name(execution: Execution, failed_step: str) -> str:
    step_id = execution.current_step or failed_step
    if not step_id:
        return ""
    try:
        step = compiled_version(execution.version_id).steps.get(step_id)
    except DomainError:
        return step_id
    return step.name if step else step_id
