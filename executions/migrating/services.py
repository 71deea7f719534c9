"""The one door for moving executions: look first, start a migration, undo it, cancel it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import transaction

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor, ActorKind
from autopilot.accounts.roles import Permission
from autopilot.common import clock
from autopilot.common.problems import Problem
from executions.asking import check_reason
from executions.errors import MigrationInvalid, MigrationOver, MigrationUnderWay
from executions.migrating.routes import Route, check_mapping, route_of, version_named
from executions.migrating.selecting import MAX_ITEMS, Chosen
from executions.models import Migration, MigrationItem
from workflows.models import Workflow

_BATCH = 2_000
_State = MigrationItem.State


def read_route(
    *, workflow: Workflow, actor: Actor, source: str, target: str, mapping: object
) -> Route:
    """The plan between two numbers of a workflow. Raises PermissionDenied, MigrationInvalid."""
    actor.require(Permission.WORKFLOW_VIEW)
    given = check_mapping({} if mapping is None else mapping)
    one = version_named(workflow, source, "$.from")
    return route_of(one, version_named(workflow, target, "$.to"), given)


def start_migration(
    *,
    workflow: Workflow,
    actor: Actor,
    source: str,
    target: str,
    mapping: Mapping[str, str | None] | None = None,
    chosen: Chosen | None = None,
    reason: str = "",
) -> Migration:
    """Have executions of one version moved to another, each with its items and branches.

    source, target: numbers of versions. mapping: which step becomes which, where that isn't plain.
    chosen: which executions; None = all of the first version that are under way. What comes of each
    is seen to soon after the commit, by whoever has time, and kept as its item.
    Raises PermissionDenied; MigrationInvalid for versions, mapping or executions; StartInvalid for
    the reason.
    """
    actor.require(Permission.EXECUTION_MIGRATE)
    check_reason(reason)
    route = read_route(
        workflow=workflow, actor=actor, source=source, target=target, mapping=mapping
    )
    ids = (chosen or Chosen.all_of(actor)).ids_for(route)
    if not ids:
        message = f"No execution of {route.source} is under way that was asked for."
        raise MigrationInvalid(message, details=[Problem("$", "migration.nothing", message)])
    if len(ids) > MAX_ITEMS:
        message = f"At most {MAX_ITEMS:,} executions can be moved at once; choose fewer."
        raise MigrationInvalid(message, details=[Problem("$", "migration.too_many", message)])
    with transaction.atomic():
        migration = Migration.objects.create(
            workflow=workflow,
            source_id=route.source_id,
            target_id=route.target_id,
            mapping=dict(mapping or {}),
            reason=reason,
            actor=actor.name[:200],
            started_by_id=actor.id if actor.kind is ActorKind.USER else None,
            created_at=clock.now(),
        )
        MigrationItem.objects.bulk_create(
            (MigrationItem(migration=migration, execution_id=pk) for pk in ids), batch_size=_BATCH
        )
        after = {
            "migration": migration.pk,
            "from": route.source,
            "to": route.target,
            "mapping": migration.mapping,
            "executions": len(ids),
            "reason": reason,
        }
        audit.record(actor=actor, action="migration.started", target=workflow, after=after)
    return migration


def undo_migration(
    *, migration: Migration, actor: Actor, reason: str = "", ids: Sequence[int] | None = None
) -> Migration:
    """Have what was moved put back, wherever nothing has run since.

    ids: only these executions; None = all. What has gone on stays moved, and its item says so.
    Raises PermissionDenied, MigrationUnderWay, MigrationInvalid if nothing of it was moved,
    StartInvalid for the reason.
    """
    actor.require(Permission.EXECUTION_MIGRATE)
    check_reason(reason)
    with transaction.atomic():
        migration = _lock(migration)
        if migration.is_open:
            raise MigrationUnderWay(
                "The migration is still under way; wait for its end, or cancel it first."
            )
        moved = migration.items.filter(state__in=[_State.MOVED, _State.KEPT])
        if ids is not None:
            _check_known(migration, ids)
            moved = moved.filter(execution__in=list(ids))
        count = moved.update(state=_State.UNDOING, tries=0)
        if not count:
            message = "None of these was moved by this migration, or all are back already."
            raise MigrationInvalid(message, details=[Problem("$", "migration.nothing", message)])
        migration.state, migration.ended_at = Migration.State.UNDOING, None
        migration.undone_by, migration.undo_reason = actor.name[:200], reason
        migration.save(update_fields=["state", "ended_at", "undone_by", "undo_reason"])
        after = {"migration": migration.pk, "executions": count, "reason": reason}
        audit.record(actor=actor, action="migration.undone", target=migration.workflow, after=after)
    return migration


def cancel_migration(*, migration: Migration, actor: Actor) -> Migration:
    """Leave the rest as it is: what has not been moved, or not been put back, stays so.

    Raises PermissionDenied, MigrationOver.
    """
    actor.require(Permission.EXECUTION_MIGRATE)
    with transaction.atomic():
        migration = _lock(migration)
        if not migration.is_open:
            raise MigrationOver("The migration is over; there is nothing left to cancel.")
        left = migration.items.filter(state=_State.PENDING).update(state=_State.LEFT)
        left += migration.items.filter(state=_State.UNDOING).update(state=_State.MOVED)
        migration.state, migration.ended_at = Migration.State.CANCELLED, clock.now()
        migration.save(update_fields=["state", "ended_at"])
        after = {"migration": migration.pk, "left": left}
        audit.record(
            actor=actor, action="migration.cancelled", target=migration.workflow, after=after
        )
    return migration


def _check_known(migration: Migration, ids: Sequence[int]) -> None:
    """Raises MigrationInvalid for what the migration is not about."""
    rows = migration.items.filter(execution__in=list(ids))
    known = set(rows.values_list("execution_id", flat=True))
    unknown = [
        Problem(f"$.ids[{at}]", "not_found", f"The migration is not about an execution {pk}.")
        for at, pk in enumerate(ids)
        if pk not in known
    ]
    if unknown:
        raise MigrationInvalid(unknown[0].message, details=unknown[:100])


def _lock(migration: Migration) -> Migration:
    """The row as it is once the batch that is under way has ended."""
    rows = Migration.objects.select_for_update(of=("self",))
    return rows.select_related("workflow", "source", "target").get(pk=migration.pk)


__all__ = ["cancel_migration", "read_route", "start_migration", "undo_migration"]
