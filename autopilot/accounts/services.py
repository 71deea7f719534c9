"""Changes of roles: the one door for commands, console and API."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import Group
from django.contrib.auth.models import Permission as DjangoPermission
from django.db import transaction
from django.db.models import QuerySet

from autopilot.accounts import audit, security
from autopilot.accounts.actors import Actor
from autopilot.accounts.kinds import SecurityEventKind
from autopilot.accounts.roles import MATRIX, Permission, Role
from autopilot.accounts.security import Note
from autopilot.common.errors import Invalid


@dataclass
class RoleChanges:
    """What `sync_roles` did to one role, by full permission names."""

    role: Role
    created: bool
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.created or self.added or self.removed)


@transaction.atomic
def sync_roles(*, actor: Actor | None = None) -> list[RoleChanges]:
    """Make the groups say what the matrix says; again and again to the same effect.

    Permissions that other apps gave to these groups stay. `missing` lists what no migration has
    created yet. actor: defaults to the system.
    """
    actor = actor or Actor.system("sync_roles")
    actor.require(Permission.USER_MANAGE)
    known = {_full_name(row): row for row in _known_permissions()}
    return [_sync_role(role, known, actor) for role in Role]


def _sync_role(role: Role, known: dict[str, DjangoPermission], actor: Actor) -> RoleChanges:
    group, created = Group.objects.get_or_create(name=role.value)
    changes = RoleChanges(role=role, created=created)
    held = {_full_name(row) for row in _of_group(group)} & set(Permission)
    wanted = set(MATRIX[role])
    changes.missing = sorted(wanted - set(known))
    changes.added = sorted((wanted - held) & set(known))
    changes.removed = sorted(held - wanted)
    group.permissions.add(*(known[name] for name in changes.added))
    group.permissions.remove(*(known[name] for name in changes.removed))
    if changes.changed:
        audit.record(
            actor=actor,
            action="role.synced",
            target=group,
            before={"permissions": sorted(held)},
            after={"permissions": sorted(wanted & set(known))},
        )
    return changes


@transaction.atomic
def set_roles(*, user: Any, roles: Iterable[Role], actor: Actor) -> frozenset[Role]:
    """Give `user` exactly these roles; groups that are no roles stay. Returns what they had.

    Raises PermissionDenied without accounts.manage_users, Invalid where sync_roles never ran.
    """
    actor.require(Permission.USER_MANAGE)
    wanted = frozenset(roles)
    before = frozenset(roles_of(user))
    if wanted == before:
        return before
    groups = {group.name: group for group in Group.objects.filter(name__in=list(Role))}
    unknown = sorted(wanted - set(groups))
    if unknown:
        raise Invalid(f"The role {unknown[0]} does not exist yet; run manage.py sync_roles first.")
    user.groups.add(*(groups[role] for role in wanted - before))
    user.groups.remove(*(groups[role] for role in before - wanted))
    audit.record(
        actor=actor,
        action="user.roles_changed",
        target=user,
        before={"roles": sorted(before)},
        after={"roles": sorted(wanted)},
    )
    note_role_change(user=user, before=before, after=wanted, actor=actor)
    return before


def note_role_change(
    *, user: Any, before: Collection[Role], after: Collection[Role], actor: Actor
) -> None:
    """Keep a security event that somebody's roles changed, in the transaction of the change."""
    if set(before) == set(after):
        return
    security.write(
        [
            Note(
                kind=SecurityEventKind.ROLE_CHANGED,
                user_id=user.pk,
                name=user.get_username(),
                message=f"by {actor.name}: {_list(before)} -> {_list(after)}",
                address=actor.address,
                request_id=actor.request_id,
            )
        ]
    )


def roles_of(user: Any) -> list[Role]:
    """The roles a user has, in the order of the matrix."""
    names = set(user.groups.filter(name__in=list(Role)).values_list("name", flat=True))
    return [role for role in Role if role in names]


def _list(roles: Collection[Role]) -> str:
    return ", ".join(role for role in Role if role in roles) or "none"


def _known_permissions() -> QuerySet[DjangoPermission]:
    labels = {name.split(".")[0] for name in Permission}
    return DjangoPermission.objects.filter(content_type__app_label__in=labels).select_related(
        "content_type"
    )


def _of_group(group: Group) -> QuerySet[DjangoPermission]:
    return group.permissions.select_related("content_type")


def _full_name(row: DjangoPermission) -> str:
    return f"{row.content_type.app_label}.{row.codename}"
