"""The audit trail: one append-only row for every change, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from autopilot.accounts.actors import Actor
from autopilot.accounts.models import AuditEntry
from autopilot.common.storable import storable


def record(
    *,
    actor: Actor,
    action: str,
    target: models.Model,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Write down that `actor` did `action` (dotted, past: `workflow.published`) to `target`.

    before, after: the fields that changed, as values that JSON knows, or dates, UUIDs and
    decimals, which are kept as text. Secrets do not belong here. The row commits or rolls back
    with the caller's transaction.
    """
    entry = _entry(actor, action, target, before, after)
    entry.save(force_insert=True)
    return entry


def record_many(
    *,
    actor: Actor,
    action: str,
    changes: Iterable[tuple[models.Model, Mapping[str, Any] | None, Mapping[str, Any] | None]],
) -> None:
    """`record` for the same action on many targets, each with its before and after."""
    AuditEntry.objects.bulk_create(_entry(actor, action, *change) for change in changes)


def _entry(
    actor: Actor,
    action: str,
    target: models.Model,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> AuditEntry:
    if target.pk is None:
        raise ValueError(f"{action}: an unsaved {target._meta.label} cannot be audited")
    return entry_of(actor=actor, action=action, target=target, before=before, after=after)


def entry_of(
    *,
    actor: Actor,
    action: str,
    target: models.Model,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """The row that `record` would save, for whoever writes it in one statement with its target.

    Of a target that is not saved, its id and name are theirs to fill in.
    """
    return AuditEntry(
        actor_kind=actor.kind,
        actor_id="" if actor.id is None else str(actor.id),
        actor_name=actor.name[:200],
        action=action,
        target_type=target._meta.label_lower,
        target_id=str(target.pk),
        target_name=storable(str(target))[:200],
        before=_as_json(before),
        after=_as_json(after),
        address=actor.address[:64],
        request_id=actor.request_id[:64],
    )


def _as_json(values: Mapping[str, Any] | None) -> Any:
    if values is None:
        return None
    return storable(values, encoder=DjangoJSONEncoder())
