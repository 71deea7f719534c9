"""Reads of what is running."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self

from django.apps import apps
from django.db import models
from django.db.models import Q
from django.db.models.expressions import RawSQL

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from executions.engine.signals import SignalState
from executions.engine.states import State


def waits_for_slot() -> Q:
    """Blocked until somebody hands it a slot; the SQL of `runtime/slots_sql.py` says the same."""
    return (
        ~Q(slot_key="")
        & Q(slot_held=False, owner__isnull=True, runnable_at__isnull=True)
        & Q(state__in=[State.INITIALIZED.value, State.RESUMED.value])
    )


class ExecutionQuerySet(models.QuerySet[Any]):
    """Executions, as lists and workers ask for them."""

    def ready(self, now: datetime) -> Self:
        """Those a worker may claim at this moment."""
        return self.filter(owner__isnull=True, runnable_at__lte=now)

    def roots(self) -> Self:
        """Those that somebody started, without their branches, items and children."""
        return self.filter(parent__isnull=True)

    def visible_to(self, actor: Actor) -> Self:
        """Those the actor may see; none without the permission."""
        return self if actor.may(Permission.EXECUTION_VIEW) else self.none()

    def with_slot(self, key: str, workflows: Iterable[str] | None = None) -> Self:
        """Those that have a slot of the concurrency key, or wait for one; of these workflows only.

        key: as the definition's expression gave it. workflows: slugs; None = of all.
        """
        known = apps.get_model("workflows", "Workflow")._default_manager.all()
        if workflows is not None:
            known = known.filter(slug__in=list(workflows))
        keys = [f"{pk}:{key}" for pk in known.values_list("pk", flat=True)]
        return self.filter(Q(slot_held=True) | waits_for_slot(), slot_key__in=keys)

    def search(self, text: str) -> Self:
        """By id, workflow, correlation id, error code."""
        found = (
            Q(workflow__slug__icontains=text)
            | Q(workflow__name__icontains=text)
            | Q(correlation_id=text)
            | Q(error_code__istartswith=text)
        )
        if text.isdecimal() and len(text) < 19:
            found |= Q(pk=int(text))
        return self.filter(found)


_IN_STATE = {
    SignalState.KEPT: Q(execution__isnull=True),
    SignalState.OFFERED: Q(
        execution__isnull=False, consumed_at__isnull=True, refused_at__isnull=True
    ),
    SignalState.CONSUMED: Q(consumed_at__isnull=False),
    SignalState.REFUSED: Q(refused_at__isnull=False),
}


class SignalQuerySet(models.QuerySet[Any]):
    """Signals that were received."""

    def visible_to(self, actor: Actor) -> Self:
        """Those the actor may see; none without the permission to see executions."""
        return self if actor.may(Permission.EXECUTION_VIEW) else self.none()

    def in_state(self, state: SignalState) -> Self:
        return self.filter(_IN_STATE[state])

    def about(self, execution_id: int) -> Self:
        """Those that were given to a step of this execution, or sent to it."""
        return self.filter(Q(execution=execution_id) | Q(target=execution_id))


class SettledQuerySet(models.QuerySet[Any]):
    """Rows in an order that a reader can follow without ever missing one."""

    def settled(self) -> Self:
        """Only rows below the oldest transaction still running, in the order `(xid, id)`.

        A transaction that is still open may yet commit rows with smaller ids than rows already
        visible; nothing at or above its id is handed out until it has ended.
        """
        horizon = RawSQL("pg_snapshot_xmin(pg_current_snapshot())", ())
        return self.filter(xid__lt=horizon).order_by("xid", "id")

    def after(self, xid: int, row_id: int) -> Self:
        """Settled rows that follow the given one."""
        return self.settled().filter(_follows(xid, row_id))

    def between(self, xid: int, row_id: int, horizon: int) -> Self:
        """As `after`, of transactions below `horizon`, which was read before and holds since."""
        return self.filter(_follows(xid, row_id), xid__lt=horizon).order_by("xid", "id")


def _follows(xid: int, row_id: int) -> Q:
    # The first condition is where the index is entered; PostgreSQL doesn't find it in the others.
    return Q(xid__gte=xid) & (Q(xid__gt=xid) | Q(id__gt=row_id))
