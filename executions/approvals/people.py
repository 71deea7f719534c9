"""Who may decide an approval, and who could: rows, read when somebody asks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import Q

from autopilot.accounts.actors import Actor
from autopilot.accounts.kinds import ActorKind
from autopilot.accounts.roles import Permission
from executions.approvals.querysets import groups_of
from executions.models import Approval, ApprovalAssignee


@dataclass(frozen=True, slots=True)
class Line:
    """People and groups by name, in one of the two lines of an approval."""

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.users or self.groups)

    @property
    def words(self) -> str:
        """`anna, bo and group Finance`; nothing for nobody."""
        names = [*self.users, *(f"group {name}" for name in self.groups)]
        return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def lines_of(approvals: Collection[Approval]) -> dict[int, tuple[Line, Line]]:
    """The first and the second line of these approvals, by id, in one query."""
    found: dict[int, tuple[list[str], list[str], list[str], list[str]]] = {
        each.pk: ([], [], [], []) for each in approvals
    }
    rows = ApprovalAssignee.objects.filter(approval__in=found).select_related("user", "group")
    for row in rows:
        place = 2 * row.is_later + (row.user_id is None)
        name = row.user.get_username() if row.user else row.group.name if row.group else ""
        found[row.approval_id][place].append(name)
    return {
        pk: (Line(tuple(users), tuple(groups)), Line(tuple(later), tuple(later_groups)))
        for pk, (users, groups, later, later_groups) in found.items()
    }


def is_assignee(approval: Approval, actor: Actor) -> bool:
    """Whether it asks this actor at this moment, whoever started it."""
    if approval.is_open_to_all:
        return actor.may(Permission.APPROVAL_DECIDE)
    if actor.kind is not ActorKind.USER or actor.id is None:
        return False
    rows = ApprovalAssignee.objects.filter(approval=approval)
    if approval.escalated_at is None:
        rows = rows.filter(is_later=False)
    return rows.filter(Q(user_id=actor.id) | Q(group_id__in=groups_of(actor.id))).exists()


def is_own(approval: Approval, actor: Actor) -> bool:
    """Whether it is about something this actor asked for, and may therefore not decide."""
    return (
        not approval.allow_requester
        and actor.kind is ActorKind.USER
        and actor.id is not None
        and approval.requester_id == actor.id
    )


def may_manage(approval: Approval, actor: Actor) -> bool:
    """Whether the actor may give it to others."""
    return actor.may(Permission.APPROVAL_DECIDE) or is_assignee(approval, actor)


def recipients(approval: Approval, limit: int) -> list[Any]:
    """Those who could still decide and have an address, each once, at most `limit`.

    Nobody in particular is asked of an approval that is open to all.
    """
    rows = ApprovalAssignee.objects.filter(approval=approval)
    if approval.escalated_at is None:
        rows = rows.filter(is_later=False)
    groups = rows.filter(group__isnull=False).values("group_id")
    users = rows.filter(user__isnull=False).values("user_id")
    found = active_users().filter(Q(pk__in=users) | Q(groups__in=groups)).distinct()
    decided = approval.decisions.filter(person__isnull=False).values("person_id")
    found = found.exclude(pk__in=decided)
    if not approval.allow_requester and approval.requester_id is not None:
        found = found.exclude(pk=approval.requester_id)
    field = get_user_model().get_email_field_name()
    return list(found.exclude(**{field: ""}).order_by("pk")[:limit])


def able(approval: Approval, users: Sequence[Any], groups: Sequence[Group]) -> int:
    """How many people could decide if these were asked; those who have decided count too."""
    found = active_users().filter(Q(pk__in=[each.pk for each in users]) | Q(groups__in=groups))
    if not approval.allow_requester and approval.requester_id is not None:
        found = found.exclude(pk=approval.requester_id)
    decided = set(approval.decisions.values_list("person_id", flat=True))
    return len(set(found.values_list("pk", flat=True)) | decided)


def active_users() -> Any:
    """Those who can sign in."""
    return get_user_model()._default_manager.filter(is_active=True)
