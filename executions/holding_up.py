"""Reads what holds executions up on purpose, for a page of them: a query a kind that there is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import connection
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce

from autopilot.common.errors import DomainError
from executions.engine.slots import shown_key
from executions.engine.snapshot import Phase
from executions.engine.states import State
from executions.held_up import MAX_AHEAD, HeldUp, LimitWait, SlotWait, SwitchedOff, TurnWait
from executions.holding import live_holds
from executions.models import Execution, Hold, Kind, LimitUse
from executions.runtime import slots_sql
from workflows.compiled import compiled_version
from workflows.definition.compiled import MapConfig


def held_up(executions: Iterable[Execution], now: datetime) -> dict[int, HeldUp]:
    """What holds each of these up, of those that have not ended and that nobody owns."""
    free = [each for each in executions if each.owner_id is None and not each.has_ended]
    if not free:
        return {}
    return {**_turns(free), **_limits(free), **_slots(free), **_switches(free, now)}


def _slots(executions: Iterable[Execution]) -> dict[int, HeldUp]:
    waiting = {
        each.pk: each
        for each in executions
        if each.slot_key
        and not each.slot_held
        and each.runnable_at is None
        and each.state in (State.INITIALIZED, State.RESUMED)
    }
    if not waiting:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            slots_sql.AHEAD,
            {
                "limit": MAX_AHEAD + 1,
                "ids": list(waiting),
                "keys": [each.slot_key for each in waiting.values()],
                "priorities": [each.priority for each in waiting.values()],
            },
        )
        return {
            pk: SlotWait(shown_key(waiting[pk].slot_key), waiting[pk].slot_limit, ahead)
            for pk, ahead in cursor.fetchall()
        }


def _turns(executions: Iterable[Execution]) -> dict[int, HeldUp]:
    """Items that their map has not let go yet; one query for the executions around them."""
    waiting = [
        each
        for each in executions
        if each.kind == Kind.ITEM
        and each.runnable_at is None
        and not each.is_parked
        and each.state in (State.INITIALIZED, State.RESUMED)
    ]
    if not waiting:
        return {}
    parents = Execution.objects.filter(pk__in={each.parent_id for each in waiting})
    states = dict(parents.values_list("pk", "state"))
    return {
        each.pk: TurnWait(
            each.parent_step,
            around,
            _concurrency(each),
            is_paused=states.get(around) == State.PAUSED,
        )
        for each in waiting
        if (around := each.parent_id) is not None
    }


def _concurrency(item: Execution) -> int | None:
    """How many items of its map may run at once; the version is in memory after the first."""
    try:
        step = compiled_version(item.version_id).steps.get(item.parent_step)
    except DomainError:
        return None
    config = step.config if step else None
    return config.max_concurrency if isinstance(config, MapConfig) else None


def _limits(executions: Iterable[Execution]) -> dict[int, HeldUp]:
    waiting = [
        each.pk
        for each in executions
        if each.current_phase == Phase.LIMITED and each.state == State.WAITING
    ]
    if not waiting:
        return {}
    before = LimitUse.objects.filter(
        limit=OuterRef("limit"), kind=LimitUse.Kind.PLACE, held=False, pk__lt=OuterRef("pk")
    )
    count = before.values("limit").annotate(count=Count("pk")).values("count")
    uses = LimitUse.objects.filter(execution__in=waiting).select_related("limit")
    found: dict[int, LimitWait] = {}
    for use in uses.annotate(ahead=Coalesce(Subquery(count), 0)).order_by("until"):
        limit = use.limit
        to = "of" if limit.subject == limit.Subject.ACTION else "to"
        of = f"calls {to} {limit.pattern}"
        if use.kind == LimitUse.Kind.TURN and limit.rate and use.until:
            # The last of its turns is the one that it waits for.
            found[use.execution_id] = LimitWait(of, limit.rate, limit.period_seconds, use.until)
        elif use.kind == LimitUse.Kind.PLACE and not use.held and limit.max_concurrent:
            ahead = min(use.ahead, MAX_AHEAD + 1)
            found[use.execution_id] = LimitWait(of, limit.max_concurrent, ahead=ahead)
    return dict(found)


def _switches(executions: Iterable[Execution], now: datetime) -> dict[int, HeldUp]:
    """Of those that a worker could take, or that have been put aside."""
    ready = [
        each
        for each in executions
        if each.is_parked or (each.runnable_at is not None and each.runnable_at <= now)
    ]
    if not ready:
        return {}
    holds = list(live_holds(now).filter(mode=Hold.Mode.ALL).select_related("workflow"))
    workflows = {each.workflow_id: each for each in holds if each.workflow_id}
    queues = {each.queue: each for each in holds if each.queue}
    found: dict[int, HeldUp] = {}
    for each in ready:
        hold = queues.get(each.queue) or workflows.get(each.workflow_id)
        if hold is not None:
            found[each.pk] = SwitchedOff(
                is_queue=bool(hold.queue),
                name=hold.workflow.slug if hold.workflow else hold.queue,
                by=hold.actor,
                reason=hold.reason,
                until=hold.until,
            )
    return found
