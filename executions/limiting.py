"""Limits of calls: how many of an action, or to a host, at once or in a while."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import IntegrityError, connection, transaction

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.committed import after_commit
from autopilot.common.problems import Problem
from autopilot.common.storable import is_storable
from executions.engine.snapshot import Phase
from executions.engine.states import State
from executions.errors import LimitConflict, LimitInvalid
from executions.models import ActionLimit, Execution, LimitUse
from executions.runtime import dispatch, limits_sql

log = structlog.get_logger(__name__)

# How long somebody who changes a limit is waited for.
LOCK_TIMEOUT = "2s"
MAX_PLACES = 100_000
MAX_PERIOD_SECONDS = 86_400.0
MAX_NOTE_CHARS = 500
_PATTERN = re.compile(r"[A-Za-z0-9_.*?\[\]:-]{1,253}", re.ASCII)


@dataclass(frozen=True, slots=True)
class LimitTerms:
    """What a limit says.

    subject: `action` or `host`. pattern: a name with `*` for any part of it. max_concurrent: calls
    at once; None = any number. rate: calls that may begin within `period_seconds`; None = any.
    """

    subject: str
    pattern: str
    max_concurrent: int | None = None
    rate: int | None = None
    period_seconds: float = 1.0
    note: str = ""

    def check(self) -> None:
        """Raises LimitInvalid with every problem."""
        problems: list[Problem] = []

        def wrong(field: str, message: str) -> None:
            problems.append(Problem(f"$.{field}", "invalid", message))

        if self.subject not in ActionLimit.Subject.values:
            wrong("subject", "The subject is `action` or `host`.")
        if not isinstance(self.pattern, str) or not _PATTERN.fullmatch(self.pattern):
            wrong("pattern", "A name such as `http.request` or `*.example.com` was expected.")
        for field in ("max_concurrent", "rate"):
            value = getattr(self, field)
            if value is not None and not (_is_whole(value) and 1 <= value <= MAX_PLACES):
                wrong(field, f"A whole number from 1 to {MAX_PLACES:,} was expected.")
        if self.max_concurrent is None and self.rate is None:
            wrong("max_concurrent", "Say `max_concurrent`, `rate` or both.")
        if not _is_number(self.period_seconds) or not (
            0.001 <= self.period_seconds <= MAX_PERIOD_SECONDS
        ):
            wrong("period_seconds", f"0.001 to {MAX_PERIOD_SECONDS:,.0f} seconds were expected.")
        if not is_storable(self.note, MAX_NOTE_CHARS):
            wrong("note", f"A text of at most {MAX_NOTE_CHARS} characters was expected.")
        if problems:
            raise LimitInvalid(problems[0].message, details=problems)

    def values(self) -> dict[str, Any]:
        """The columns; hosts have no capital letters."""
        is_host = self.subject == ActionLimit.Subject.HOST
        return {
            "subject": self.subject,
            "pattern": self.pattern.lower() if is_host else self.pattern,
            "max_concurrent": self.max_concurrent,
            "rate": self.rate,
            "period_seconds": float(self.period_seconds),
            "note": self.note,
        }


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def create_limit(*, actor: Actor, terms: LimitTerms) -> ActionLimit:
    """Limit calls from now on; those under way go on.

    Raises PermissionDenied, LimitInvalid, and LimitConflict if there is one for that pattern.
    """
    actor.require(Permission.LIMITS_MANAGE)
    terms.check()
    now = clock.now()
    limit = ActionLimit(**terms.values(), created_at=now, updated_at=now)
    try:
        with transaction.atomic():
            limit.save(force_insert=True)
            audit.record(actor=actor, action="limit.created", target=limit, after=terms.values())
    except IntegrityError:
        raise _taken(limit) from None
    return limit


def update_limit(*, limit: ActionLimit, actor: Actor, terms: LimitTerms) -> ActionLimit:
    """Change a limit; whoever waits for it asks again. Raises as `create_limit` does."""
    actor.require(Permission.LIMITS_MANAGE)
    terms.check()
    try:
        with transaction.atomic():
            queues = _wake(limit)
            row = ActionLimit.objects.select_for_update(no_key=True).get(pk=limit.pk)
            before = _said(row)
            for name, value in terms.values().items():
                setattr(row, name, value)
            row.next_at = None
            row.updated_at = clock.now()
            row.save()
            # Turns were given out by what it said before.
            LimitUse.objects.filter(limit=row, kind=LimitUse.Kind.TURN).delete()
            audit.record(
                actor=actor, action="limit.changed", target=row, before=before, after=_said(row)
            )
            _ring(queues)
    except IntegrityError:
        raise _taken(limit) from None
    return row


def delete_limit(*, limit: ActionLimit, actor: Actor) -> None:
    """Let calls go as they like; whoever waited goes on. Raises PermissionDenied."""
    actor.require(Permission.LIMITS_MANAGE)
    with transaction.atomic():
        queues = _wake(limit)
        # Before what is used of it: no call may begin to use it in between.
        ActionLimit.objects.select_for_update().filter(pk=limit.pk).first()
        audit.record(actor=actor, action="limit.deleted", target=limit, before=_said(limit))
        limit.delete()
        _ring(queues)


def _said(limit: ActionLimit) -> Mapping[str, Any]:
    names = ("subject", "pattern", "max_concurrent", "rate", "period_seconds", "note")
    return {name: getattr(limit, name) for name in names}


def _taken(limit: ActionLimit) -> LimitConflict:
    return LimitConflict(f"There is a limit for the {limit.subject} {limit.pattern} already.")


def _wake(limit: ActionLimit) -> set[str]:
    """Make those ready that wait for the limit; they ask again. Executions before limits: locks."""
    ids = LimitUse.objects.filter(limit=limit).values("execution_id")
    rows = (
        Execution.objects.select_for_update(no_key=True)
        .filter(
            pk__in=ids,
            state=State.WAITING,
            current_phase=Phase.LIMITED,
            owner__isnull=True,
        )
        .order_by("pk")
        .only("pk", "queue")
    )
    found = {row.pk: row.queue for row in rows}
    # A turn that was given out is none any more, so what waits for it stops waiting.
    Execution.objects.filter(pk__in=list(found)).update(runnable_at=clock.now(), wait_until=None)
    return set(found.values())


def _ring(queues: set[str]) -> None:
    for queue in sorted(queues):
        after_commit(dispatch.ring, queue)


def sweep() -> tuple[int, int]:
    """What checkpoints could not do: hand on places, and take away what belongs to no call.

    Answers how many executions were woken and how many rows were taken away.
    """
    with connection.cursor() as cursor:
        # On its own: it holds rows of limits for whose locks it would wait.
        cursor.execute(limits_sql.STRAYS)
        strays = cursor.rowcount
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(limits_sql.ARE_WAITED_FOR)
        if not cursor.fetchone()[0]:
            return 0, strays
        _lock_all(cursor)
        cursor.execute(limits_sql.HAND_ON_AND_TELL)
        queues = [row[0] for row in cursor.fetchall()]
    if queues or strays:
        log.info("limits.swept", executions=len(queues), strays=strays)
    for queue in sorted(set(queues)):
        dispatch.ring(queue)
    return len(queues), strays


def hand_on_to(ids: Collection[int]) -> set[int]:
    """Give free places to those of these whose turn it is; answers who got one."""
    with transaction.atomic(), connection.cursor() as cursor:
        _lock_all(cursor)
        cursor.execute(limits_sql.HAND_ON_TO_THESE, {"only": list(ids)})
        return {row[0] for row in cursor.fetchall()}


def take_from(ids: Collection[int]) -> set[int]:
    """Take the places of these away that belong to no call; answers who had some."""
    with connection.cursor() as cursor:
        cursor.execute(limits_sql.STRAYS_OF_THESE, {"only": list(ids)})
        return {row[0] for row in cursor.fetchall()}


def _lock_all(cursor: Any) -> None:
    cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
    cursor.execute(limits_sql.LOCK_ALL)
