"""Switching workflows and queues off and on again."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, QuerySet

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.committed import after_commit
from autopilot.common.problems import Problem
from executions.asking import check_reason
from executions.errors import (
    HoldInvalid,
    NotPaused,
    QueuePaused,
    QueueUnknown,
    WorkflowPaused,
)
from executions.models import Hold
from executions.runtime import dispatch, parking_sql
from workflows.models import Workflow

log = structlog.get_logger(__name__)

# So many are put aside or taken up again in one go of the clock.
BATCH = 5_000


def live_holds(now: datetime) -> QuerySet[Hold]:
    """Those that are not over."""
    return Hold.objects.filter(Q(until__isnull=True) | Q(until__gt=now))


def pause_workflow(
    *,
    workflow: Workflow,
    actor: Actor,
    mode: str = Hold.Mode.STARTS,
    reason: str = "",
    until: datetime | None = None,
) -> Hold:
    """Switch a workflow off: `starts` refuses new starts, with `all` nothing of it runs either.

    until: when it goes on by itself; None = by hand only. Done again it replaces what was said.
    Raises PermissionDenied, and HoldInvalid for a mode, reason or moment that doesn't fit.
    """
    return _pause({"workflow": workflow}, actor, mode, reason, until)


def pause_queue(
    *,
    queue: str,
    actor: Actor,
    mode: str = Hold.Mode.ALL,
    reason: str = "",
    until: datetime | None = None,
) -> Hold:
    """The same for a queue. Raises QueueUnknown too."""
    check_queue(queue)
    return _pause({"queue": queue}, actor, mode, reason, until)


def resume_workflow(*, workflow: Workflow, actor: Actor) -> None:
    """Switch it on again. Raises PermissionDenied, and NotPaused if it is on."""
    _resume({"workflow": workflow}, actor, f"The workflow {workflow.slug} is not paused.")


def resume_queue(*, queue: str, actor: Actor) -> None:
    """The same for a queue. Raises QueueUnknown too."""
    check_queue(queue)
    _resume({"queue": queue}, actor, f"The queue {queue} is not paused.")


def check_queue(queue: str) -> None:
    """Raises QueueUnknown unless it is one of the configured queues."""
    if queue not in settings.AUTOPILOT_QUEUES:
        known = ", ".join(settings.AUTOPILOT_QUEUES)
        raise QueueUnknown(f"There is no queue {queue!r:.80}; the queues are {known}.")


def _pause(
    of: dict[str, Any], actor: Actor, mode: str, reason: str, until: datetime | None
) -> Hold:
    actor.require(Permission.LIMITS_MANAGE)
    check_reason(reason)
    now = clock.now()
    _check(mode, until, now)
    with transaction.atomic():
        before = Hold.objects.select_for_update().filter(**of).first()
        values = {"mode": mode, "reason": reason, "until": until, "actor": actor.name[:200]}
        # Two at once for the same: the second one's word counts.
        hold, _ = Hold.objects.update_or_create(
            **of, defaults=values, create_defaults={**values, "created_at": now}
        )
        audit.record(
            actor=actor,
            action="workflow.paused" if hold.workflow_id else "queue.paused",
            target=hold.workflow or hold,
            before=_said(before) if before else None,
            after=_said(hold),
        )
    return hold


def _check(mode: str, until: datetime | None, now: datetime) -> None:
    problems = []
    if mode not in Hold.Mode.values:
        problems.append(Problem("$.mode", "invalid", "The mode is `starts` or `all`."))
    if until is not None and until.tzinfo is None:
        message = "The moment needs a time zone, such as 2030-01-31T12:00:00Z."
        problems.append(Problem("$.until", "invalid", message))
    elif until is not None and not (now < until and until.year < 9000):
        problems.append(Problem("$.until", "invalid", "The moment has to be in the future."))
    if problems:
        raise HoldInvalid(problems[0].message, details=problems)


def _said(hold: Hold) -> dict[str, Any]:
    of = {"queue": hold.queue} if hold.queue else {}
    return {**of, "mode": hold.mode, "reason": hold.reason, "until": hold.until}


def _resume(of: dict[str, Any], actor: Actor, otherwise: str) -> None:
    actor.require(Permission.LIMITS_MANAGE)
    with transaction.atomic():
        hold = Hold.objects.select_for_update().filter(**of).first()
        if hold is None:
            raise NotPaused(otherwise)
        _end(hold, actor)


def _end(hold: Hold, actor: Actor) -> None:
    audit.record(
        actor=actor,
        action="workflow.resumed" if hold.workflow_id else "queue.resumed",
        target=hold.workflow or hold,
        before=_said(hold),
    )
    queues = [hold.queue] if hold.queue else settings.AUTOPILOT_QUEUES
    hold.delete()
    for queue in queues:
        after_commit(dispatch.ring, queue)


def refuse_start(*, workflow: Workflow, queue: str) -> None:
    """Raises WorkflowPaused or QueuePaused if the one or the other takes no new starts now.

    Who starts a single execution knows from `Line.has_holds` whether this has to be asked at all.
    """
    holds = live_holds(clock.now()).filter(mode=Hold.Mode.STARTS)
    for hold in holds.filter(Q(workflow=workflow) | Q(queue=queue)):
        until = f" until {hold.until:%Y-%m-%d %H:%M} UTC" if hold.until else ""
        because = f": {hold.reason}" if hold.reason else ""
        if hold.queue:
            raise QueuePaused(
                f"The queue {queue} takes no new executions{until}{because.rstrip('.')}."
            )
        raise WorkflowPaused(f"The workflow {workflow.slug} is paused{until}{because.rstrip('.')}.")


# For the clock ---------------------------------------------------------------------------------


def end_expired(now: datetime) -> int:
    """Take away what is over; answers how many."""
    with transaction.atomic():
        expired = list(
            Hold.objects.select_for_update(skip_locked=True).filter(until__lte=now).order_by("pk")
        )
        for hold in expired:
            _end(hold, Actor.system("clock"))
    return len(expired)


def tend() -> tuple[int, int]:
    """Put aside what is ready of workflows that are off, so that no claim has to look past it, and
    take up again what is to go on. Answers how many of each, at most BATCH.
    """
    held = _off()
    parked = len(_run(parking_sql.PARK, held)) if held else 0
    unparked = len(_run(parking_sql.UNPARK, held))
    if parked or unparked:
        log.info("holds.tended", parked=parked, unparked=unparked)
    return parked, unparked


def take_up(ids: Collection[int]) -> set[int]:
    """Take those of these up again whose workflow is on; answers who was."""
    return _run(parking_sql.UNPARK, _off(), only=list(ids))


def _off() -> list[int]:
    off = live_holds(clock.now()).filter(mode=Hold.Mode.ALL, workflow__isnull=False)
    return list(off.values_list("workflow_id", flat=True))


def _run(sql: str, held: list[int], only: list[int] | None = None) -> set[int]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, {"batch": BATCH, "held": held, "only": only})
        return {row[0] for row in cursor.fetchall()}
