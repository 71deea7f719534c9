"""Reads of what is running."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self

from django.apps import apps
from django.contrib.postgres.expressions import ArraySubquery
from django.db import models
from django.db.models import F, Lookup, Q
from django.db.models.expressions import RawSQL

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from executions import narrowing
from executions.engine.signals import SignalState
from executions.engine.states import State


def waits_for_slot() -> Q:
    """Blocked until somebody hands it a slot; the SQL of `runtime/slots_sql.py` says the same."""
    return (
        ~Q(slot_key="")
        & Q(slot_held=False, owner__isnull=True, runnable_at__isnull=True)
        & Q(state__in=[State.INITIALIZED.value, State.RESUMED.value])
    )


class _IsIn(Lookup):
    """In an array that is made before the rows are looked for, which go by their key then."""

    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        left, of_left = self.process_lhs(compiler, connection)
        right, of_right = self.process_rhs(compiler, connection)
        return f"{left} = ANY({right})", (*of_left, *of_right)


class ExecutionQuerySet(models.QuerySet[Any]):
    """Executions, as lists and workers ask for them."""

    def ready(self, now: datetime) -> Self:
        """Those a worker may claim at this moment."""
        return self.filter(owner__isnull=True, runnable_at__lte=now)

    def under_way(self) -> Self:
        """Those that have not ended; of a version by its index, however many of it have ended."""
        return self.filter(ended_at__isnull=True)

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
        # Each by its own index, and in the same question: thousands of ids need not travel.
        rows = self.model._default_manager.filter(slot_key__in=keys).order_by().values("pk")
        held, waiting = rows.filter(slot_held=True), rows.filter(waits_for_slot())
        return self.filter(_IsIn(F("pk"), ArraySubquery(held.union(waiting, all=True))))

    def search(self, text: str) -> Self:
        """By id, a part of the workflow's slug or name, correlation id, beginning of an error code.

        Workflows and codes are looked up first: with plain keys on both sides of each OR every
        part goes by an index of its own.
        """
        named = Q(slug__icontains=text) | Q(name__icontains=text)
        workflows = apps.get_model("workflows", "Workflow")._default_manager.filter(named)
        found = Q(pk__in=[])
        # Asked for itself: without a match it would only keep the rest from the best index.
        if self.model._default_manager.filter(correlation_id=text).exists():
            found |= Q(correlation_id=text)
        if keys := list(workflows.values_list("pk", flat=True)):
            found |= Q(workflow_id__in=keys)
        if codes := narrowing.error_codes(text):
            found |= Q(error_code__in=codes)
        if text.isdecimal() and len(text) < 19:
            found |= Q(pk=int(text))
        return self.filter(found)

    def labelled(self, key: str, value: str | None = None) -> Self:
        """Roots with this label; of any value if none is given."""
        ids = narrowing.labelled(key, value)
        if ids is not None:
            return self.filter(pk__in=ids)
        return self.filter(_has_label(key, value))

    def part_labelled(self, key: str, value: str | None = None) -> Self:
        """The same among the parts of one execution, which are few."""
        return self.filter(_has_label(key, value))

    def accepted_from(self, moment: datetime) -> Self:
        """Roots that were accepted at this moment or later, newest first without a look further."""
        first = narrowing.first_accepted(moment - narrowing.LEEWAY)
        return self.filter(created_at__gte=moment, pk__gte=first)

    def accepted_before(self, moment: datetime) -> Self:
        """Roots that were accepted before this moment."""
        first = narrowing.first_accepted(moment + narrowing.LEEWAY)
        return self.filter(created_at__lt=moment, pk__lt=first)


def _has_label(key: str, value: str | None) -> Q:
    return Q(labels__has_key=key) if value is None else Q(labels__contains={key: value})


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
